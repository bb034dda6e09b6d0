"""What is kept of the real images that a GAN was trained on: a network that was fitted to them, and their features.

With it an export is judged where the images themselves are not available, as for the zoo's published weights.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ganzoo import progress
from ganzoo.data.images.duplicates import without_twins
from ganzoo.errors import EvaluationError, GanzooError
from ganzoo.files.cache import cache_dir
from ganzoo.files.reading import read_json
from ganzoo.files.tensors import read_safetensors, write_arrays
from ganzoo.files.writing import keep, write_json
from ganzoo.metrics import variants
from ganzoo.metrics.arrays import check_images, content_hash
from ganzoo.metrics.frechet import frechet_distance
from ganzoo.metrics.neighbours import nearest, nearest_of_variants, nearest_others
from ganzoo.metrics.networks.base import FeatureNetwork
from ganzoo.metrics.networks.features import extract
from ganzoo.metrics.networks.self_supervised import fitted, network_of
from ganzoo.metrics.scorecard import halves

FILE = "reals.safetensors"
_CLOSE = 0.1  # of the reals, the share that is nearer to another than "close" means
_HALF_PRECISION = 2.0**-10  # of the features' norm: how far equal features may be apart in float16
_BATCH = 64  # images whose variants are compared at a time
_MOST, _LEAST, _PIXELS = 1_000, 256, 2**21  # images that are compared in all variants: 1,000 of 32x32, 512 of 64x64


@dataclass(frozen=True)
class Closest:
    """For each sample the nearest real image.

    Attributes:
        distances: to it, (M,).
        indices: of it, (M,).
        close: (K,), K <= M: whether each of the first K samples, or one of its variants, is close to a real image. So
            many are judged; comparing all in every variant would take long.
    """

    distances: np.ndarray
    indices: np.ndarray
    close: np.ndarray

    @property
    def share(self) -> float:
        """The share of close ones."""
        return float(np.mean(self.close))


@dataclass(frozen=True)
class RealSet:
    """Features of real images over the self-supervised network that was fitted to them.

    Attributes:
        network: the network.
        arrays: what it is made of, as `ganzoo.metrics.networks.self_supervised.fitted` gives them.
        features: `(N, dim)`.
        size: height and width of the images.
        images: uint8 `(N, height, width, channels)`, or None where only their features are known.
        kept_limit: see `limit`; None: it is taken from the images, or there is none.
    """

    network: FeatureNetwork
    arrays: Mapping[str, np.ndarray] = field(repr=False)
    features: np.ndarray = field(repr=False)
    size: tuple[int, int]
    images: np.ndarray | None = field(default=None, repr=False)
    kept_limit: float | None = None

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

    @cached_property
    def limit(self) -> float:
        """The distance at which a sample is close to a real image: a tenth of the real images are, to another one.

        It is the quantile over up to 1,000 real images of the distance to the nearest *other* real image, the smallest
        over the image's variants. Equal images, and those that look equal, are no others. Where neither a limit was
        kept nor images are known, it is taken without variants.

        Raises:
            EvaluationError: all real images are alike, so that no limit tells copies from other samples.
        """
        if self.kept_limit is not None:
            limit = self.kept_limit
        elif self.images is not None:
            limit = self._limit_of_images()
        else:
            limit = _quantile(nearest_others(self.features, self.tolerance))
        if not limit > self.tolerance:
            raise EvaluationError(
                "Copies cannot be distinguished from other samples: the real images are all alike, so that "
                f"the distance between different ones is 0. Expected: images that differ. "
                f"Received: {len(self.features)} images. Check the data: `ganzoo data DATA`."
            )
        return limit

    @property
    def with_variants(self) -> bool:
        """Whether samples are compared in all variants: the limit must have been taken in the same way."""
        return self.kept_limit is not None or self.images is not None

    @cached_property
    def tolerance(self) -> float:
        """Features that are closer than this are equal in half precision."""
        return _HALF_PRECISION * float(np.sqrt(np.mean(np.sum(np.square(self.features, dtype=np.float64), axis=1))))

    def closest(self, samples: np.ndarray, features: np.ndarray | None = None) -> Closest:
        """The nearest real image of each of the uint8 samples (M, height, width, channels), and which are close.

        Close is no farther than nine tenths of the real images are from the nearest other one. Of samples that are as
        new as a real image a tenth is close; of copies all are, and of shifted (by up to 2 pixels), mirrored or
        slightly blurred copies nearly all.

        Args:
            samples: what is judged.
            features: theirs, where they are known.

        Raises:
            EvaluationError: the samples have another size, or see `limit`.
        """
        distances, indices = nearest(self.features, self.features_of(samples) if features is None else features)
        if not self.with_variants:
            return Closest(distances, indices, distances <= self.limit + self.tolerance)
        judged = judged_count(len(samples), self.size)
        found = self._nearest_of_variants(samples[:judged], self.features)
        distances[:judged], indices[:judged] = found
        return Closest(distances, indices, found[0] <= self.limit + self.tolerance)

    def _nearest_of_variants(
        self, images: np.ndarray, references: np.ndarray, but: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Distances and indices of the nearest of `references`, but the images' own features `but`, over variants."""
        distances, indices = np.empty(len(images)), np.empty(len(images), np.int64)
        starts = range(0, len(images), _BATCH)
        for start in progress.each(starts, "Comparing with the training images", len(starts)):
            rows = slice(start, min(start + _BATCH, len(images)))
            made = list(variants.variants(images[rows]))
            with progress.shown(False):
                features = self.features_of(np.concatenate(made)).reshape(len(made), -1, self.network.dim)
            own = None if but is None else but[rows]
            distances[rows], indices[rows] = nearest_of_variants(references, features, own, self.tolerance)
        return distances, indices

    def _limit_of_images(self) -> float:
        """The limit, from the cache where it is there: it depends on the images and the network alone."""
        key = f"{variants.VERSION}|{_MOST, _LEAST, _PIXELS}|{self.network.version}|{content_hash(self.images)}"
        path = cache_dir("limits") / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"
        if path.is_file():
            try:
                return float(read_json(path)["limit"])
            except (GanzooError, KeyError, TypeError, ValueError):
                pass  # damaged: it is taken again
        kept = without_twins(self.images)
        chosen = kept[np.random.default_rng(0).permutation(len(kept))[: judged_count(len(kept), self.size)]]
        distances, _ = self._nearest_of_variants(self.images[chosen], self.features[kept], self.features[chosen])
        limit = _quantile(distances)
        keep(path, lambda: write_json(path, {"limit": limit}, indent=None))
        return limit


