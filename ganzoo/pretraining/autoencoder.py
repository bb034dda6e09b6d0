"""Autoencoder: Hinton and Salakhutdinov 2006, "Reducing the Dimensionality of Data with Neural Networks",
https://doi.org/10.1126/science.1127647.

The decoder is the entry's generator, the encoder has the discriminator's trunk.
Codes are standardised over the batch, so that they are spread as the generator's latents are: mean 0, variance 1.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from ganzoo.core.phases import Batch
from ganzoo.distribution import GlobalRandom
from ganzoo.layers.batch_norm import BatchNorm
from ganzoo.pretraining.decoding import Decoding
from ganzoo.recipes.schema import NonNegativeFloat, Section


class Autoencoder(Decoding):
    """Mean absolute and squared error of the reconstruction."""

    class Options(Section):
        """Weights of the two errors; a pixel's range is [-1, 1]."""

        absolute_weight: NonNegativeFloat = 1.0
        squared_weight: NonNegativeFloat = 1.0

    code_width = 1  # numbers that the encoder gives for each latent

    def build_parts(self) -> dict[str, keras.Model]:
        """`encoder`: images -> codes `(batch, latents)`; `decoder`: the generator."""
        decoder = self.decoder()
        features = self.features()
        x = layers.Flatten(name="flatten")(features)
        x = layers.Dense(self.code_width * self.latents_width, name="codes", dtype="float32")(x)
        return {"encoder": self.on_trunk("encoder", features, self.finish_codes(x)), "decoder": decoder}

    def finish_codes(self, x: Any) -> Any:
        """What follows the last dense layer of the encoder."""
        return BatchNorm(momentum=0.9, center=False, scale=False, name="standardise")(x)

    def seen(self, images: tf.Tensor, random: GlobalRandom) -> tf.Tensor:
        """What the encoder is shown of images `(n, height, width, channels)` in [-1, 1]: of the same shape."""
        return images

    def codes(self, encoded: tf.Tensor, batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The decoder's latents `(n, latents)` of what the encoder gives, and terms of the loss, `(n,)` each."""
        return encoded, {}

    def loss(self, batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """absolute_weight * mean |x - y| + squared_weight * mean (x - y)^2 + terms of the codes."""
        encoded = self.parts["encoder"](self.seen(batch.real, batch.random), training=True)
        latents, terms = self.codes(encoded, batch)
        difference = batch.real - self.decode(latents, batch.conditions)
        values = self.settings.absolute_weight * tf.abs(difference) + self.settings.squared_weight * difference**2
        error = tf.reduce_mean(values, axis=(1, 2, 3))
        return sum(terms.values(), error), {"reconstruction": error, **terms}

    def codes_of(self, reals: tf.Tensor) -> tf.Tensor:
        """The first numbers that the encoder gives for each latent."""
        seen = self.seen(reals, GlobalRandom(self.gan.recipe.seed, 0, "show", len(reals)))
        return self.parts["encoder"](seen, training=False)[:, : self.latents_width]
