"""Masked autoencoding: He et al. 2022, "Masked Autoencoders Are Scalable Vision Learners",
https://arxiv.org/abs/2111.06377; for convolutions, which cannot leave patches out, masked patches become grey as in
Xie et al. 2022, "SimMIM", https://arxiv.org/abs/2111.09886, and the error counts there alone.
"""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from ganzoo.core.phases import Batch
from ganzoo.distribution import GlobalRandom
from ganzoo.layers.resample import Double
from ganzoo.pretraining.decoding import ROW, in_rows
from ganzoo.pretraining.task import Task
from ganzoo.recipes.schema import Fraction, PositiveInt, Section


class Masked(Task):
    """The trunk sees images with masked patches; a small decoder that is thrown away must fill them."""

    runs_along = True

    class Options(Section):
        """The share of masked patches, their side in pixels, the decoder's width.

        Without a `patch`, the largest side up to 8 that divides the images'.
        """

        share: Fraction = 0.5
        patch: PositiveInt | None = None
        width: PositiveInt = 32

    def build_parts(self) -> dict[str, keras.Model]:
        """`filling`: images -> images."""
        features = x = self.features()
        size, _, channels = self.sample_shape()
        self.patch = self.settings.patch or max(side for side in range(1, 9) if size % side == 0)
        if size % self.patch:
            raise self.refuse(f"its option patch = {self.patch} does not divide data.size = {size}.")
        if len(x.shape) == 2:
            side = 4
            x = layers.Dense(side * side * self.settings.width, name="spread")(x)
            x = layers.Reshape((side, side, self.settings.width), name="positions")(x)
        while x.shape[1] < size:
            x = layers.Conv2D(self.settings.width, 3, padding="same", name=f"fill_{x.shape[1]}")(x)
            x = Double(name=f"double_{x.shape[1]}")(layers.LeakyReLU(0.2, name=f"leaky_{x.shape[1]}")(x))
        if x.shape[1] > size:
            before = (x.shape[1] - size) // 2
            after = x.shape[1] - size - before
            x = layers.Cropping2D(((before, after), (before, after)), name="crop")(x)
        x = layers.Conv2D(channels, 3, padding="same", dtype="float32", name="to_image")(x)
        return {"filling": self.on_trunk("filling", features, x)}

    def loss(self, batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The mean absolute error in masked patches."""
        mask = self._mask(batch.real, batch.random)
        filled = self.parts["filling"](batch.real * (1.0 - mask), training=True)
        error = tf.reduce_sum(mask * tf.abs(filled - batch.real), axis=(1, 2, 3))
        numbers = tf.reduce_sum(mask, axis=(1, 2, 3)) * float(batch.real.shape[-1])
        return error / tf.maximum(numbers, 1.0), {}

    def show(self, examples: Mapping[str, np.ndarray] | None) -> np.ndarray | None:
        """Rows of real images, as they were masked, and filled."""
        if examples is None:
            return None
        reals = self.domain.to_unit(tf.constant(examples["real"][: 2 * ROW]))
        mask = self._mask(reals, GlobalRandom(self.gan.recipe.seed, 0, "show", len(reals)))
        filled = mask * self.parts["filling"](reals * (1.0 - mask), training=False) + (1.0 - mask) * reals
        parts = [self.domain.from_unit(values.numpy()) for values in (reals, reals * (1.0 - mask), filled)]
        return np.concatenate(in_rows(*parts))

    def _mask(self, images: tf.Tensor, random: GlobalRandom) -> tf.Tensor:
        """1 in masked patches, 0 elsewhere: `(batch, height, width, 1)`, the same share in each image."""
        patch = self.patch
        rows, columns = images.shape[1] // patch, images.shape[2] // patch
        count = max(1, round(self.settings.share * rows * columns))
        order = tf.argsort(tf.argsort(random.uniform((rows * columns,), "mask"), axis=1), axis=1)
        mask = tf.reshape(tf.cast(order < count, tf.float32), (-1, rows, columns, 1))
        return tf.repeat(tf.repeat(mask, patch, axis=1), patch, axis=2)
