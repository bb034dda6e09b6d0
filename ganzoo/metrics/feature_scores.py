"""All scores over the features of one network: FID, KID, precision, recall, density and coverage."""

from collections.abc import Sequence

import numpy as np

from ganzoo.metrics.card import BEST
from ganzoo.metrics.frechet import frechet_distance
from ganzoo.metrics.kernel import kernel_distance
from ganzoo.metrics.neighbours import density_coverage, precision_recall

PRECISION_NEIGHBOURS = 3
DENSITY_NEIGHBOURS = 5
NEIGHBOURS_FROM = 250  # compared samples; fewer give good scores to bad samples: tests/benchmarks/neighbour_samples.md
_NEIGHBOUR_SCORES = ("precision", "recall", "density", "coverage")


def feature_scores(real: np.ndarray, fake: np.ndarray) -> tuple[dict[str, float | None], dict[str, str]]:
    """The scores of features (N, D), None where the samples are too few for one, and why."""
    count, dim = real.shape
    scores, reasons = all_scores(real, fake), {}
    if scores["fid"] is None:
        reasons["fid"] = f"no FID: {count} samples give {dim} features a singular covariance; it needs more than {dim}"
    if count < NEIGHBOURS_FROM:
        reason = (
            f"no {', '.join(_NEIGHBOUR_SCORES[:-1])} and {_NEIGHBOUR_SCORES[-1]}: {count} samples on each side are too "
            f"few, at which bad samples score as well as good ones; these scores need {NEIGHBOURS_FROM} "
            f"({2 * NEIGHBOURS_FROM} real images)"
        )
        scores |= dict.fromkeys(_NEIGHBOUR_SCORES)
        reasons |= dict.fromkeys(_NEIGHBOUR_SCORES, reason)
    return scores, reasons


def all_scores(real: np.ndarray, fake: np.ndarray) -> dict[str, float | None]:
    """All scores; the Frechet distance is None where there are too few samples for it."""
    known = [name for name in BEST if name != "fid" or len(real) > real.shape[1]]
    return dict.fromkeys(BEST) | named_scores(real, fake, known)


def named_scores(real: np.ndarray, fake: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """The scores called `names`, whatever the number of samples."""
    found = {}
    if "fid" in names:
        found["fid"] = frechet_distance(real, fake)
    if "kid" in names:
        found["kid"] = kernel_distance(real, fake)
    if {"precision", "recall"} & set(names):
        found |= precision_recall(real, fake, PRECISION_NEIGHBOURS)
    if {"density", "coverage"} & set(names):
        found |= density_coverage(real, fake, DENSITY_NEIGHBOURS)
    return {name: found[name] for name in names}
