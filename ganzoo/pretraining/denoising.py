"""Denoising autoencoder: Vincent et al. 2008, "Extracting and Composing Robust Features with Denoising Autoencoders",
https://doi.org/10.1145/1390156.1390294.
"""

import tensorflow as tf

from ganzoo.distribution import GlobalRandom
from ganzoo.pretraining.autoencoder import Autoencoder
from ganzoo.recipes.schema import PositiveFloat


class Denoising(Autoencoder):
    """The encoder sees images with noise, the decoder must give them without."""

    class Options(Autoencoder.Options):
        """The normal noise's deviation; a pixel's range is [-1, 1]."""

        noise: PositiveFloat = 0.4

    def seen(self, images: tf.Tensor, random: GlobalRandom) -> tf.Tensor:
        """The images with noise."""
        return images + self.settings.noise * random.normal(tuple(images.shape[1:]), "noise")
