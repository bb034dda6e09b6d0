"""Damages of real images at rising strength, and which score sees which of them, from which strength on.

A score is a judge. It is tested on sets that are worse in a known way and by a known amount: held-out real images that
were blurred, repeated, shuffled and so on. A score sees a damage from the first strength at which it can be told from
its floor (`ganzoo.metrics.margins`) in the direction of "worse". From there on it should become worse with strength.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ganzoo.errors import EvaluationError
from ganzoo.metrics.arrays import check_images

_MODES = 10  # clusters that stand in for classes where there are none
_THUMBNAIL = 8  # pixels a side of the images that are clustered


@dataclasses.dataclass(frozen=True)
class Pool:
    """What damaged sets are made of.

    Attributes:
        images: held-out real images, uint8 (N, height, width, channels).
        count: how many images each damaged set has; the first `count` images are those that are changed.
        training: real images (M, height, width, channels), M >= count, that a generator was trained on, for copies.
        modes: the mode of each of `images`, (N,).
        seed: of what is random.
    """

    images: np.ndarray
    count: int
    training: np.ndarray
    modes: np.ndarray
    seed: int = 0


class Unsuitable(EvaluationError):
    """The damage cannot be made of these images; the text says why."""


@dataclasses.dataclass(frozen=True)
class Damage:
    """One kind of damage.

    Attributes:
        name: as in tables.
        unit: what a strength is.
        strengths: rising, 0 first: 0 leaves the images as they are.
        apply: gives the damaged set, uint8 (count, height, width, channels), from a pool and a strength above 0.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[Pool, float], np.ndarray] = dataclasses.field(repr=False)

    def __call__(self, pool: Pool, strength: float) -> np.ndarray:
        """The damaged set.

        Raises:
            Unsuitable: the damage cannot be made of these images.
        """
        return pool.images[: pool.count] if strength == 0 else self.apply(pool, strength)


def blurred(images: np.ndarray, deviation: float) -> np.ndarray:
    """Images after a Gaussian blur of so many pixels; the edges are repeated."""
    from scipy.ndimage import gaussian_filter

    return _rounded(
        gaussian_filter(check_images(images).astype(np.float32), (0, deviation, deviation, 0), mode="nearest")
    )


def noisy(images: np.ndarray, deviation: float, seed: int = 0) -> np.ndarray:
    """Images with Gaussian noise of this deviation, in steps of 255, in each channel by itself."""
    return _rounded(images + deviation * np.random.default_rng(seed).standard_normal(images.shape, np.float32))


