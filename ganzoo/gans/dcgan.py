"""DCGAN: Radford et al. 2015, "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial
Networks", https://arxiv.org/abs/1511.06434; the non-saturating loss is Goodfellow et al. 2014's.

Images of 2^k pixels a side, at least 16. The output is tanh, the weights start from N(0, 0.02).
"""

from typing import Literal

import keras
from keras import layers

from ganzoo.core.gan import GAN
from ganzoo.errors import RecipeError
from ganzoo.layers.batch_norm import BatchNorm
from ganzoo.layers.spectral_norm import SpectralConv2D, SpectralDense
from ganzoo.recipes.schema import PositiveInt, Section


def _normal() -> keras.initializers.Initializer:
    # A new one for each layer: an initializer draws the same numbers again for the same shape.
    return keras.initializers.RandomNormal(stddev=0.02)


class DCGAN(GAN):
    """Transposed convolutions up from 4x4, strided convolutions down to 4x4."""

    class Options(Section):
        """Sizes of the two networks; `width` channels at the highest resolution, doubled at each halving."""

        latent_dim: PositiveInt = 100
        generator_width: PositiveInt = 64
        discriminator_width: PositiveInt = 64
        discriminator_norm: Literal["batch", "layer", "none"] = "batch"
        spectral: bool = False

    def _widths(self, width: int) -> list[int]:
        size = self.recipe.data.size
        halvings = size.bit_length() - 3
        if size != 4 * 2**halvings or halvings < 2:
            raise RecipeError(f"data.size of a DCGAN must be a power of two from 16 up. Received: {size}.")
        return [width * 2**level for level in range(halvings)]

    def build_generator(self) -> keras.Model:
        """Latents `(batch, latent_dim)` -> images `(batch, size, size, channels)` in [-1, 1]."""
        latents = keras.Input((self.options.latent_dim,), name="latents")
        *widths, widest = self._widths(self.options.generator_width)
        x = layers.Dense(4 * 4 * widest, use_bias=False, kernel_initializer=_normal(), name="dense")(latents)
        x = layers.Reshape((4, 4, widest), name="reshape")(x)
        x = layers.ReLU(name="relu_4")(BatchNorm(momentum=0.9, name="norm_4")(x))
        for level, width in enumerate(reversed(widths)):
            size = 8 * 2**level
            x = _up(width, size, use_bias=False)(x)
            x = layers.ReLU(name=f"relu_{size}")(BatchNorm(momentum=0.9, name=f"norm_{size}")(x))
        x = _up(self.recipe.data.channels, self.recipe.data.size)(x)
        return keras.Model({"latents": latents}, layers.Activation("tanh", dtype="float32", name="samples")(x))

    def build_discriminator(self) -> keras.Model:
        """Images -> logits `(batch, 1)`; the trunk's features are `(batch, 4, 4, channels)`."""
        shape = (self.recipe.data.size, self.recipe.data.size, self.recipe.data.channels)
        convolution = SpectralConv2D if self.options.spectral else layers.Conv2D
        images = x = keras.Input(shape, name="samples")
        for level, width in enumerate(self._widths(self.options.discriminator_width)):
            size = shape[0] // 2 ** (level + 1)
            use_bias = level == 0 or self.options.discriminator_norm != "batch"
            x = convolution(width, 4, 2, "same", use_bias=use_bias, kernel_initializer=_normal(), name=f"down_{size}")(
                x
            )
            if level > 0:
                x = self._norm(size)(x)
            x = layers.LeakyReLU(0.2, name=f"leaky_{size}")(x)
        trunk = keras.Model(images, x, name="trunk")

        features = keras.Input(trunk.output.shape[1:], name="features")
        dense = SpectralDense if self.options.spectral else layers.Dense
        y = layers.Flatten(name="flatten")(features)
        head = keras.Model(features, dense(1, kernel_initializer=_normal(), name="logits")(y), name="head")
        samples = keras.Input(shape, name="samples")
        return keras.Model({"samples": samples}, head(trunk(samples)), name="discriminator")

    def _norm(self, size: int) -> layers.Layer:
        if self.options.discriminator_norm == "batch":
            return BatchNorm(momentum=0.9, name=f"norm_{size}")
        if self.options.discriminator_norm == "layer":
            return layers.LayerNormalization(axis=(1, 2, 3), name=f"norm_{size}")
        return layers.Identity(name=f"norm_{size}")


def _up(width: int, size: int, use_bias: bool = True) -> layers.Layer:
    return layers.Conv2DTranspose(
        width, 4, 2, "same", use_bias=use_bias, kernel_initializer=_normal(), name=f"up_{size}"
    )
