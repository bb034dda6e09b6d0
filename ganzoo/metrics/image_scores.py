"""The scores of a card that need no network, each with its floor over several splits of the real images."""

import contextlib
import hashlib
from collections.abc import Sequence

import numpy as np

from ganzoo.cache import cache_dir, keep, read_json, write_json
from ganzoo.errors import GanzooError
from ganzoo.metrics.arrays import content_hash
from ganzoo.metrics.card import SLICED, WITH_CONTRAST, ImageScores
from ganzoo.metrics.lattice import Regularity, gradient_scores, regularity, spectrum_scores
from ganzoo.metrics.margins import Halves, intervals, margins
from ganzoo.metrics.sliced_wasserstein import PROTOCOL, sliced_distances

QUICK = (64, 32)  # directions and patches of the sliced Wasserstein distance where only its spread is wanted
_REVISION = 2  # of the floors in the cache: raise it whenever the same images would get other numbers
BEST_OF = {
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
    scores = measured(real, fake, seed)
    floors = [_floor(one, other, seed) for one, other in others]
    found = _uncertainty(real, fake, others[0][1], seed, halves) if halves else {}
    return [
        ImageScores(
            name=name,
            best=BEST_OF[name],
            scores=values,
            floor=floors[0][name],
            floors={key: tuple(floor[name][key] for floor in floors) for key in values},
            margins=found.get(name, ({}, {}))[0],
            intervals=found.get(name, ({}, {}))[1],
        )
        for name, values in scores.items()
    ]


def measured(real: np.ndarray, fake: np.ndarray, seed: int, *counts: int) -> dict[str, dict[str, float]]:
    """All scores, by kind and name; `counts` of directions and patches where they are not those of the protocol."""
    return _together(real, fake, (regularity(real), regularity(fake)), seed, *counts)


def _together(
    real: np.ndarray, fake: np.ndarray, lattice: tuple[Regularity, Regularity], seed: int, *counts: int
) -> dict[str, dict[str, float]]:
    """As `measured`, where the regularity of both sets is known."""
    sliced = sliced_distances(real, fake, seed, *counts)
    found = (sliced.with_contrast, sliced.without_contrast, sliced.variance_ratio)
    return dict(zip(BEST_OF, (*found, spectrum_scores(*lattice), gradient_scores(*lattice)), strict=True))


def halved_scores(
    images: tuple[np.ndarray, np.ndarray],
    lattice: tuple[Regularity, Regularity],
    chosen: Sequence[tuple[np.ndarray, np.ndarray]],
    seed: int,
) -> list[dict[str, dict[str, float]]]:
    """All scores of parts of two sets, by kind and name, with few patches and directions.

    Args:
        images: real and fake ones.
        lattice: the regularity of each.
        chosen: for each result the indices of real and of fake images.
        seed: of the patches and directions.
    """
    found = []
    for real, fake in chosen:
        parts = lattice[0].of(real), lattice[1].of(fake)
        found.append(_together(images[0][real], images[1][fake], parts, seed, *QUICK))
    return found


def _uncertainty(
    real: np.ndarray, fake: np.ndarray, other: np.ndarray, seed: int, halves: Sequence[Halves]
) -> dict[str, tuple[dict[str, float], dict[str, float]]]:
    """The margins and the intervals of all scores, by kind and name."""
    of_real, of_fake, of_other = (regularity(images) for images in (real, fake, other))  # of each image by itself
    scores = halved_scores((real, fake), (of_real, of_fake), [(half.real, half.fake) for half in halves], seed)
    floors = halved_scores((real, other), (of_real, of_other), [(half.real, half.other) for half in halves], seed)
    found = {}
    for name in BEST_OF:
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
    floor = measured(one, other, seed)
    keep(path, lambda: write_json(path, floor, indent=None))
    return floor
