"""The scores of a card that need no network, each with its floor over several splits of the real images."""

import contextlib
import hashlib
from collections.abc import Sequence

import numpy as np

from ganzoo.cache import cache_dir, keep, read_json, write_json
from ganzoo.errors import GanzooError
from ganzoo.metrics.arrays import content_hash
from ganzoo.metrics.card import SLICED, ImageScores
from ganzoo.metrics.lattice import gradient_scores, regularity, spectrum_scores
from ganzoo.metrics.margins import Halves, margins
from ganzoo.metrics.sliced_wasserstein import PROTOCOL, sliced_distances

WITH_CONTRAST = f"{SLICED}, with contrast"
_QUICK = (64, 32)  # directions and patches of the sliced Wasserstein distance where only its spread is wanted
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
    found = _margins(real, fake, others[0][1], seed, halves) if halves else {}
    return [
        ImageScores(
            name=name,
            best=_BEST[name],
            scores=measured,
            floor=floors[0][name],
            floors={key: tuple(floor[name][key] for floor in floors) for key in measured},
            margins=found.get(name, {}),
        )
        for name, measured in scores.items()
    ]


def _measured(real: np.ndarray, fake: np.ndarray, seed: int, *counts: int) -> dict[str, dict[str, float]]:
    """All scores, by kind and name; `counts` of directions and patches where they are not those of the protocol."""
    sliced = sliced_distances(real, fake, seed, *counts)
    lattice = regularity(real), regularity(fake)
    found = (sliced.with_contrast, sliced.without_contrast, sliced.variance_ratio)
    return dict(zip(_BEST, (*found, spectrum_scores(*lattice), gradient_scores(*lattice)), strict=True))


def _margins(real: np.ndarray, fake: np.ndarray, other: np.ndarray, seed: int, halves: Sequence[Halves]) -> dict:
    """The margins of all scores, by kind and name."""
    scores = [_measured(real[half.real], fake[half.fake], seed, *_QUICK) for half in halves]
    floors = [_measured(real[half.real], other[half.other], seed, *_QUICK) for half in halves]
    return {name: margins([one[name] for one in scores], [one[name] for one in floors]) for name in _BEST}


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
