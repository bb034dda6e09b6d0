"""From a classifier to a generator: samples must have the features of a pretrained network.

A real image's code is made of the whitened principal components of its deepest features, which have mean 0 and unit
covariance as the generator's latents do. The generator learns to make, from a code, an image with the same features
(and colours); with a `sampled_weight`, from sampled latents too, images whose code they are. The discriminator's
trunk learns to tell the code of an image, unless it is itself that network.

The loss over features is Johnson et al. 2016's, "Perceptual Losses for Real-Time Style Transfer",
https://arxiv.org/abs/1603.08155, with absolute differences.
"""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from ganzoo import backbones
from ganzoo.core.phases import Batch
from ganzoo.layers.channel_scale import standardise, standardiser
from ganzoo.pretraining.decoding import Decoding
from ganzoo.recipes.schema import NonNegativeFloat, PositiveInt, Section

OWN = "trunk"


class Features(Decoding):
    """Features, colours and codes."""

    decoder_name = "generator"
    first_reals = 4096

    class Options(Section):
        """The pretrained network, the strides of its levels, the side that images are resized to; the loss' weights.

        `sampled_weight`: of the codes of what sampled latents give; it takes more time, and no gain is shown.

        `network`: one of `ganzoo.backbones.list_backbones()`, or `trunk`: the discriminator's trunk itself, with the
        weights that `init: {trunk: RUN:trunk}` gives it, such as a classifier's.
        """

        network: str = "efficientnet_lite0"
        network_size: PositiveInt | None = None
        levels: tuple[PositiveInt, ...] = (4, 8, 16, 32)
        feature_weight: NonNegativeFloat = 1.0
        absolute_weight: NonNegativeFloat = 1.0
        code_weight: NonNegativeFloat = 1.0
        sampled_weight: NonNegativeFloat = 0.0

    def build_parts(self) -> dict[str, keras.Model]:
        """`generator`, and `encoder`: images -> codes, unless the trunk is the pretrained network."""
        parts = {"generator": self.decoder()}
        width = self.latents_width
        if self.settings.network == OWN:
            if "trunk" not in self.gan.recipe.init:
                raise self.refuse("pretrain.network = 'trunk' needs trained weights for it: --init trunk=RUN:trunk.")
            images = keras.Input(self.sample_shape(), name="samples")
            self.teacher = backbones.trunk_class()(images, [self.trunk()(images)], name="teacher")
            self.trunk().trainable = False
        else:
            self.teacher = backbones.create(
                self.settings.network,
                self.sample_shape(),
                levels=sorted(self.settings.levels),
                input_size=self.settings.network_size,
                bottlenecks=True,
            )
            parts["encoder"] = self.with_head("encoder", outputs=width)
        shapes = [tuple(x.shape[1:]) for x in self.teacher.outputs]
        self.standardise = standardiser(shapes, range(len(shapes)))
        pooled = keras.Input((shapes[-1][-1],), name="pooled")
        self.whiten = keras.Model(
            pooled, layers.Dense(width, name="components", dtype="float32")(pooled), name="whiten"
        )
        self.whiten.trainable = False
        return parts

    def fixed_networks(self) -> dict[str, keras.Model]:
        """Statistics of the data."""
        own = {"trunk": self.trunk()} if self.settings.network == OWN else {}
        return {"standardise": self.standardise, "whiten": self.whiten, **own}

    def pretrained_sources(self) -> list[dict[str, str]]:
        """The network that teaches, unless it is the GAN's own."""
        return [] if self.settings.network == OWN else [backbones.backbone_info(self.settings.network).source_entry()]

    def adapt(self, reals: np.ndarray) -> None:
        """Standardise the features, and take the principal components of the deepest ones, on real images."""
        standardise(self.standardise, self.teacher, reals[:512])
        parts = [self.domain.to_unit(reals[i : i + 64]) for i in range(0, len(reals), 64)]
        pooled = np.concatenate([np.asarray(_pooled(self._features(tf.constant(part))[-1])) for part in parts])
        mean = pooled.mean(axis=0)
        _, deviations, axes = np.linalg.svd(pooled - mean, full_matrices=False)
        width = self.whiten.output_shape[-1]
        if pooled.shape[-1] < width:
            own = self.settings.network == OWN
            more = "Widen the trunk, or" if own else "Add a deeper level, take a wider network, or"
            raise self.refuse(
                f"the deepest of pretrain.levels has {pooled.shape[-1]} channels, fewer than the generator's {width} "
                f"latents. {more} lower model.latent_dim."
            )
        if len(deviations) < width or deviations[width - 1] <= 1e-4 * deviations[0]:
            raise self.refuse(
                f"the features of these images have fewer than {width} components, one for each latent. Give more "
                "images, or lower model.latent_dim."
            )
        deviations = deviations[:width] / np.sqrt(len(pooled) - 1)
        kernel = (axes[:width] / deviations[:, None]).T
        self.whiten.layers[-1].set_weights([kernel.astype("float32"), (-mean @ kernel).astype("float32")])

    def _features(self, images: tf.Tensor) -> list[tf.Tensor]:
        found = self.standardise(self.teacher(images, training=False), training=False)
        return [tf.cast(features, tf.float32) for features in found]

    def loss(self, batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """Mean absolute differences of features (mean of levels) and pixels; the squared errors of codes.

        `code`: those that the trunk tells of reals; `sampled`: those of what is made of sampled latents.
        """
        wanted = self._features(batch.real)
        codes = tf.stop_gradient(self._codes(wanted))
        made = self.decode(codes, batch.conditions)
        distances = [_mean(tf.abs(a - tf.stop_gradient(b))) for a, b in zip(self._features(made), wanted, strict=True)]
        terms = {
            "features": self.settings.feature_weight * tf.add_n(distances) / len(distances),
            "absolute": self.settings.absolute_weight * _mean(tf.abs(made - batch.real)),
        }
        if self.settings.sampled_weight:
            latents = batch.random.normal((self.latents_width,), "sampled")
            again = self._codes(self._features(self.decode(latents, batch.conditions)))
            terms["sampled"] = self.settings.sampled_weight * _mean(tf.square(again - latents))
        if "encoder" in self.parts:
            predicted = self.parts["encoder"](batch.real, training=True)
            terms["code"] = self.settings.code_weight * _mean(tf.square(predicted - codes))
        return tf.add_n(list(terms.values())), terms

    def codes_of(self, reals: tf.Tensor) -> tf.Tensor:
        """The whitened components of the deepest features."""
        return self._codes(self._features(reals))

    def _codes(self, features: list[tf.Tensor]) -> tf.Tensor:
        return self.whiten(_pooled(features[-1]))


def _pooled(features: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(features, axis=(1, 2)) if len(features.shape) == 4 else features


def _mean(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(values, axis=tuple(range(1, len(values.shape))))