def latticed(images: np.ndarray, amplitude: float, period: int) -> np.ndarray:
    """Images with a checkerboard of this period in pixels, `amplitude` up and down in steps of 255."""
    rows, columns = (np.arange(side) * 2 // period for side in images.shape[1:3])
    signs = 1 - 2 * ((rows[:, None] + columns[None]) % 2)
    return _rounded(images + amplitude * signs[None, :, :, None].astype(np.float32))


def faint(images: np.ndarray, lost: float) -> np.ndarray:
    """Images that lost this share of their contrast: each pixel moves towards the image's mean colour."""
    mean = images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    return _rounded(mean + (1.0 - lost) * (images - mean))


def shuffled_tiles(images: np.ndarray, tiles: int, seed: int = 0) -> np.ndarray:
    """Images cut into tiles x tiles fields, which change places at random, in each image by itself."""
    count, height, width, channels = images.shape
    if height % tiles or width % tiles:
        raise Unsuitable(f"{height} x {width} pixels cannot be divided into {tiles} x {tiles} tiles")
    fields = images.reshape(count, tiles, height // tiles, tiles, width // tiles, channels).swapaxes(2, 3)
    fields = fields.reshape(count, tiles * tiles, height // tiles, width // tiles, channels)
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(tiles * tiles), (count, 1)), axis=1)
    fields = np.take_along_axis(fields, order[:, :, None, None, None], axis=1)
    fields = fields.reshape(count, tiles, tiles, height // tiles, width // tiles, channels).swapaxes(2, 3)
    return np.ascontiguousarray(fields.reshape(images.shape))


def swapped_channels(images: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Images of which this share has red, green and blue in the places of green, blue and red.

    Grey images are inverted instead: black becomes white.
    """
    chosen = _share_of(len(images), share, seed)
    changed = images.copy()
    grey = images.shape[-1] == 1 or bool(np.all(images == images[..., :1]))
    changed[chosen] = 255 - images[chosen] if grey else np.roll(images[chosen], 1, axis=-1)
    return changed


def repeated(images: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Images of which this share repeats one of the others."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(images))
    count = min(round(share * len(images)), len(images) - 1)
    sources = order[count:]
    changed = images.copy()
    changed[order[:count]] = images[sources[np.arange(count) % len(sources)]]
    return changed


def with_copies(images: np.ndarray, training: np.ndarray, share: float, seed: int = 0) -> np.ndarray:
    """Images of which this share is replaced by exact copies of training images, each copied once."""
    chosen = _share_of(len(images), share, seed)
    changed = images.copy()
    changed[chosen] = training[np.random.default_rng((seed, 1)).permutation(len(training))[: len(chosen)]]
    return changed


def without_modes(images: np.ndarray, modes: np.ndarray, count: int, share: float, seed: int = 0) -> np.ndarray:
    """`count` images of a larger set from which so many modes were left out that `share` of its images are gone.

    Raises:
        Unsuitable: fewer than `count` images are left.
    """
    names = np.random.default_rng(seed).permutation(np.unique(modes))
    sizes = np.array([np.sum(modes == name) for name in names])
    gone = names[: max(1, int(np.sum(np.cumsum(sizes) - sizes / 2 < share * len(images))))]
    kept = np.flatnonzero(~np.isin(modes, gone))
    if len(kept) < count:
        raise Unsuitable(f"only {len(kept)} of the {count} images that a set needs are left")
    return images[kept[:count]]


def modes_of(images: np.ndarray, labels: np.ndarray | None, seed: int = 0) -> np.ndarray:
    """The class of each image, or one of ten clusters of images that look alike where there are no classes."""
    if labels is not None:
        return np.asarray(labels)
    from scipy.cluster.vq import kmeans2

    count, height, width = images.shape[:3]
    cells = [np.linspace(0, side, min(side, _THUMBNAIL) + 1).astype(int)[:-1] for side in (height, width)]
    sums = np.add.reduceat(np.add.reduceat(images.astype(np.float64), cells[0], axis=1), cells[1], axis=2)
    return kmeans2(sums.reshape(count, -1) / (height * width), _MODES, minit="++", seed=seed)[1]


def _changed(change: Callable, seeded: bool = True, **options) -> Callable[[Pool, float], np.ndarray]:
    """A damage of each image by itself."""

    def apply(pool: Pool, strength: float) -> np.ndarray:
        return change(pool.images[: pool.count], strength, **options, **({"seed": pool.seed} if seeded else {}))

    return apply


_SHARES = (0.0, 0.1, 0.25, 0.5, 1.0)
_AMPLITUDES = (0.0, 2.0, 4.0, 8.0, 16.0)
DAMAGES = (
    Damage("blur", "deviation in pixels", (0.0, 0.5, 1.0, 2.0, 4.0), _changed(blurred, seeded=False)),
    Damage("noise", "deviation, of 255", (0.0, 4.0, 8.0, 16.0, 32.0), _changed(noisy)),
    *(
        Damage(f"lattice {period}", "amplitude, of 255", _AMPLITUDES, _changed(latticed, seeded=False, period=period))
        for period in (2, 4, 8)
    ),
    Damage("contrast", "share that is lost", (0.0, 0.1, 0.2, 0.4, 0.7), _changed(faint, seeded=False)),
    Damage(
        "modes left out",
        "share of the images",
        (0.0, 0.1, 0.2, 0.4, 0.8),
        lambda pool, share: without_modes(pool.images, pool.modes, pool.count, share, pool.seed),
    ),
    Damage("repeats", "share of the samples", (0.0, 0.1, 0.25, 0.5, 0.9), _changed(repeated)),
    Damage(
        "copies",
        "share of the samples",
        _SHARES,
        lambda pool, share: with_copies(pool.images[: pool.count], pool.training, share, pool.seed),
    ),
    Damage(
        "shuffled tiles",
        "tiles a side",
        (0.0, 2.0, 4.0, 8.0, 16.0),
        lambda pool, tiles: shuffled_tiles(pool.images[: pool.count], int(tiles), pool.seed),
    ),
    Damage("swapped channels", "share of the samples", _SHARES, _changed(swapped_channels)),
)


class Measured(NamedTuple):
    """One score of one set.

    Attributes:
        value: the score.
        floor: that of real images against real images.
        margin: half the 95% interval of value - floor.
        interval: half the 95% interval of the value.
    """

    value: float
    floor: float
    margin: float
    interval: float

    @property
    def told(self) -> bool:
        """Whether the score can be told from its floor."""
        return abs(self.value - self.floor) > self.margin

    def badness(self, best: str) -> float:
        """How much worse than the floor the score is; below 0: better. `best`: "lower", "higher" or "1"."""
        apart = self.value - self.floor
        return {"lower": apart, "higher": -apart, "1": abs(apart)}[best]


class Verdict(NamedTuple):
    """What a score sees of a damage.

    Attributes:
        seen_from: the first strength at which it is told from its floor as worse; None: it sees nothing.
        flatters_from: the first strength at which it is told as better than real images; None: at none.
        monotone: whether it becomes worse with strength from `seen_from` on, up to its own interval; None where it
            sees nothing.
        rank: Spearman's rank correlation of badness with strength, over all strengths; None where all are equal.
    """

    seen_from: float | None
    flatters_from: float | None
    monotone: bool | None
    rank: float | None


def verdict(strengths: Sequence[float], found: Sequence[Measured], best: str) -> Verdict:
    """What a score sees of a damage, from its values at rising strengths, 0 first."""
    badness = [one.badness(best) for one in found]
    seen = [index for index, one in enumerate(found) if index and one.told and badness[index] > 0]
    better = [index for index, one in enumerate(found) if index and one.told and badness[index] < 0]
    monotone = None
    if seen:
        rising = range(max(seen[0], 1), len(found))
        monotone = all(badness[index] >= badness[index - 1] - found[index].interval for index in rising)
    return Verdict(
        seen_from=strengths[seen[0]] if seen else None,
        flatters_from=strengths[better[0]] if better else None,
        monotone=monotone,
        rank=_rank_correlation(badness),
    )


def _rank_correlation(values: Sequence[float]) -> float | None:
    from scipy.stats import spearmanr

    if len(set(values)) < 2:
        return None
    return float(spearmanr(np.arange(len(values)), values).statistic)


def _share_of(count: int, share: float, seed: int) -> np.ndarray:
    """Indices of this share of `count`; those of a smaller share are among those of a larger one."""
    return np.random.default_rng(seed).permutation(count)[: round(share * count)]


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
