"""Whether a score can be told from its floor, and with how many samples it could be.

margin = t * sd(d_1, ..., d_K),  d_k = score_k - floor_k

Each d_k is over random halves of the real images, the samples and the other real images, drawn without replacement (the
delete-half jackknife: the spread over halves estimates that of the whole); t is the 97.5% quantile of Student's
distribution with K - 1 degrees of freedom.

A score is told from its floor where |score - floor| > margin: the 95% interval of the difference does not hold 0. Both
parts are over the same real images, so what these have in common cancels. The interval becomes narrower as
1 / sqrt(samples), which gives the number of samples that a difference of this size needs.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

_DRAWS = 8


class Halves(NamedTuple):
    """Indices of half of the real images, of the samples, and of the other real images."""

    real: np.ndarray
    fake: np.ndarray
    other: np.ndarray


def halves_of(count: int, seed: int) -> list[Halves]:
    """Random halves of `count` real images, samples and other real images."""
    generator = np.random.default_rng((seed, count, _DRAWS))
    return [Halves(*(generator.permutation(count)[: count // 2] for _ in range(3))) for _ in range(_DRAWS)]


def margins(scores: Sequence[Mapping[str, float]], floors: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Half the width of the 95% interval of score - floor, by name, from the scores and floors of several halves."""
    from scipy import stats

    factor = float(stats.t.ppf(0.975, len(scores) - 1))
    found = {}
    for name in scores[0]:
        differences = [score[name] - floor[name] for score, floor in zip(scores, floors, strict=True)]
        found[name] = factor * float(np.std(differences, ddof=1))
    return found
