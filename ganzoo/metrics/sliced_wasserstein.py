"""The sliced Wasserstein distance of Laplacian-pyramid patches: a distance of image sets that needs no network.

At each level of the pyramid, 7x7 patches of all images form two clouds of points. The distance is the mean, over 512
random directions, of the Wasserstein-1 distance of the clouds projected on that direction.

Paper: Karras et al. 2018, "Progressive growing of GANs", section 5, https://arxiv.org/abs/1710.10196. The protocol here
is that of the paper except for three points:

- The paper's code normalises each set's patches by that set's own mean and deviation per channel. The distance is then
  blind to a shift of colour and to a change of contrast. `sliced_wasserstein` normalises both sets by the mean and
  deviation of the REAL patches, so it contains the error of contrast, which often is the largest part of it.
  `sliced_distances` gives both, and the variance of the fake patches divided by that of the real ones.
- The i-th image of both sets is cut at the same places, so a set's distance to itself is exactly 0.
- Levels go down to 14 pixels (two patches) rather than 16: the same for powers of two, and 28 gets a second level.
"""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ganzoo import progress
from ganzoo.errors import EvaluationError
from ganzoo.metrics.arrays import check_images

PROTOCOL = "Laplacian pyramid 7x7x128, 512 directions, x1000, both sets normalised by the reals"
_PATCH = 7
_PATCHES_PER_IMAGE = 128
_DIRECTIONS = 512
_SMALLEST_LEVEL = 2 * _PATCH
_DIRECTIONS_AT_ONCE = 32
_THREADS = 8  # at most: each holds the projections of all patches
_IMAGES_AT_ONCE = 256
_FILTER = np.array([1.0, 4.0, 6.0, 4.0, 1.0], np.float32) / 16.0


@dataclasses.dataclass(frozen=True)
class SlicedDistances:
    """Both normalisations of the distance by level and as "average", and the variance ratio by level.

    Attributes:
        with_contrast: both sets normalised by the reals: as `sliced_wasserstein`.
        without_contrast: each set normalised by its own mean and deviation per channel, as in the paper's code.
        variance_ratio: variance of the fake patches divided by that of the real ones, channels added; 1 is best, below
            1 the level is too faint, above 1 too strong. "average" is the geometric mean over levels.
    """

    with_contrast: dict[str, float]
    without_contrast: dict[str, float]
    variance_ratio: dict[str, float]


def sliced_wasserstein(
    real: np.ndarray, fake: np.ndarray, seed: int = 0, directions: int = _DIRECTIONS
) -> dict[str, float]:
    """The distance by level, `{"64": ..., "32": ..., "16": ..., "average": ...}`, in units of 1e-3 as in the paper.

    A level's number is 1000 times the mean distance in deviations of the real patches of that level: 1000 means that
    projected patches lie one deviation apart on average; 0 is best. The first level holds the finest detail, the last
    one the coarse colours and shapes. A finite sample's distance is above 0: compare it with real against real.

    Args:
        real: uint8, N x H x W x C with 1 or 3 channels, 14 pixels or more a side.
        fake: as `real`, and as many.
        seed: of the patches' places and the directions.
        directions: how many; fewer are faster and less exact, and not the protocol.

    Raises:
        EvaluationError: other types, different shapes, or images under 14 pixels.
    """
    levels = {
        name: level.with_contrast
        for name, level in _levels(real, fake, seed, (directions, _PATCHES_PER_IMAGE), False).items()
    }
    return levels | {"average": float(np.mean(list(levels.values())))}


def sliced_distances(
    real: np.ndarray,
    fake: np.ndarray,
    seed: int = 0,
    directions: int = _DIRECTIONS,
    patches: int = _PATCHES_PER_IMAGE,
) -> SlicedDistances:
    """Both normalisations of `sliced_wasserstein` (the same arguments and errors), and the variance ratios.

    With fewer `patches` of each image it is faster and less exact, and not the protocol.

    A distance that is high with contrast and near its floor without it is an error of contrast or colour alone, which
    the variance ratios show by level. A distance that is high without contrast, too, is an error of shape or texture.
    """
    return _distances(_levels(real, fake, seed, (directions, patches), True))


