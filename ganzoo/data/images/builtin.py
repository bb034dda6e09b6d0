"""Data sets that ship with ganzoo: they need no network."""

import lzma
from collections.abc import Callable

import numpy as np

from ganzoo.data.images.arrays import from_arrays, pad_digits
from ganzoo.data.images.options import ImageOptions
from ganzoo.data.sample_set import SampleSet
from ganzoo.errors import DataError
from ganzoo.weights.shipped import MNIST5K, read_shipped

_COUNT, _SIDE = 5_000, 28


def read_mnist5k(options: ImageOptions) -> SampleSet:
    """5,000 handwritten digits of MNIST, 500 of each, 28 x 28 px, in the order of their classes.

    Where 32 px are wanted they are padded with black; other sizes are reached by resizing.

    Raises:
        DataError: the file that ships with ganzoo is missing or damaged.
    """
    images, labels = digits()
    images, notes = pad_digits(images, options)
    names = tuple(str(digit) for digit in range(10))
    return from_arrays(images, labels, options, "the built-in data set mnist5k", names, notes)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The 5,000 images, uint8 (5000, 28, 28) in 0..255, white on black, and their labels, int32 (5000,) in 0..9.

    Raises:
        DataError: the file that ships with ganzoo is missing or damaged.
    """
    size = _COUNT * (_SIDE * _SIDE + 1)
    content = lzma.LZMADecompressor().decompress(read_shipped(MNIST5K), max_length=size)
    if len(content) != size:
        raise DataError(f"{MNIST5K.path} holds {len(content)} bytes, expected {size}.")
    values = np.frombuffer(content, np.uint8)
    return values[:-_COUNT].reshape(_COUNT, _SIDE, _SIDE).copy(), values[-_COUNT:].astype(np.int32)


BUILTIN: dict[str, Callable[[ImageOptions], SampleSet]] = {"mnist5k": read_mnist5k}
