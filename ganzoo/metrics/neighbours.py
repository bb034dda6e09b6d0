"""Scores from nearest neighbours: precision and recall, density and coverage.

The ball of a sample reaches to its k-th nearest neighbour in its own set.
precision = share of fakes inside the ball of any real;       recall = share of reals inside the ball of any fake
density = mean over fakes of (balls of reals around it) / k;  coverage = share of reals whose ball holds a fake

Papers: Kynkaanniemi et al. 2019, "Improved precision and recall metric for assessing generative models",
https://arxiv.org/abs/1904.06991; Naeem et al. 2020, "Reliable fidelity and diversity metrics for generative models",
https://arxiv.org/abs/2002.09797.
"""

import numpy as np

from ganzoo.errors import EvaluationError
from ganzoo.metrics.arrays import check_features

_BLOCK = 1024  # rows of the distance matrix held at a time


def precision_recall(real: np.ndarray, fake: np.ndarray, neighbours: int = 3) -> dict[str, float]:
    """`{"precision": p, "recall": r}`, both in [0, 1] and best at 1, of features `real` (N, D) and `fake` (M, D).

    Raises:
        EvaluationError: the arrays do not fit, or a set has no `neighbours` + 1 samples.
    """
    real, fake = _centred(real, fake, neighbours)
    real_radius, fake_radius = _squared_radii(real, neighbours), _squared_radii(fake, neighbours)
    fake_inside = np.zeros(len(fake), bool)
    recalled = 0
    for start, distances in _blocks(real, fake):
        fake_inside |= (distances <= real_radius[start : start + len(distances), None]).any(axis=0)
        recalled += int((distances <= fake_radius[None, :]).any(axis=1).sum())
    return {"precision": float(fake_inside.mean()), "recall": recalled / len(real)}


def density_coverage(real: np.ndarray, fake: np.ndarray, neighbours: int = 5) -> dict[str, float]:
    """`{"density": d, "coverage": c}` of features `real` (N, D) and `fake` (M, D).

    Coverage is in [0, 1], best at 1. Density is at least 0 and about 1 where the sets agree; it may exceed 1.

    Raises:
        EvaluationError: the arrays do not fit, or a set has no `neighbours` + 1 samples.
    """
    real, fake = _centred(real, fake, neighbours)
    real_radius = _squared_radii(real, neighbours)
    inside = covered = 0
    for start, distances in _blocks(real, fake):
        within = distances <= real_radius[start : start + len(distances), None]
        inside += int(within.sum())
        covered += int(within.any(axis=1).sum())
    return {"density": inside / (neighbours * len(fake)), "coverage": covered / len(real)}


def nearest(references: np.ndarray, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each of `queries` (M, D) the distance to, and the index of, the nearest of `references` (N, D): both (M,).

    Raises:
        EvaluationError: the arrays do not fit.
    """
    references, queries = check_features(references, queries)
    centre = references.mean(axis=0)
    distances, indices = np.empty(len(queries)), np.empty(len(queries), np.int64)
    for start, squares in _blocks(queries - centre, references - centre):
        rows = slice(start, start + len(squares))
        indices[rows] = squares.argmin(axis=1)
        distances[rows] = np.sqrt(squares.min(axis=1))
    return distances, indices


def nearest_others(features: np.ndarray) -> np.ndarray:
    """For each of `features` (N, D), N >= 2, the distance to the nearest other one (N,)."""
    centred, _ = _centred(features, features, 1)
    return np.sqrt(_squared_radii(centred, 1))


def _centred(real: np.ndarray, fake: np.ndarray, neighbours: int) -> tuple[np.ndarray, np.ndarray]:
    real, fake = check_features(real, fake)
    if min(len(real), len(fake)) <= neighbours:
        raise EvaluationError(
            f"{neighbours} nearest neighbours need at least {neighbours + 1} samples of each kind. "
            f"Received: {len(real)} real, {len(fake)} fake. Give more samples, or fewer neighbours."
        )
    centre = real.mean(axis=0)  # keeps the digits that |x|^2 + |y|^2 - 2 x.y would lose far from the origin
    return real - centre, fake - centre


def _blocks(x: np.ndarray, y: np.ndarray):
    """Yield (first row, squared distances of some rows of `x` to all of `y`)."""
    y_squares = np.einsum("nd,nd->n", y, y)
    for start in range(0, len(x), _BLOCK):
        rows = x[start : start + _BLOCK]
        squares = np.einsum("nd,nd->n", rows, rows)[:, None] + y_squares - 2.0 * rows @ y.T
        yield start, np.maximum(squares, 0.0)


def _squared_radii(features: np.ndarray, neighbours: int) -> np.ndarray:
    radii = np.empty(len(features))
    for start, distances in _blocks(features, features):
        rows = np.arange(len(distances))
        distances[rows, start + rows] = np.inf  # a sample is not its own neighbour
        radii[start : start + len(distances)] = np.partition(distances, neighbours - 1, axis=1)[:, neighbours - 1]
    return radii