@dataclasses.dataclass(frozen=True)
class Patches:
    """Patches of N images by level, (N, number, 7 * 7, C) float32: for distances of many parts of the same sets."""

    levels: dict[str, np.ndarray]

    def of(self, chosen: np.ndarray) -> "Patches":
        """Those of some of the images, by their indices."""
        return Patches({name: patches[chosen] for name, patches in self.levels.items()})


def patches_of(images: np.ndarray, seed: int, number: int) -> Patches:
    """`number` patches of each of the uint8 images at each level; all of them are held in memory."""
    images = check_images(images)
    sizes = level_sizes(*images.shape[1:3])
    found = {}
    for level, size in enumerate(sizes):
        patches = _patches(images, (level, len(sizes)), seed, number)
        found[_name(size)] = patches.reshape(len(images), number, *patches.shape[1:])
    return Patches(found)


def distances_between(real: Patches, fake: Patches, seed: int, directions: int) -> SlicedDistances:
    """`sliced_distances` of the patches of equally many real and fake images."""
    levels = {}
    for name, patches in real.levels.items():
        clouds = (one.reshape(-1, *one.shape[2:]).copy() for one in (patches, fake.levels[name]))
        levels[name] = _level(*clouds, seed, directions, True)
    return _distances(levels)


def _distances(levels: Mapping[str, "_Level"]) -> SlicedDistances:
    both = [{name: getattr(level, key) for name, level in levels.items()} for key in _Level._fields]
    for distances in both[:2]:
        distances["average"] = float(np.mean(list(distances.values())))
    both[2]["average"] = float(np.exp(np.mean(np.log(np.maximum(list(both[2].values()), 1e-12)))))
    return SlicedDistances(*both)


class _Level(NamedTuple):
    with_contrast: float
    without_contrast: float | None
    variance_ratio: float


def _levels(real: np.ndarray, fake: np.ndarray, seed: int, counts: tuple[int, int], own: bool) -> dict[str, _Level]:
    """Each level by `counts` of directions and patches; `own`: whether each set is normalised by itself, too."""
    directions, patches_per_image = counts
    real, fake = check_images(real, "real"), check_images(fake, "fake")
    if real.shape != fake.shape:
        raise EvaluationError(
            "The sliced Wasserstein distance compares equally many images of the same size. "
            f"Received: real {real.shape}, fake {fake.shape}."
        )
    sizes = level_sizes(real.shape[1], real.shape[2])
    found = {}
    for level, size in enumerate(progress.each(sizes, "Comparing patches of images (sliced Wasserstein)")):
        real_patches = _patches(real, (level, len(sizes)), seed, patches_per_image)
        fake_patches = _patches(fake, (level, len(sizes)), seed, patches_per_image)
        found[_name(size)] = _level(real_patches, fake_patches, seed, directions, own)
    return found


def _name(size: tuple[int, int]) -> str:
    height, width = size
    return str(height) if height == width else f"{height}x{width}"


def _level(real_patches: np.ndarray, fake_patches: np.ndarray, seed: int, directions: int, own: bool) -> _Level:
    """The scores of one level; the patches (number, 7 * 7, C) are changed in place."""
    moments, fake_moments = _moments(real_patches), _moments(fake_patches)
    ratio = float(np.sum(fake_moments[1] ** 2) / np.sum(moments[1] ** 2))
    clouds = [(fake_patches - fake_moments[0]) / fake_moments[1]] if own else []
    for patches in (real_patches, fake_patches):
        patches -= moments[0]
        patches /= moments[1]
    distances = _mean_projected_distances(real_patches, [fake_patches, *clouds], seed, directions)
    return _Level(1e3 * distances[0], 1e3 * distances[1] if own else None, ratio)


