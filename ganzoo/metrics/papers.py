"""FID and KID as papers give them: over Inception-v3, under the protocols of clean-fid and torch-fidelity.

Unlike a scorecard, all samples are compared with all real images, the ones that the generator was trained on, too, and
there is no floor. FID: means and unbiased covariances over all features. KID: the mean over 100 random subsets of 1,000
of each kind (fewer where there are fewer images), with the kernel (x y / 2048 + 1)^3.

torch-fidelity draws the subsets from NumPy's `RandomState(2020)`, which is done here for both; clean-fid draws them
from NumPy's global generator, so that above 1,000 images its KID is another random draw.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ganzoo.metrics.card import PaperScores
from ganzoo.metrics.frechet import frechet_distance
from ganzoo.metrics.kernel import kernel_distance
from ganzoo.metrics.marks import flattering
from ganzoo.metrics.networks.base import FeatureNetwork
from ganzoo.metrics.networks.feature_networks import feature_network
from ganzoo.metrics.networks.features import extract

PROTOCOLS = {"clean-fid": "inception_clean_fid", "torch-fidelity": "inception_torch_fidelity"}
_SUBSETS, _SUBSET, _SEED = 100, 1_000, 2020


def scores_as_in_papers(
    real: np.ndarray, fake: np.ndarray, seen_by_discriminator: Sequence[Mapping[str, str]] = ()
) -> tuple[PaperScores, ...]:
    """Scores under both protocols.

    Args:
        real: uint8 N x H x W x 1 or 3, N >= 2; grey images are repeated to three channels.
        fake: generated images, uint8 M x H x W x C, M >= 2.
        seen_by_discriminator: as for `ganzoo.metrics.scorecard.scorecard`.

    Raises:
        WeightsError: Inception-v3 is not on this machine and cannot be fetched.
    """
    found = []
    for protocol, name in PROTOCOLS.items():
        network = feature_network(name)
        fid, kid = distances(network, real, fake)
        marks = flattering(network, seen_by_discriminator)
        found.append(PaperScores(protocol=protocol, fid=fid, kid=kid, reals=len(real), samples=len(fake), marks=marks))
    return tuple(found)


def distances(network: FeatureNetwork, real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """FID and KID of two sets of images over one network, as the packages calculate them."""
    of_reals, of_fakes = extract(network, real, cached=True), extract(network, fake)
    return frechet_distance(of_reals, of_fakes), subset_kid(of_reals, of_fakes)


def subset_kid(real: np.ndarray, fake: np.ndarray) -> float:
    """The mean kernel distance over random subsets of features (N, D) and (M, D)."""
    real, fake = np.asarray(real, np.float64), np.asarray(fake, np.float64)
    size = min(len(real), len(fake), _SUBSET)
    if size == len(real) == len(fake):  # every subset is the whole
        return kernel_distance(real, fake)
    draw = np.random.RandomState(_SEED)
    subsets = (
        (real[draw.choice(len(real), size, replace=False)], fake[draw.choice(len(fake), size, replace=False)])
        for _ in range(_SUBSETS)
    )
    return float(np.mean([kernel_distance(one, other) for one, other in subsets]))
