"""Variational autoencoder: Kingma and Welling 2014, "Auto-Encoding Variational Bayes", https://arxiv.org/abs/1312.6114.

Its prior is the GAN's latent distribution N(0, 1), so that the decoder can be sampled at once.
"""

import math
from typing import Any

import tensorflow as tf

from ganzoo.core.phases import Batch
from ganzoo.pretraining.autoencoder import Autoencoder
from ganzoo.recipes.schema import NonNegativeFloat


class Variational(Autoencoder):
    """Reconstruction and the divergence of the codes' distributions from N(0, 1)."""

    class Options(Autoencoder.Options):
        """`divergence_weight` times KL(q || N(0, 1)), summed over the latents and divided by the image's numbers."""

        divergence_weight: NonNegativeFloat = 1.0

    code_width = 2  # a mean and a logarithm of the variance

    def finish_codes(self, x: Any) -> Any:
        """Nothing: means and logarithms of variances may be anything."""
        return x

    def codes(self, encoded: tf.Tensor, batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """mean + deviation * noise; KL = 1/2 sum(mean^2 + variance - 1 - log variance)."""
        mean, log_variance = tf.split(encoded, 2, axis=-1)
        noise = batch.random.normal((mean.shape[-1],), "codes")
        divergence = 0.5 * tf.reduce_sum(mean**2 + tf.exp(log_variance) - 1.0 - log_variance, axis=-1)
        numbers = math.prod(self.sample_shape())
        weighted = self.settings.divergence_weight * divergence / numbers
        return mean + tf.exp(0.5 * log_variance) * noise, {"divergence": weighted}