def _moments(patches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation by channel, (1, 1, C) float32; a deviation is 1e-3 of 255 at least, so that it divides."""
    mean = patches.mean(axis=(0, 1), keepdims=True, dtype=np.float64).astype(np.float32)
    deviation = patches.std(axis=(0, 1), keepdims=True, dtype=np.float64).astype(np.float32)
    return mean, np.maximum(deviation, np.float32(1e-3))


def level_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Sizes of the pyramid's levels, from full resolution down to no less than 14 pixels on the shorter side."""
    if min(height, width) < _SMALLEST_LEVEL:
        raise EvaluationError(f"Images must have {_SMALLEST_LEVEL} pixels or more a side. Received: {height}x{width}.")
    sizes = [(height, width)]
    while min(size := ((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2)) >= _SMALLEST_LEVEL:
        sizes.append(size)
    return sizes


def _patches(images: np.ndarray, level_of: tuple[int, int], seed: int, number: int) -> np.ndarray:
    """`number` patches of each image at one level, (N * number, 7 * 7, C) float32."""
    level, levels = level_of
    generator = np.random.default_rng([seed, level])
    offset = np.arange(_PATCH)
    parts = []
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        maps = _laplacian(images[start : start + _IMAGES_AT_ONCE].astype(np.float32), level, levels)
        count, height, width, channels = maps.shape
        top = generator.integers(0, height - _PATCH + 1, (count, number, 1, 1))
        left = generator.integers(0, width - _PATCH + 1, (count, number, 1, 1))
        index = np.arange(count)[:, None, None, None]
        cut = maps[index, top + offset[:, None], left + offset[None, :]]
        parts.append(cut.reshape(count * number, _PATCH * _PATCH, channels))
    return np.concatenate(parts)


def _laplacian(maps: np.ndarray, level: int, levels: int) -> np.ndarray:
    """One level of the pyramid: what the next coarser level lacks, or the coarsest level itself."""
    for _ in range(level):
        maps = _halve(maps)
    return maps if level == levels - 1 else maps - _double(_halve(maps), maps.shape)


def _halve(maps: np.ndarray) -> np.ndarray:
    return _blur(maps)[:, ::2, ::2]


def _double(maps: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    spread = np.zeros(shape, np.float32)
    spread[:, ::2, ::2] = maps
    return 4.0 * _blur(spread)


def _blur(maps: np.ndarray) -> np.ndarray:
    from scipy import ndimage

    maps = ndimage.correlate1d(maps, _FILTER, axis=1, mode="mirror")
    return ndimage.correlate1d(maps, _FILTER, axis=2, mode="mirror")


def _mean_projected_distances(real: np.ndarray, fakes: Sequence[np.ndarray], seed: int, count: int) -> list[float]:
    """The distance of each cloud of fake patches to the real ones, mean over `count` directions."""
    real, fakes = real.reshape(len(real), -1), [fake.reshape(len(fake), -1) for fake in fakes]
    directions = np.random.default_rng([seed, 1_000_000]).standard_normal((real.shape[1], count))
    directions = (directions / np.linalg.norm(directions, axis=0)).astype(np.float32)

    def distance(start: int) -> list[float]:
        some = directions[:, start : start + _DIRECTIONS_AT_ONCE].T
        projected_real = np.sort(some @ real.T, axis=1)
        apart = (np.abs(projected_real - np.sort(some @ fake.T, axis=1)) for fake in fakes)
        return [float(one.mean(axis=1, dtype=np.float64).sum()) for one in apart]

    # Sorting takes most of the time and runs on one core: several at once. The order of the sum stays, and so the sum.
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _THREADS)) as threads:
        parts = list(threads.map(distance, range(0, count, _DIRECTIONS_AT_ONCE)))
    return [sum(part) / count for part in zip(*parts, strict=True)]
