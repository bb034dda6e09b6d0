"""Image sets and made-up weights of Inception-v3, alike wherever NumPy is: for `record_inception.py` and its test."""

import zlib
from collections.abc import Mapping

import numpy as np

COUNT = 24  # images of each kind
SIZES = {"square 32": (32, 32), "square 64": (64, 64), "tall": (48, 40)}


def image_sets(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of uint8 images (COUNT, height, width, 3): coloured waves, and other waves with noise."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    draw = np.random.RandomState(size[0])

    def waves(noise: float) -> np.ndarray:
        found = np.empty((COUNT, *size, 3))
        for image in found:
            for channel in range(3):
                pitch, tilt, phase = draw.uniform(4, 20), draw.uniform(0, np.pi), draw.uniform(0, 6)
                turned = rows * np.cos(tilt) + columns * np.sin(tilt)
                image[..., channel] = 128 + 100 * np.sin(turned * 2 * np.pi / pitch + phase)
        return np.clip(found + noise * draw.standard_normal(found.shape), 0, 255).round().astype(np.uint8)

    return waves(0.0), waves(25.0)


def made_up(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Tensors for the names of a checkpoint, such as `Mixed_5b.branch1x1.conv.weight`, of the given shapes."""
    found = {}
    for name, shape in shapes.items():
        values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
        if name.endswith("conv.weight"):
            values *= np.sqrt(2.0 / np.prod(shape[1:]))
        elif name.endswith(("running_var", "bn.weight")):
            values = np.exp(0.2 * values)
        else:
            values *= 0.1
        found[name] = values.astype(np.float32)
    return found
