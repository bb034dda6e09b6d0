"""The Frechet distance of two sets of features, each taken as a Gaussian.

FID = ||m1 - m2||^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2))

Paper: Heusel et al. 2017, "GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
https://arxiv.org/abs/1706.08500. The formula for Gaussians: Dowson and Landau 1982.
"""

import numpy as np

from ganzoo.errors import EvaluationError
from ganzoo.metrics.arrays import check_features

_GRAM_BELOW = 3.0  # samples of both sets together, for each feature


def frechet_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """The Frechet distance of features `real` (N, D) and `fake` (M, D), both at least two samples.

    Covariances are unbiased (divided by N - 1). The unit is that of the features, squared; 0 is best. The estimate is
    biased upwards at small N, so compare only distances of the same N, and none where N <= D.

    Raises:
        EvaluationError: the arrays do not fit, or one has fewer than two samples.
    """
    real, fake = check_features(real, fake)
    if min(len(real), len(fake)) < 2:
        raise EvaluationError(
            f"A covariance needs at least 2 samples of each kind. Received: {len(real)} real, {len(fake)} fake."
        )
    if len(real) + len(fake) <= _GRAM_BELOW * real.shape[1]:
        return _frechet_of_few(real, fake)
    return frechet_from_statistics(real.mean(axis=0), _covariance(real), fake.mean(axis=0), _covariance(fake))


def frechet_from_statistics(mean1: np.ndarray, cov1: np.ndarray, mean2: np.ndarray, cov2: np.ndarray) -> float:
    """The Frechet distance of two Gaussians with means (D,) and covariances (D, D).

    trace((C1 C2)^(1/2)) is the sum of the singular values of C1^(1/2) C2^(1/2). The roots come from the eigenvalues of
    the symmetric C1 and C2, so singular covariances need no offset and no complex number arises.
    """
    mean1, mean2 = np.asarray(mean1, np.float64), np.asarray(mean2, np.float64)
    cov1, cov2 = np.atleast_2d(np.asarray(cov1, np.float64)), np.atleast_2d(np.asarray(cov2, np.float64))
    if mean1.shape != mean2.shape or not cov1.shape == cov2.shape == (mean1.size, mean1.size):
        raise EvaluationError(
            "Statistics must be means (D,) and covariances (D, D) of the same D. "
            f"Received: means {mean1.shape}, {mean2.shape}, covariances {cov1.shape}, {cov2.shape}."
        )
    from scipy import linalg

    trace_of_root = linalg.svdvals(_symmetric_root(cov1) @ _symmetric_root(cov2)).sum()
    difference = mean1 - mean2
    distance = difference @ difference + np.trace(cov1) + np.trace(cov2) - 2.0 * trace_of_root
    return max(float(distance), 0.0)  # rounding can leave -1e-12


def _frechet_of_few(real: np.ndarray, fake: np.ndarray) -> float:
    """The same distance without a D x D matrix, which is many times faster where there are few samples.

    With centred features X (N, D) and Y (M, D), trace((C1 C2)^(1/2)) is the sum of the singular values of X Y^T,
    divided by sqrt((N - 1) (M - 1)).
    """
    from scipy import linalg

    means = real.mean(axis=0), fake.mean(axis=0)
    one, other = (features - mean for features, mean in zip((real, fake), means, strict=True))
    trace_of_root = linalg.svdvals(one @ other.T).sum() / np.sqrt((len(one) - 1) * (len(other) - 1))
    traces = sum(float(np.sum(np.square(centred))) / (len(centred) - 1) for centred in (one, other))
    difference = means[0] - means[1]
    return max(float(difference @ difference + traces - 2.0 * trace_of_root), 0.0)


def _covariance(features: np.ndarray) -> np.ndarray:
    centred = features - features.mean(axis=0)
    return centred.T @ centred / (len(features) - 1)


def _symmetric_root(covariance: np.ndarray) -> np.ndarray:
    from scipy import linalg

    values, vectors = linalg.eigh((covariance + covariance.T) / 2.0)
    return (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T
