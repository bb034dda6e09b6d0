"""WGAN-GP: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", https://arxiv.org/abs/1704.00028.

The residual networks of its CIFAR-10 experiments (appendix C and F), conditioned on a class by an embedding: joined to
the generator's latents, and projected onto the critic's features (Miyato and Koyama 2018, arXiv:1802.05637).
Without classes both are unconditional. The penalty, the objective and the critic's steps for one of the generator's
stand in the recipe.
"""

import keras
from keras import layers

from ganzoo.core.gan import GAN
from ganzoo.errors import RecipeError
from ganzoo.layers.batch_norm import BatchNorm
from ganzoo.layers.resample import Double
from ganzoo.recipes.schema import PositiveInt, Section


class WGANGP(GAN):
    """Residual generator with batch normalisation; residual critic without normalisation."""

    class Options(Section):
        """`classes: null` takes the number from the data; 0 means unconditional."""

        latent_dim: PositiveInt = 128
        generator_width: PositiveInt = 128
        discriminator_width: PositiveInt = 128
        classes: int | None = None
        embedding_dim: PositiveInt = 32

    def build_generator(self) -> keras.Model:
        """Latents `(batch, latent_dim)` and `class_id` `(batch,)` -> images in [-1, 1]."""
        width, size = self.options.generator_width, self.recipe.data.size
        blocks = size.bit_length() - 3
        if size != 4 * 2**blocks or blocks < 1:
            raise RecipeError(f"data.size of a WGAN-GP must be a power of two from 8 up. Received: {size}.")
        inputs = {"latents": keras.Input((self.options.latent_dim,), name="latents")}
        x = inputs["latents"]
        if self.options.classes:
            inputs["class_id"] = keras.Input((), dtype="int32", name="class_id")
            embedding = layers.Embedding(self.options.classes, self.options.embedding_dim, name="classes")
            x = layers.Concatenate(name="join")([x, embedding(inputs["class_id"])])
        x = layers.Dense(4 * 4 * width, kernel_initializer="he_normal", name="dense")(x)
        x = layers.Reshape((4, 4, width), name="reshape")(x)
        for level in range(blocks):
            x = _up_block(x, width, f"up_{8 * 2**level}")
        x = layers.ReLU(name="relu_out")(BatchNorm(momentum=0.9, name="norm_out")(x))
        x = layers.Conv2D(self.recipe.data.channels, 3, padding="same", name="to_image")(x)
        return keras.Model(inputs, layers.Activation("tanh", dtype="float32", name="samples")(x))

    def build_discriminator(self) -> keras.Model:
        """Images and `class_id` -> scores `(batch, 1)`; the trunk's features are `(batch, width)`."""
        shape = (self.recipe.data.size, self.recipe.data.size, self.recipe.data.channels)
        width = self.options.discriminator_width
        images = keras.Input(shape, name="samples")
        x = _critic_block(images, width, "block_1", down=True, first=True)
        x = _critic_block(x, width, "block_2", down=True)
        x = _critic_block(x, width, "block_3", down=False)
        x = _critic_block(x, width, "block_4", down=False)
        x = layers.GlobalAveragePooling2D(name="pool")(layers.ReLU(name="relu_out")(x))
        trunk = keras.Model(images, x, name="trunk")

        head_inputs = {"features": keras.Input((width,), name="features")}
        score = layers.Dense(1, name="score")(head_inputs["features"])
        inputs = {"samples": keras.Input(shape, name="samples")}
        outer = {"features": trunk(inputs["samples"])}
        if self.options.classes:
            for where in (head_inputs, inputs):
                where["class_id"] = keras.Input((), dtype="int32", name="class_id")
            embedded = layers.Embedding(self.options.classes, width, name="classes")(head_inputs["class_id"])
            score = score + layers.Dot(1, name="projection")([embedded, head_inputs["features"]])
            outer["class_id"] = inputs["class_id"]
        head = keras.Model(head_inputs, score, name="head")
        return keras.Model(inputs, head(outer), name="discriminator")


def _convolution(x, width: int, name: str, kernel: int = 3, use_bias: bool = True):
    return layers.Conv2D(width, kernel, padding="same", use_bias=use_bias, kernel_initializer="he_normal", name=name)(x)


def _up_block(x, width: int, name: str):
    # No biases: the batch normalisation that follows would take them away again.
    shortcut = _convolution(
        Double(name=f"{name}_double_shortcut")(x), width, f"{name}_shortcut", kernel=1, use_bias=False
    )
    x = layers.ReLU(name=f"{name}_relu_a")(BatchNorm(momentum=0.9, name=f"{name}_norm_a")(x))
    x = _convolution(Double(name=f"{name}_double")(x), width, f"{name}_a", use_bias=False)
    x = layers.ReLU(name=f"{name}_relu_b")(BatchNorm(momentum=0.9, name=f"{name}_norm_b")(x))
    return layers.Add(name=f"{name}_add")([shortcut, _convolution(x, width, f"{name}_b", use_bias=False)])


def _critic_block(x, width: int, name: str, down: bool, first: bool = False):
    def halve(value, place):
        return layers.AveragePooling2D(2, name=f"{name}_pool_{place}")(value) if down else value

    shortcut = x
    if down:
        shortcut = _convolution(halve(x, "shortcut"), width, f"{name}_shortcut", kernel=1)
    x = x if first else layers.ReLU(name=f"{name}_relu_a")(x)
    x = layers.ReLU(name=f"{name}_relu_b")(_convolution(x, width, f"{name}_a"))
    x = halve(_convolution(x, width, f"{name}_b"), "main")
    return layers.Add(name=f"{name}_add")([shortcut, x])
