"""The scores of a card that need no network, each with its floor over several splits of the real images."""

import contextlib
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ganzoo.errors import GanzooError
from ganzoo.files.cache import cache_dir
from ganzoo.files.reading import read_json
from ganzoo.files.writing import keep, write_json
from ganzoo.metrics.arrays import content_hash
from ganzoo.metrics.card import SLICED, WITH_CONTRAST, ImageScores
from ganzoo.metrics.lattice import Regularity, gradient_scores, regularity, spectrum_scores
from ganzoo.metrics.margins import Halves, intervals, margins
from ganzoo.metrics.sliced_wasserstein import (
    PROTOCOL,
    Patches,
    SlicedDistances,
    distances_between,
    patches_of,
    sliced_distances,
)

QUICK = (64, 32)  # directions and patches of the sliced Wasserstein distance where only its spread is wanted
_REVISION = 2  # of the floors in the cache: raise it whenever the same images would get other numbers
_BEST = {
    WITH_CONTRAST: "lower",
    f"{SLICED}, without contrast": "lower",
    "variance ratio": "1",
    "lattice: power at its period": "1",
    "lattice: unevenness of gradients modulo 8, %": "lower",
}


def image_scores(
    real: np.ndarray,
    fake: np.ndarray,
    others: Sequence[tuple[np.ndarray, np.ndarray]],
    seed: int,
    halves: Sequence[Halves] = (),
) -> list[ImageScores]:
    """All scores without a network of `fake` against equally many `real` images, uint8 of one size.

    Args:
        real: real images.
        fake: generated images.
        others: pairs of real sets for the floors, that of the scores' own split first.
        seed: of the patches and directions.
        halves: over which the margins are taken.
    """
    scores = _measured(real, fake, seed)
    floors = [_floor(one, other, seed) for one, other in others]
    found = _uncertainty(real, fake, others[0][1], seed, halves) if halves else {}
    return [
        ImageScores(
            name=name,
            best=_BEST[name],
            scores=values,
            floor=floors[0][name],
            floors={key: tuple(floor[name][key] for floor in floors) for key in values},
            margins=found.get(name, ({}, {}))[0],
            intervals=found.get(name, ({}, {}))[1],
        )
        for name, values in scores.items()
    ]


def _measured(real: np.ndarray, fake: np.ndarray, seed: int, *counts: int) -> dict[str, dict[str, float]]:
    """All scores, by kind and name; `counts` of directions and patches where they are not those of the protocol."""
    return _together(real, fake, (regularity(real), regularity(fake)), seed, *counts)


def _together(
    real: np.ndarray, fake: np.ndarray, lattice: tuple[Regularity, Regularity], seed: int, *counts: int
) -> dict[str, dict[str, float]]:
    """As `_measured`, where the regularity of both sets is known."""
    return _by_kind(sliced_distances(real, fake, seed, *counts), lattice)


def _by_kind(sliced: SlicedDistances, lattice: tuple[Regularity, Regularity]) -> dict[str, dict[str, float]]:
    found = (sliced.with_contrast, sliced.without_contrast, sliced.variance_ratio)
    return dict(zip(_BEST, (*found, spectrum_scores(*lattice), gradient_scores(*lattice)), strict=True))


class Prepared(NamedTuple):
    """What the scores need of N images, taken once for scores of many parts of them."""

    patches: Patches
    lattice: Regularity

    def of(self, chosen: np.ndarray) -> "Prepared":
        """That of some of the images, by their indices."""
        return Prepared(self.patches.of(chosen), self.lattice.of(chosen))


def prepared(images: np.ndarray, seed: int) -> Prepared:
    """What the scores need of uint8 images, with few patches of each."""
    return Prepared(patches_of(images, seed, QUICK[1]), regularity(images))


def prepared_scores(real: Prepared, fake: Prepared, seed: int) -> dict[str, dict[str, float]]:
    """All scores of equally many images, by kind and name, with few patches and directions."""
    sliced = distances_between(real.patches, fake.patches, seed, QUICK[0])
    return _by_kind(sliced, (real.lattice, fake.lattice))


def _uncertainty(
    real: np.ndarray, fake: np.ndarray, other: np.ndarray, seed: int, halves: Sequence[Halves]
) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    """The margins and the intervals of all scores, by kind and name."""
    known = [regularity(images) for images in (real, fake, other)]  # of each image by itself: halves choose from it
    scores, floors = [], []
    for half in halves:
        of_real, of_fake, of_other = (one.of(chosen) for one, chosen in zip(known, half, strict=True))
        reals = real[half.real]
        scores.append(_together(reals, fake[half.fake], (of_real, of_fake), seed, *QUICK))
        floors.append(_together(reals, other[half.other], (of_real, of_other), seed, *QUICK))
    found = {}
    for name in _BEST:
        values = [one[name] for one in scores]
        found[name] = margins(values, [one[name] for one in floors]), intervals(values)
    return found


def _floor(one: np.ndarray, other: np.ndarray, seed: int) -> dict[str, dict[str, float]]:
    """The scores of two sets of real images, cached by their content."""
    contents = f"{content_hash(one)[:24]}-{content_hash(other)[:24]}-{seed}-{PROTOCOL}-{_REVISION}"
    path = cache_dir("floors") / f"{hashlib.sha256(contents.encode()).hexdigest()[:32]}.json"
    if path.is_file():
        with contextlib.suppress(GanzooError):
            return read_json(path)
    floor = _measured(one, other, seed)
    keep(path, lambda: write_json(path, floor, indent=None))
    return floor
