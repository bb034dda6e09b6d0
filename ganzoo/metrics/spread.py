"""The spread of scores over latents, over the choice of real images and over fits, and whether intervals cover it.

    latents   other samples of the generator, the same real images, the same fit
    splits    the same samples, other real images of the set (and others for the floor), the same fit
    fits      the same images, other fits of the self-supervised network
    all       other samples and other real images at once, with means over the fits: what another evaluation would give.
              The variance of a mean over other fits, that of one fit divided by their number, is added to the spread

The spread over "all" is what a card's interval (`ganzoo.metrics.margins`) has to cover. It is taken from one evaluation
alone, and can therefore be compared with the spread over many.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ganzoo.metrics.judge import OverFeatures, OverImages, Remembered, over_fits
from ganzoo.metrics.margins import Halves, halves_of
from ganzoo.metrics.sensitivity import Measured

Values = dict[str, dict[str, list]]  # by score, then by what varies: a value each, or [value, floor, margin, interval]


def spread_at(
    reals: np.ndarray,
    made: Sequence[np.ndarray] | None,
    networks: Mapping[str, Sequence[Remembered]],
    count: int,
    draws: int,
    seed: int = 0,
) -> Values:
    """The scores of `count` samples, over several draws of what they depend on.

    Args:
        reals: all real images, uint8 (R, height, width, channels): 2 x count or more, 3 x count where `made` is None.
        made: samples of several seeds, `count` or more each; None: other real images are scored as if they were
            samples, and only "all" is taken.
        networks: by name, in as many fits as each has.
        count: of samples on each side.
        draws: how many, no more than there are sets in `made`.
        seed: of the choice of real images.
    """
    orders = [np.random.default_rng((seed, count, draw)).permutation(len(reals)) for draw in range(draws)]
    fakes = (
        [reals[order[2 * count : 3 * count]] for order in orders]
        if made is None
        else [one[:count] for one in made[:draws]]
    )
    splits = [(reals[order[:count]], reals[order[count : 2 * count]]) for order in orders]
    halved = halves_of(count, seed)
    notes = _Notes()
    judges = [OverImages(*split, halved, seed) for split in splits]
    for draw, judge in enumerate(judges):
        notes.add("", "all", judge.measure(fakes[draw]))
        if made is not None:
            notes.add("", "latents", judges[0].values(fakes[draw]))
            notes.add("", "splits", judge.values(fakes[0]))
    for name, fits in networks.items():
        _drawn_together(fits, splits, fakes, halved, functools.partial(notes.add, f"{name}: "))
        if made is not None:
            _drawn_apart(fits, splits, fakes, functools.partial(notes.add, f"{name}: "))
    return notes.found


class _Notes:
    def __init__(self) -> None:
        self.found: Values = {}

    def add(self, prefix: str, kind: str, values: Mapping[str, float | Measured]) -> None:
        for name, value in values.items():
            kept = list(value) if isinstance(value, Measured) else value
            self.found.setdefault(prefix + name, {}).setdefault(kind, []).append(kept)


def _drawn_together(
    fits: Sequence[Remembered],
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    fakes: Sequence[np.ndarray],
    halved: Sequence[Halves],
    note: Callable,
) -> None:
    """Scores as on a card (means over the fits), each with its own samples and real images."""
    for made, (real, other) in zip(fakes, splits, strict=True):
        over = [OverFeatures(one(real), one(other), halved).measure(one(made)) for one in fits]
        note("all", over_fits(over))


def _drawn_apart(
    fits: Sequence[Remembered],
    splits: Sequence[tuple[np.ndarray, np.ndarray]],
    fakes: Sequence[np.ndarray],
    note: Callable,
) -> None:
    """Scores over a single fit, where only the samples, only the real images, or only the fit vary."""
    first, (real, other) = fits[0], splits[0]
    judge = OverFeatures(first(real), first(other), ())
    for made, split in zip(fakes, splits, strict=True):
        note("latents", judge.values(first(made)))
        note("splits", OverFeatures(first(split[0]), first(split[1]), ()).values(first(fakes[0])))
    for network in fits if len(fits) > 1 else ():
        note("fits", OverFeatures(network(real), network(other), ()).values(network(fakes[0])))


def summary(values: Mapping[str, list]) -> dict[str, float]:
    """Deviations and the worth of the interval, of one score, from what `spread_at` found.

    Returns:
        `mean`, `floor`; `latents`, `splits`, `fits`, `all`: standard deviations; `range`: the half width of the range
        that holds 95% of the draws of "all" (1.96 deviations); `interval` and `margin`: the means of a card's;
        `interval_ratio`: interval / range; `margin_ratio`: margin / 1.96 deviations of score - floor; `told`: share of
        the draws in which the score is told from its floor.
    """
    drawn = [Measured(*one) for one in values["all"]]
    of_fits = _deviation(values.get("fits", ())) / max(len(values.get("fits", ())), 1) ** 0.5
    together = float(np.hypot(_deviation([one.value for one in drawn]), of_fits))
    apart = float(np.hypot(_deviation([one.value - one.floor for one in drawn]), of_fits))
    found = {
        "mean": float(np.mean([one.value for one in drawn])),
        "floor": float(np.mean([one.floor for one in drawn])),
        **{kind: _deviation(values[kind]) for kind in ("latents", "splits", "fits") if kind in values},
        "all": together,
        "range": 1.96 * together,
        "interval": float(np.mean([one.interval for one in drawn])),
        "margin": float(np.mean([one.margin for one in drawn])),
        "told": float(np.mean([one.told for one in drawn])),
    }
    for key, deviation in (("interval", together), ("margin", apart)):
        if found[key] > 0 and deviation > 0:
            found[f"{key}_ratio"] = found[key] / (1.96 * deviation)
    return found


def _deviation(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
