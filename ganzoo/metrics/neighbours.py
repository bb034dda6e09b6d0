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
_ROUNDING = 1e-6  # of the largest norm: the distance of equal features that |x|^2 + |y|^2 - 2 x.y may give


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
    return nearest_of_variants(references, np.asarray(queries)[None])


def nearest_of_variants(
    references: np.ndarray, queries: np.ndarray, but: np.ndarray | None = None, tolerance: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """As `nearest`, of queries that have several variants (V, M, D) each: the nearest to any variant counts.

    Args:
        references: features (N, D).
        queries: features (V, M, D).
        but: (M, D); references that lie within `tolerance` of a query's row here are passed over. A query that has no
            other reference gets an infinite distance.
        tolerance: see `but`; at least what rounding may add to the distance of equal features.

    Returns:
        Distances and indices, both (M,).

    Raises:
        EvaluationError: the arrays do not fit.
    """
    versions, count, width = queries.shape
    references, queries = check_features(references, queries.reshape(-1, width))
    centre = references.mean(axis=0)  # keeps the digits that |x|^2 + |y|^2 - 2 x.y would lose far from the origin
    references, queries = references - centre, (queries - centre).reshape(versions, count, width)
    tolerance = max(tolerance, _ROUNDING * float(np.linalg.norm(references, axis=1).max()))
    single, squares = references.astype(np.float32), np.einsum("nd,nd->n", references, references).astype(np.float32)
    distances, indices = np.full(count, np.inf), np.zeros(count, np.int64)
    for start in range(0, count, _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, count))
        passed_over = None
        if but is not None:
            passed_over = next(_blocks(but[rows] - centre, references))[1] <= tolerance**2
        for version in queries:
            products = squares - 2.0 * version[rows].astype(np.float32) @ single.T  # |y|^2 - 2 x.y: the order is enough
            if passed_over is not None:
                products[passed_over] = np.inf
            index = products.argmin(axis=1)
            found = np.linalg.norm(version[rows] - references[index], axis=1)
            found[np.isinf(products[np.arange(len(rows)), index])] = np.inf
            nearer = found < distances[rows]
            distances[rows[nearer]], indices[rows[nearer]] = found[nearer], index[nearer]
    return distances, indices


def neighbour_distances(features: np.ndarray) -> np.ndarray:
    """For each of `features` (N, D), N >= 2, the distance to its nearest neighbour (N,): 0 where one is equal."""
    centred, _ = _centred(features, features, 1)
    return np.sqrt(_squared_radii(centred, 1))


def nearest_others(features: np.ndarray, tolerance: float = 0.0) -> np.ndarray:
    """For each of `features` (N, D), N >= 2, the distance to the nearest other one (N,).

    Features within `tolerance` of each other are the same: they are no others. Where all are, it is infinite.
    """
    features, _ = check_features(features, features)
    if len(features) < 2:
        raise EvaluationError("A nearest other sample needs two samples or more. Received: 1. Give more samples.")
    return nearest_of_variants(features, features[None], features, tolerance)[0]


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
