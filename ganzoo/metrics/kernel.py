"""The kernel distance (KID): an unbiased estimate of the squared maximum mean discrepancy.

k(x, y) = (x . y / D + 1)^3
KID = mean over i != j of k(r_i, r_j) + mean over i != j of k(f_i, f_j) - 2 mean over i, j of k(r_i, f_j)

Paper: Binkowski et al. 2018, "Demystifying MMD GANs", https://arxiv.org/abs/1801.01401.
"""

import numpy as np

from ganzoo.errors import EvaluationError
from ganzoo.metrics.arrays import check_features

_BLOCK = 1024  # rows of the kernel matrix held at a time


def kernel_distance(real: np.ndarray, fake: np.ndarray) -> float:
    """KID of features `real` (N, D) and `fake` (M, D), over the whole sets rather than over random subsets.

    Unbiased at any sample count, so it may be a little below zero where the sets agree. Not multiplied by 1000.

    Raises:
        EvaluationError: the arrays do not fit, or one has fewer than two samples.
    """
    real, fake = check_features(real, fake)
    if min(len(real), len(fake)) < 2:
        raise EvaluationError(f"KID needs at least 2 samples of each kind. Received: {len(real)} and {len(fake)}.")
    within_real = (_kernel_sum(real, real) - _kernel_of_itself(real).sum()) / (len(real) * (len(real) - 1))
    within_fake = (_kernel_sum(fake, fake) - _kernel_of_itself(fake).sum()) / (len(fake) * (len(fake) - 1))
    across = _kernel_sum(real, fake) / (len(real) * len(fake))
    return float(within_real + within_fake - 2.0 * across)


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    blocks = (x[start : start + _BLOCK] for start in range(0, len(x), _BLOCK))
    return float(sum(np.sum((block @ y.T / x.shape[1] + 1.0) ** 3) for block in blocks))


def _kernel_of_itself(x: np.ndarray) -> np.ndarray:
    return (np.einsum("nd,nd->n", x, x) / x.shape[1] + 1.0) ** 3
