"""Fixed standardisation of the channels of feature maps."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from ganzoo.backbones import feature_statistics, trunk_class


@keras.saving.register_keras_serializable(package="ganzoo")
class ChannelScale(layers.Layer):
    """(x - mean) * factor for each channel, with fixed numbers."""

    def build(self, input_shape):
        """Two fixed vectors of the channels' length."""
        shape = (input_shape[-1],)
        self.mean = self.add_weight(name="mean", shape=shape, initializer="zeros", trainable=False)
        self.factor = self.add_weight(name="factor", shape=shape, initializer="ones", trainable=False)

    def call(self, inputs):
        """Same shape."""
        return (inputs - keras.ops.cast(self.mean, inputs.dtype)) * keras.ops.cast(self.factor, inputs.dtype)


def standardiser(shapes: Sequence[tuple[int, ...]], names: Sequence[object], name: str = "standardise") -> keras.Model:
    """A frozen model from a list of maps to a list of maps, a `ChannelScale` for each; it does nothing yet."""
    pyramid = [keras.Input(shape, name=f"level_{level}") for shape, level in zip(shapes, names, strict=True)]
    scaled = [ChannelScale(name=f"standardise_{level}")(x) for x, level in zip(pyramid, names, strict=True)]
    model = trunk_class()(pyramid, scaled, name=name)
    model.trainable = False
    return model


def standardise(model: keras.Model, network: keras.Model, images: np.ndarray) -> None:
    """Let a `standardiser` give what `network` makes of `images` (uint8) mean 0 and variance 1 in each channel."""
    scales = [layer for layer in model.layers if isinstance(layer, ChannelScale)]
    for scale, (mean, deviation) in zip(scales, feature_statistics(network, images), strict=True):
        scale.mean.assign(mean)
        scale.factor.assign(1.0 / np.maximum(deviation, 1e-3))
