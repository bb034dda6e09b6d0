"""Whether a score can be told from its floor, and with how many samples it could be.

margin = t * sd(d_1, ..., d_K),  d_k = score_k - floor_k

Each d_k is over random halves of the real images, the samples and the other real images, drawn without replacement (the
delete-half jackknife: the spread over halves estimates that of the whole); t is the 97.5% quantile of Student's
distribution with K - 1 degrees of freedom.

Over several fits of a feature network the score and the floor are means. Their margin is the root of the sum of two
squares: the mean margin of the fits, and t * sd(score - floor over the fits) / sqrt(fits), with t of fits - 1 degrees.
Far from the floor, a score may be ten times as large over one fit as over another. Its size is then not known, but it
is not that of real images: where every fit tells the score from its floor, on the same side, the mean is told, too.

The interval of a score, t * sd(score_1, ..., score_K), is over the same halves and the same fits. It covers the choice
of latents, of real images and of fits: by how much, `tests/benchmarks/scores_study.md` measures.

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
    return intervals(
        [{name: score[name] - floor[name] for name in score} for score, floor in zip(scores, floors, strict=True)]
    )


def intervals(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Half the width of the 95% interval of each score, by name, from the scores of several halves."""
    from scipy import stats

    factor = float(stats.t.ppf(0.975, len(scores) - 1))
    return {name: factor * float(np.std([one[name] for one in scores], ddof=1)) for name in scores[0]}


def margins_over_fits(
    found: Sequence[Mapping[str, float]], differences: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """The margins of means over several fits, from the margin of each and from each one's score - floor, by name.

    Where every fit tells the score from its floor, on the same side, the margin is at most the same share of the mean
    difference as in the fit that tells it least.
    """
    result = intervals_over_fits(found, differences)
    for name, joint in result.items():
        apart = np.array([one[name] for one in differences])
        within = np.array([one[name] for one in found])
        if (apart > within).all() or (apart < -within).all():
            result[name] = min(joint, float(np.max(within / np.abs(apart)) * np.abs(apart.mean())))
    return result


def intervals_over_fits(
    found: Sequence[Mapping[str, float]], values: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """The intervals of means over several fits, from the interval and the value of each, by name."""
    from scipy import stats

    count = len(found)
    factor = float(stats.t.ppf(0.975, count - 1)) / np.sqrt(count)
    result = {}
    for name in set(found[0]).intersection(*found):
        of_samples = np.mean([one[name] for one in found])
        of_fits = factor * np.std([one[name] for one in values], ddof=1)
        result[name] = float(np.hypot(of_samples, of_fits))
    return result
