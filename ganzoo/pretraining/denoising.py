"""Denoising autoencoder: Vincent et al. 2008, "Extracting and Composing Robust Features with Denoising Autoencoders",
https://doi.org/10.1145/1390156.1390294.
"""

import tensorflow as tf

from ganzoo.config import PositiveFloat
from ganzoo.distribution import GlobalRandom
from ganzoo.phased_model import Batch
from ganzoo.pretraining.autoencoder import Autoencoder


class Denoising(Autoencoder):
    """The encoder sees pictures with noise, the decoder must give them without."""

    class Options(Autoencoder.Options):
        """The normal noise's deviation; a pixel's range is [-1, 1]."""

        noise: PositiveFloat = 0.4

    def seen(self, batch: Batch) -> tf.Tensor:
        """The reals with noise."""
        return self._noisy(batch.real, batch.random)

    def shown(self, reals: tf.Tensor) -> tf.Tensor:
        """The same in a grid."""
        return self._noisy(reals, GlobalRandom(self.gan.recipe.seed, 0, "show", len(reals)))

    def _noisy(self, pictures: tf.Tensor, random: GlobalRandom) -> tf.Tensor:
        return pictures + self.settings.noise * random.normal(tuple(pictures.shape[1:]), "noise")