def judged_count(count: int, size: tuple[int, int]) -> int:
    """How many of `count` images of this size are compared in all variants."""
    return min(count, max(_LEAST, min(_MOST, _PIXELS // (size[0] * size[1]))))


def _quantile(distances: np.ndarray) -> float:
    """The limit that a tenth of the distances is below; 0 where none is finite."""
    finite = distances[np.isfinite(distances)]
    return float(np.quantile(finite, _CLOSE)) if len(finite) else 0.0


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
    """Write `reals.safetensors` into a preset's folder: the network and the features in half precision, no images.

    The limit is written with them (`limit`, and `limit_version`: that of the variants it was taken with).
    """
    half = {
        name: array.astype(np.float16) if array.dtype == np.float32 else array for name, array in reals.arrays.items()
    }
    content = half | {"features": reals.features.astype(np.float16), "size": np.array(reals.size, np.int32)}
    if reals.with_variants:
        content |= {"limit": np.array([reals.limit]), "limit_version": np.array([variants.VERSION], np.int32)}
    content = {name: np.ascontiguousarray(array) for name, array in content.items()}
    return write_arrays(Path(folder) / FILE, content)


def load(folder: Path) -> RealSet | None:
    """What `save` wrote, without images; None where there is nothing.

    A file without a limit, or with that of other variants, is read as well: samples are then judged without variants.

    Raises:
        WeightsError: the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    content = read_safetensors(path)
    arrays = {name: array.astype(np.float32) if array.dtype == np.float16 else array for name, array in content.items()}
    features, size = arrays.pop("features"), tuple(int(side) for side in arrays.pop("size"))
    limit, version = arrays.pop("limit", None), arrays.pop("limit_version", None)
    known = limit is not None and version is not None and int(version[0]) == variants.VERSION
    return RealSet(network_of(arrays, *size), arrays, features, size, kept_limit=float(limit[0]) if known else None)
