"""Pretrained feature networks: images in, a pyramid of feature maps out.

Four kinds of names, see `list_backbones`:

- `efficientnet_lite0`, `1` and `2`: real ImageNet weights, nothing is downloaded (Tan and Le 2019, "EfficientNet:
  Rethinking Model Scaling for Convolutional Neural Networks", in the Lite form for phones). Those of `0` ship with
  ganzoo, those of `1` and `2` come with the extra `backbones`.
- `keras.applications/NAME`: any classifier of Keras; its ImageNet weights are downloaded, or come from a local file.
- `keras_cv/PRESET`: keras_cv's backbones under the names of its presets, built here from their classes, since the
  presets fetch even a configuration from the network.
- `keras_hub/PRESET`, where keras_hub is installed: it downloads a preset, or reads the folder of one that was saved.

TensorFlow, keras and keras_cv take seconds to import: they are imported inside functions, so that names list at once.
"""

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ganzoo.backbones import weights as backbone_weights
from ganzoo.backbones.catalogue import LITE_SIDES, BackboneInfo, backbone_info, list_backbones
from ganzoo.backbones.graph import folded, taps
from ganzoo.backbones.libraries import without_top
from ganzoo.errors import WeightsError, unknown_name
from ganzoo.weights.torch_files import read_state_dict

if TYPE_CHECKING:
    import keras

__all__ = ["BackboneInfo", "backbone_info", "classifier", "create", "feature_statistics", "list_backbones"]


def create(
    name: str,
    input_shape: Sequence[int],
    levels: Sequence[int] | None = None,
    weights: str | os.PathLike | None = "default",
    trainable: bool = False,
    input_size: int | Sequence[int] | None = None,
    *,
    bottlenecks: bool = False,
    fold: bool | None = None,
) -> "keras.Model":
    """Build a feature pyramid: float32 images (N, H, W, C) in [-1, 1] -> list of maps (N, h, w, channels).

    A level of stride s is the last tensor of the network with the size (H / s, W / s), found by shape; where the
    network branches, the last one through which all of it passes.

    Args:
        name: one of `list_backbones()`.
        input_shape: (H, W, C) of the images; C is 1 (repeated to grey colours) or 3.
        levels: strides, any powers of two that the network has; the maps come in this order. Default: those of
            4, 8, 16 and 32 that exist.
        weights: "default" (shipped, a pip package's or the library's own download), None (random), or what is on this
            machine: the folder of a saved preset for keras_hub; a file of another framework's tensors with a mapping
            onto the library's network, "FILE,mapping=FILE.yaml" (`ganzoo.weights.foreign`; the published PyTorch state
            dicts of EfficientNet-Lite need none); `.weights.h5`, `.h5` or `.keras` of the whole network without its
            top; or "RUN:trunk", the trunk that a run trained of this backbone, as far as its levels go (folded only).
        trainable: False freezes the weights and fixes inference mode, whatever `training` says in a call.
        input_size: side or (height, width) to which images are resized first (bilinear, with antialiasing where
            they shrink).
        bottlenecks: where the last tensor of a size is the 1x1 expansion in front of the next block (MobileNets,
            EfficientNets), take the narrow tensor before it: for EfficientNet-Lite0 24, 40, 112 and 320 channels
            (those of Projected GAN) instead of 144, 240, 672 and 1280.
        fold: fold each BatchNormalization into the convolution before it: the same outputs up to rounding, fewer
            and other weights. A trainable one then trains as if its statistics were frozen, and those normalisations
            that no convolution takes up stay as they are. Default: where the backbone is frozen.

    Returns:
        A functional model named "trunk" with the attributes `info` (`BackboneInfo`) and `levels`.

    Raises:
        WeightsError: an unknown name or level, or weights that are missing, broken or out of reach.
    """
    info = backbone_info(name)
    if len(input_shape) != 3 or input_shape[-1] not in (1, 3) or not all(isinstance(n, int) for n in input_shape):
        raise WeightsError(f"A backbone's input_shape is (height, width, 1 or 3). Received: {tuple(input_shape)}.")
    size = (input_size, input_size) if isinstance(input_size, int) else tuple(input_size or input_shape[:2])
    fold = not trainable if fold is None else fold
    run, weights = backbone_weights.of_a_run(weights)
    if run and not fold:
        raise WeightsError(f"The trunk of a run has its normalisations folded away: {run} needs fold=True.")
    with _fresh_names():
        import keras

        network, info = without_top(info, (*size, 3), weights)
        if fold:
            network = folded(network)
        maps = taps(network, levels, info.name, bottlenecks)
        pyramid = keras.Model(network.input, list(maps.values()), name="pyramid")
        trunk = _with_images(pyramid, info, tuple(input_shape), size, "trunk")
    if run:
        backbone_weights.load_trunk(trunk, run, info, list(maps))
    if trainable and fold:
        for layer in pyramid._flatten_layers():
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False  # one without a convolution before it: inference mode
                layer.kept_fixed = True
    if not trainable:
        trunk.trainable = False
    if fold or not trainable:
        for layer in pyramid._flatten_layers():
            # A frozen normalisation is in inference mode by itself, a dropout is not.
            if "Drop" in type(layer).__name__ and hasattr(layer, "rate"):
                layer.rate = 0.0
    trunk.info = info
    trunk.levels = tuple(maps)
    return trunk


