"""Repeats among samples, and marks where a set is degenerate: scores of nearness then say nothing.

One good image, repeated, has a precision of 1, for it lies among the real images. So have a mean image, white and fog
in some features. Density and coverage are misled in the same way. What gives such sets away is recall (balls around
samples that lie close together hold no real image), the spread of their features, and repeats.
"""

from collections.abc import Mapping

import numpy as np

from ganzoo.metrics.card import Repeats
from ganzoo.metrics.neighbours import neighbour_distances

_CLOSE = 0.01  # of distinct real images, the share that is nearer to another one than "near-identical" means
_EQUAL = 1e-4  # of the deviation of real features: features this close are equal, except for rounding
_HIGH = 0.5  # precision, density or coverage that need an explanation where the samples are degenerate
_LOW_RECALL = 0.1  # real images had 0.5 to 0.9, coloured blobs 0.0, with a precision of up to 1
_LOW_SHARE = 0.5  # of the floor's recall, and of the spread of real images
_REPEATED = 0.1  # share of near-identical samples, in addition to that of real images


def identical(images: np.ndarray) -> int:
    """How many of the images (N x H x W x C) equal an earlier one, byte for byte."""
    return len(images) - len({np.ascontiguousarray(image).tobytes() for image in images})


def near_limit(real: np.ndarray) -> float | None:
    """The distance below which two samples' features count as near-identical.

    It is the 1% quantile of the distances of real features (N, D) to their nearest other one, after equal features were
    dropped: where many images have a twin, the quantile would be 0. None where all are equal.
    """
    real = np.asarray(real, np.float64)
    equal = max(_EQUAL * float(np.sqrt(real.var(axis=0).sum())), 1e-12)
    distinct = np.unique(np.round(real / equal), axis=0) * equal
    if len(distinct) < 2:
        return None
    distances = neighbour_distances(distinct)
    return float(np.quantile(distances[distances > 2 * equal], _CLOSE)) if np.any(distances > 2 * equal) else None


def near_identical(features: np.ndarray, limit: float | None) -> int | None:
    """How many of the samples' features (N, D) are nearer to another one's than `limit`."""
    return None if limit is None else int(np.sum(neighbour_distances(features) < limit))


def spread(real: np.ndarray, fake: np.ndarray) -> float:
    """Variance of the fake features, all axes added, divided by that of the real ones; 1 is best, 0: all are alike."""
    total = float(np.var(real, axis=0, dtype=np.float64).sum())
    return float(np.var(fake, axis=0, dtype=np.float64).sum()) / max(total, 1e-12)


def marks(
    scores: Mapping[str, float | None], floor: Mapping[str, float | None], repeats: Repeats, count: int
) -> tuple[str, ...]:
    """Why precision, density and coverage flatter a degenerate set of `count` samples; empty where nothing says so.

    The four scores of neighbours may be None in `scores` and `floor` (that of real images).
    """
    signs = []
    high = [name for name in ("precision", "density", "coverage") if (scores.get(name) or 0.0) > _HIGH]
    recall, usual = scores.get("recall"), floor.get("recall") or 0.0
    if recall is not None and recall < max(_LOW_RECALL, _LOW_SHARE * usual):
        signs.append(
            f"with a recall of {recall:.2f} (real images: {usual:.2f}) the samples lie in a small part of the real "
            "images' range, where simple or blurred images lie, too"
        )
    if repeats.spread < _LOW_SHARE:
        signs.append(f"the features of the samples vary {repeats.spread:.2f} times as much as those of real images")
    near = None
    if repeats.near is not None and repeats.near - repeats.near_reals > _REPEATED * count:
        near = (
            f"{repeats.near} of {count} samples are near-identical to another one (real images: {repeats.near_reals})"
        )
    if high and signs:
        flattered = "precision, density and coverage" if "coverage" in high else "precision and density"
        return (f"flattering {flattered}: " + "; ".join([*signs, *([near] if near else [])]),)
    return (f"repeats: {near}",) if near else ()
