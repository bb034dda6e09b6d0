"""What is kept of the real images that a GAN was trained on: a network that was fitted to them, and their features.

With it an export is judged where the images themselves are not available, as for the zoo's published weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ganzoo.cache import read_safetensors, write_arrays
from ganzoo.errors import EvaluationError
from ganzoo.metrics.arrays import check_images
from ganzoo.metrics.feature_networks import FeatureNetwork
from ganzoo.metrics.features import extract
from ganzoo.metrics.frechet import frechet_distance
from ganzoo.metrics.neighbours import nearest, nearest_others
from ganzoo.metrics.scorecard import halves
from ganzoo.metrics.self_supervised import fitted, network_of

FILE = "reals.safetensors"
_CLOSE = 0.1  # of the reals, the share that is nearer to another than "close" means


@dataclass(frozen=True)
class RealSet:
    """Features of real images over the self-supervised network that was fitted to them.

    Attributes:
        network: the network.
        arrays: what it is made of, as `ganzoo.metrics.self_supervised.fitted` gives them.
        features: `(N, dim)`.
        size: height and width of the images.
        images: uint8 `(N, height, width, channels)`, or None where only their features are known.
    """

    network: FeatureNetwork
    arrays: Mapping[str, np.ndarray] = field(repr=False)
    features: np.ndarray = field(repr=False)
    size: tuple[int, int]
    images: np.ndarray | None = field(default=None, repr=False)

    def features_of(self, samples: np.ndarray) -> np.ndarray:
        """Features `(M, dim)` of uint8 images of the same size; raises `EvaluationError` where it is another."""
        if samples.shape[1:3] != self.size:
            raise EvaluationError(
                f"The features of the real images have the size {self.size}, the samples {samples.shape[1:3]}."
            )
        return extract(self.network, samples)

    def fid(self, samples: np.ndarray) -> float:
        """The Frechet distance of samples, uint8 or their features, to the reals."""
        return frechet_distance(self.features, samples if samples.ndim == 2 else self.features_of(samples))

    def closest(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """For samples' features: distances to their nearest reals, these reals' indices, and the share of close ones.

        Close is nearer than nine tenths of the reals are to the nearest other real: of samples that are as new as a
        real one a tenth is, of copies all are.
        """
        distances, indices = nearest(self.features, features)
        limit = float(np.quantile(nearest_others(self.features), _CLOSE))
        return distances, indices, float(np.mean(distances < limit))


def real_set(images: np.ndarray, most: int | None = None) -> RealSet:
    """The set of uint8 images `(N, height, width, channels)`, N >= 8.

    The network is that of the scorecards (`ganzoo.metrics.scorecard.halves`): fitted to half of the images, once, and
    then read from the cache.

    Args:
        images: all real images.
        most: keep the features of so many of them at most, a fixed random choice.
    """
    images = check_images(images, "real")
    network, arrays = fitted(halves(images)[1])
    if most is not None and most < len(images):
        images = images[np.random.default_rng(0).permutation(len(images))[:most]]
    return RealSet(network, arrays, extract(network, images, cached=True), tuple(images.shape[1:3]), images)


def save(reals: RealSet, folder: Path) -> Path:
    """Write `reals.safetensors` into a preset's folder: the network and the features in half precision, no images."""
    half = {
        name: array.astype(np.float16) if array.dtype == np.float32 else array for name, array in reals.arrays.items()
    }
    content = half | {"features": reals.features.astype(np.float16), "size": np.array(reals.size, np.int32)}
    content = {name: np.ascontiguousarray(array) for name, array in content.items()}
    return write_arrays(Path(folder) / FILE, content)


def load(folder: Path) -> RealSet | None:
    """What `save` wrote, without images; None where there is nothing.

    Raises:
        WeightsError: the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    content = read_safetensors(path)
    arrays = {name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in content.items()}
    features, size = arrays.pop("features"), tuple(int(side) for side in arrays.pop("size"))
    return RealSet(network_of(arrays, *size), arrays, features, size)