def classifier(name: str) -> "keras.Model":
    """An EfficientNet-Lite with its real head: images (N, side, side, 3) in [-1, 1] -> ImageNet logits (N, 1000).

    Raises:
        WeightsError: an unknown name, or the pip package with the head is not installed.
    """
    if name not in LITE_SIDES:
        raise WeightsError(unknown_name("backbone with a classification head", name, LITE_SIDES))
    info, side = backbone_info(name), LITE_SIDES[name]
    tensors = read_state_dict(backbone_weights.lite_file(name))  # the head of every size is in its package alone
    with _fresh_names():
        import keras

        network, _ = without_top(info, (side, side, 3), "default")
        pooled = keras.layers.GlobalAveragePooling2D(name="pool")(network.output)
        head = keras.layers.Dense(1000, name="logits")
        whole = keras.Model(network.input, head(pooled), name="network")
        head.set_weights([tensors["_fc.weight"].T, tensors["_fc.bias"]])
        return _with_images(whole, info, (side, side, 3), (side, side), "classifier")


def feature_statistics(
    model: "keras.Model", images: np.ndarray, batch_size: int = 32
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and standard deviation of each channel of each level, over images and positions.

    Args:
        model: a backbone of `create`.
        images: uint8 (N, H, W, C), as the model's input.
        batch_size: images at a time.

    Returns:
        For each level (mean, deviation), float32 of shape (channels,).
    """
    if images.dtype != np.uint8 or images.ndim != 4 or len(images) == 0:
        raise WeightsError(
            "Feature statistics are taken on uint8 images (N, H, W, C), at least one. "
            f"Received: {images.dtype} {images.shape}."
        )
    counts: list[int] = []
    means: list[np.ndarray] = []
    squares: list[np.ndarray] = []  # sums of squared distances from the mean, merged batch by batch (Chan et al. 1979)
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size].astype(np.float32) / 127.5 - 1.0
        maps = [np.asarray(m, np.float64).reshape(-1, m.shape[-1]) for m in model(batch, training=False)]
        if not counts:
            counts = [0] * len(maps)
            means = [np.zeros(m.shape[-1]) for m in maps]
            squares = [np.zeros(m.shape[-1]) for m in maps]
        for level, rows in enumerate(maps):
            mean, count, total = rows.mean(0), len(rows), counts[level] + len(rows)
            step = mean - means[level]
            squares[level] += ((rows - mean) ** 2).sum(0) + step**2 * (counts[level] * count / total)
            means[level] += step * (count / total)
            counts[level] = total
    return [
        (mean.astype(np.float32), np.sqrt(square / count).astype(np.float32))
        for mean, square, count in zip(means, squares, counts, strict=True)
    ]


@functools.cache
def trunk_class() -> "type[keras.Model]":
    """A functional `keras.Model` from maps to a list of maps; made at the first call, which loads Keras."""
    import keras

    @keras.saving.register_keras_serializable(package="ganzoo")
    class Trunk(keras.Model):
        """A functional model that returns a list for a single output too (Keras unpacks it)."""

        def call(self, inputs, training=None, mask=None):
            outputs = super().call(inputs, training=training, mask=mask)
            return outputs if isinstance(outputs, list) else [outputs]

    return Trunk


@contextlib.contextmanager
def _fresh_names() -> Iterator[None]:
    """Count automatic layer names from nothing, so that two builds of one network bear the same names."""
    from keras.src.backend.common import global_state  # keras has no public way that leaves other models alone

    before = global_state.get_global_attribute("object_name_uids")
    global_state.set_global_attribute("object_name_uids", None)
    try:
        yield
    finally:
        global_state.set_global_attribute("object_name_uids", before)


def _with_images(
    network: "keras.Model", info: BackboneInfo, input_shape: tuple[int, ...], size: tuple[int, ...], name: str
) -> "keras.Model":
    """Put resizing and the conversion from [-1, 1] to the network's own range in front of it."""
    import keras

    images = keras.Input(input_shape, name="images")
    x = images
    if size != input_shape[:2]:
        shrinks = size[0] < input_shape[0] or size[1] < input_shape[1]
        x = keras.layers.Resizing(*size, interpolation="bilinear", antialias=shrinks, name="resize")(x)
    if input_shape[-1] == 1:
        x = keras.layers.Concatenate(name="grey_to_colours")([x, x, x])
    if info.blue_first:
        x = x[..., ::-1]
    if info.scale != (1.0,) * 3 or info.offset != (0.0,) * 3:
        x = keras.layers.Rescaling(list(info.scale), list(info.offset), name="input_range")(x)
    outputs = network(x)
    if not isinstance(network.output, list):
        return keras.Model(images, outputs, name=name)
    return trunk_class()(images, outputs if isinstance(outputs, list) else [outputs], name=name)
