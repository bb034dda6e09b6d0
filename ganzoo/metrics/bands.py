"""Ratios of scores of several seeds, with a 95% band: which differences between recipes are more than noise.

Two runs of the same recipe with different seeds get different scores. The spread of their logarithms is about the same
for every recipe of a study, so it is estimated from all of them together (with n_i seeds of the recipe i, and the mean
m_i of its log scores):

    s^2 = sum_ij (log x_ij - m_i)^2 / f,        f = sum_i (n_i - 1) degrees of freedom

The ratio of two recipes is that of their geometric means, exp(m_1 - m_2). Its band is from ratio / g to ratio * g with

    g = exp(t * s * sqrt(1 / n_1 + 1 / n_2))

where t is the quantile 1 - 0.05 / (2 k) of Student's distribution with f degrees of freedom, and k the number of
ratios of the same score in the same table: Bonferroni's correction, by which the chance that any band of a column
misses its true ratio is at most 5%. A band that holds 1 shows no difference.

Logarithms need positive scores that noise does not carry near 0. A KID may be negative. Where a score of one of the two
recipes is no larger than `floor` (twice what other real images get), the difference of the means is taken instead,
with the spread of these two recipes alone, n_1 + n_2 - 2 degrees of freedom, and it is compared with 0.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.95


class Spread(NamedTuple):
    """How much scores of the same recipe differ between seeds."""

    deviation: float  # pooled standard deviation, of log scores or of scores
    degrees: int  # of freedom; 0: no recipe has two seeds, and there is no band


class Band(NamedTuple):
    """A ratio (or a difference) of mean scores, with its band; without a band where no recipe has two seeds."""

    value: float
    low: float | None
    high: float | None
    is_ratio: bool

    @property
    def shown(self) -> bool:
        """Whether the band excludes equality: 1 for ratios, 0 for differences."""
        equal = 1.0 if self.is_ratio else 0.0
        return self.low is not None and not self.low <= equal <= self.high


def pooled(groups: Sequence[Sequence[float]], logarithmic: bool = True) -> Spread:
    """The spread between the seeds of each group, pooled over the groups.

    Args:
        groups: for each recipe the scores of its seeds. Groups of one score say nothing, and neither do groups with
            scores of 0 or below where logarithms are taken: they are left out.
        logarithmic: whether the spread is that of the logarithms.
    """
    squares, degrees = 0.0, 0
    for group in groups:
        if len(group) < 2 or (logarithmic and min(group) <= 0):
            continue
        values = np.log(group) if logarithmic else np.asarray(group, float)
        squares += float(np.sum((values - values.mean()) ** 2))
        degrees += len(group) - 1
    return Spread(math.sqrt(squares / degrees) if degrees else 0.0, degrees)


def half_width(spread: Spread, counts: tuple[int, int], comparisons: int = 1) -> float | None:
    """t * s * sqrt(1 / n_1 + 1 / n_2), of log scores or of scores; None without degrees of freedom."""
    from scipy import stats

    if not spread.degrees:
        return None
    quantile = float(stats.t.ppf(1 - (1 - LEVEL) / (2 * comparisons), spread.degrees))
    return quantile * spread.deviation * math.sqrt(1 / counts[0] + 1 / counts[1])


def compared(
    mine: Sequence[float], theirs: Sequence[float], spread: Spread, comparisons: int = 1, floor: float = 0.0
) -> Band:
    """The ratio of the scores of two recipes, or their difference where a ratio means nothing.

    Args:
        mine: scores of the first recipe, one for each seed.
        theirs: scores of the second, to which the first is compared.
        spread: `pooled` over all recipes of the study.
        comparisons: the number of bands in the same table.
        floor: a ratio is taken only if all scores are above it, and above 0.
    """
    counts = (len(mine), len(theirs))
    if min(*mine, *theirs) > max(floor, 0.0):
        ratio = math.exp(float(np.mean(np.log(mine)) - np.mean(np.log(theirs))))
        half = half_width(spread, counts, comparisons)
        return Band(ratio, None, None, True) if half is None else _band(ratio, math.exp(half))
    difference = float(np.mean(mine) - np.mean(theirs))
    half = half_width(pooled((mine, theirs), logarithmic=False), counts, comparisons)
    if half is None:
        return Band(difference, None, None, False)
    return Band(difference, difference - half, difference + half, False)


def _band(ratio: float, factor: float) -> Band:
    return Band(ratio, ratio / factor, ratio * factor, True)
