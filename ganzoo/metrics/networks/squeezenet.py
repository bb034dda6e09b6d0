"""SqueezeNet 1.1 with ImageNet weights that ship with ganzoo: features for scores that are no EfficientNet's.

Paper: Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters",
https://arxiv.org/abs/1602.07360. Input 227 px, BGR minus (103.939, 116.779, 123.68). Features are the mean over
positions of the last fire module's 512 channels.
"""

from collections.abc import Mapping

import numpy as np

from ganzoo.errors import WeightsError
from ganzoo.metrics.networks.base import FeatureNetwork, frozen_function
from ganzoo.weights.shipped import SQUEEZENET, read_shipped_weights

INPUT_SIZE = 227
_MEAN_BGR = (103.939, 116.779, 123.68)
_FIRES = {  # squeezed channels, expanded channels of each of the two branches
    "fire2": (16, 64),
    "fire3": (16, 64),
    "fire4": (32, 128),
    "fire5": (32, 128),
    "fire6": (48, 192),
    "fire7": (48, 192),
    "fire8": (64, 256),
    "fire9": (64, 256),
}
_POOLED_AFTER = ("fire3", "fire5")


def squeezenet() -> FeatureNetwork:
    """The feature network; 512 features.

    Raises:
        WeightsError: the file that ships with ganzoo is missing or damaged.
    """
    model = build_model(include_classifier=False)
    load_weights(model, read_shipped_weights(SQUEEZENET))
    return FeatureNetwork(
        name="squeezenet",
        family="squeezenet",
        trained_on="imagenet",
        dim=512,
        source=SQUEEZENET.source,
        licence=SQUEEZENET.licence,
        version=f"SqueezeNet 1.1 fire9, weights sha256 {SQUEEZENET.sha256[:16]}",
        input_size=INPUT_SIZE,
        function=frozen_function(model),
    )


def build_model(include_classifier: bool):
    """A Keras model of float32 RGB images in 0..255, B x 227 x 227 x 3, to features (B, 512) or to 1000 logits."""
    import keras

    layers = keras.layers

    def conv(x, filters, size, name, strides=1, padding="same"):
        layer = layers.Conv2D(
            filters, size, strides, padding, activation="relu", dtype="float32", name=name.replace("/", "_")
        )
        return layer(x)

    def pool(x, name):
        return layers.MaxPooling2D(3, 2, dtype="float32", name=name)(x)

    images = keras.Input((INPUT_SIZE, INPUT_SIZE, 3), dtype="float32", name="images")
    x = keras.ops.flip(images, axis=-1) - np.array(_MEAN_BGR, np.float32)
    x = pool(conv(x, 64, 3, "conv1", strides=2, padding="valid"), "pool1")
    for fire, (squeezed, expanded) in _FIRES.items():
        x = conv(x, squeezed, 1, f"{fire}/squeeze1x1")
        branches = [conv(x, expanded, 1, f"{fire}/expand1x1"), conv(x, expanded, 3, f"{fire}/expand3x3")]
        x = layers.Concatenate(dtype="float32", name=fire)(branches)
        if fire in _POOLED_AFTER:
            x = pool(x, f"{fire}_pool")
    if include_classifier:
        x = conv(x, 1000, 1, "conv10")
    output = layers.GlobalAveragePooling2D(dtype="float32", name="mean")(x)
    return keras.Model(images, output, name="squeezenet")


def load_weights(model, arrays: Mapping[str, np.ndarray]) -> None:
    """Fill every convolution of `model` from `LAYER/kernel` and `LAYER/bias`, as `fire2/squeeze1x1/kernel`.

    Raises:
        WeightsError: a kernel or bias is missing or has another shape.
    """
    stored = {name.replace("/", "_"): array for name, array in arrays.items()}
    for layer in model.layers:
        if not layer.weights:
            continue
        expected = [tuple(weight.shape) for weight in layer.weights]
        pair = [stored.get(f"{layer.name}_{part}") for part in ("kernel", "bias")]
        received = [None if array is None else np.shape(array) for array in pair]
        if received != expected:
            raise WeightsError(f"SqueezeNet's layer '{layer.name}' needs arrays {expected}. Received: {received}.")
        layer.set_weights(pair)
