"""The same real images as a judge of many sets of samples: what depends on the real images alone is taken once.

The scores are those of a scorecard (`ganzoo.metrics.scorecard`), with its floors, margins and intervals. The sliced
Wasserstein distance is over fewer directions and patches, because its protocol takes long.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ganzoo.metrics import diversity, margins
from ganzoo.metrics.card import BEST
from ganzoo.metrics.feature_scores import NEIGHBOURS_FROM, named_scores
from ganzoo.metrics.image_scores import Prepared, prepared, prepared_scores
from ganzoo.metrics.networks.base import FeatureNetwork
from ganzoo.metrics.networks.features import extract
from ganzoo.metrics.real_set import RealSet
from ganzoo.metrics.sensitivity import Measured

SPREAD, NEAR = "spread of the features", "near-identical"
IDENTICAL, CLOSE = "identical samples", "close to training images"
_IMAGE_SCORES = {
    "sliced, with contrast": "lower",
    "sliced, without contrast": "lower",
    "variance ratio": "1",
    "lattice power, period 2": "1",
    "lattice power, period 4": "1",
    "lattice power, period 8": "1",
    "unevenness, columns": "lower",
    "unevenness, rows": "lower",
}
_OVER_FEATURES = {**BEST, SPREAD: "1", NEAR: "lower"}
_REPEATED = 0.1  # share of near-identical samples, in addition to that of real images, which a card marks


def best_of(score: str) -> str:
    """Which values of a score are best: "lower", "higher" or "1"."""
    known = {**_IMAGE_SCORES, IDENTICAL: "lower", CLOSE: "lower"}
    return known[score] if score in known else _OVER_FEATURES[score.split(": ")[1]]


class Remembered:
    """Features of a network, each different image computed once."""

    def __init__(self, network: FeatureNetwork):
        self.network = network
        self._rows: dict[bytes, np.ndarray] = {}

    def __call__(self, images: np.ndarray, cached: bool = False) -> np.ndarray:
        """Features (N, dim) of uint8 images; with `cached` they are read from, or kept in, the cache on disk."""
        keys = [hashlib.blake2b(np.ascontiguousarray(image), digest_size=16).digest() for image in images]
        new = {key: index for index, key in enumerate(keys) if key not in self._rows}
        if new:
            features = extract(self.network, images[list(new.values())], cached=cached)
            self._rows |= zip(new, features, strict=True)
        return np.stack([self._rows[key] for key in keys])


class OverFeatures:
    """The scores over one network: of real features against those of other real images, and of samples.

    Args:
        real: features (N, D).
        other: those of other real images, (N, D).
        halved: the halves over which margins and intervals are taken; none: these are 0.
    """

    def __init__(self, real: np.ndarray, other: np.ndarray, halved: Sequence[margins.Halves]):
        self._real, self._halved = real, halved
        few = ("precision", "recall", "density", "coverage") if len(real) < NEIGHBOURS_FROM else ()
        self._names = [name for name in BEST if name not in few and (name != "fid" or len(real) > real.shape[1])]
        self.floor = self._values(real, other)
        self._floors = [self._values(real[half.real], other[half.other]) for half in halved]
        self._limit = diversity.near_limit(real)
        self._near = self._near_share(other)

    def _values(self, real: np.ndarray, fake: np.ndarray) -> dict[str, float]:
        return named_scores(real, fake, self._names) | {SPREAD: diversity.spread(real, fake)}

    def _near_share(self, features: np.ndarray) -> float:
        near = diversity.near_identical(features, self._limit)
        return 0.0 if near is None else near / len(features)

    def values(self, made: np.ndarray) -> dict[str, float]:
        """The scores of features (N, D) alone, without what is near-identical."""
        return self._values(self._real, made)

    def measure(self, made: np.ndarray) -> dict[str, Measured]:
        """The scores of features (N, D), by name; those are left out for which the samples are too few."""
        values = self.values(made)
        apart, own = dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0)
        if self._halved:
            halves = [self._values(self._real[half.real], made[half.fake]) for half in self._halved]
            apart, own = margins.margins(halves, self._floors), margins.intervals(halves)
        found = {name: Measured(values[name], self.floor[name], apart[name], own[name]) for name in values}
        return found | {NEAR: Measured(self._near_share(made), self._near, _REPEATED, 0.0)}


def over_fits(found: Sequence[Mapping[str, Measured]]) -> dict[str, Measured]:
    """The means over several fits of a network, with the margins and intervals of a scorecard."""
    if len(found) == 1:
        return dict(found[0])

    def column(key: str) -> list[dict[str, float]]:
        return [{name: getattr(one, key) for name, one in fit.items()} for fit in found]

    values, floors = column("value"), column("floor")
    apart = [{name: one.value - one.floor for name, one in fit.items()} for fit in found]
    joined = margins.margins_over_fits(column("margin"), apart), margins.intervals_over_fits(column("interval"), values)
    means = {
        name: Measured(
            float(np.mean([one[name] for one in values])),
            float(np.mean([one[name] for one in floors])),
            joined[0][name],
            joined[1][name],
        )
        for name in found[0]
    }
    return means | {NEAR: means[NEAR]._replace(margin=_REPEATED, interval=0.0)}


class OverImages:
    """The scores without a network: of real images against other real ones, and of samples.

    Args:
        real: uint8 (N, height, width, channels).
        other: as many other real images.
        halved: the halves over which margins and intervals are taken; none: these are 0.
        seed: of patches and directions.
    """

    def __init__(self, real: np.ndarray, other: np.ndarray, halved: Sequence[margins.Halves], seed: int = 0):
        self._real, self._halved, self._seed = prepared(real, seed), halved, seed
        others = prepared(other, seed)
        self._halves = [self._real.of(half.real) for half in halved]
        self.floor = self._values(self._real, others)
        self._floors = [self._values(*one) for one in self._pairs(others, [half.other for half in halved])]

    def _values(self, real: Prepared, fake: Prepared) -> dict[str, float]:
        return _flat(prepared_scores(real, fake, self._seed))

    def _pairs(self, fake: Prepared, chosen: Sequence[np.ndarray]) -> Iterator[tuple[Prepared, Prepared]]:
        return ((real, fake.of(indices)) for real, indices in zip(self._halves, chosen, strict=True))

    def values(self, made: np.ndarray) -> dict[str, float]:
        """The scores of uint8 images (N, height, width, channels) alone."""
        return self._values(self._real, prepared(made, self._seed))

    def measure(self, made: np.ndarray) -> dict[str, Measured]:
        """The scores of uint8 images (N, height, width, channels), by name."""
        ready = prepared(made, self._seed)
        values = self._values(self._real, ready)
        apart, own = dict.fromkeys(values, 0.0), dict.fromkeys(values, 0.0)
        if self._halved:
            halves = [self._values(*one) for one in self._pairs(ready, [half.fake for half in self._halved])]
            apart, own = margins.margins(halves, self._floors), margins.intervals(halves)
        return {name: Measured(values[name], self.floor[name], apart[name], own[name]) for name in values}


class Judge:
    """All scores of a scorecard, and the share of samples that are close to training images.

    Args:
        real: real images that are compared, uint8 (N, height, width, channels).
        other: as many other ones, for the floors.
        networks: by name, in as many fits as each has.
        training: the real images that `real` belongs to, with their features.
        seed: of the halves, patches and directions.
        close_of: how many samples are compared with the training images.
    """

    def __init__(
        self,
        real: np.ndarray,
        other: np.ndarray,
        networks: Mapping[str, Sequence[Remembered]],
        training: RealSet | None,
        seed: int = 0,
        close_of: int = 150,
    ):
        halved = margins.halves_of(len(real), seed)
        self._images = OverImages(real, other, halved, seed)
        self._networks = {
            name: [(one, OverFeatures(one(real, cached=True), one(other, cached=True), halved)) for one in fits]
            for name, fits in networks.items()
        }
        self._identical = diversity.identical(other) / len(other)
        self._training, self._close_of = training, close_of
        self._close = 0.0 if training is None else training.closest(other[:close_of]).share

    def scores(self, made: np.ndarray) -> dict[str, Measured]:
        """All scores of uint8 images (N, height, width, channels), by name; over networks as "squeezenet: kid"."""
        found = dict(self._images.measure(made))
        for name, fits in self._networks.items():
            over = over_fits([judged.measure(network(made)) for network, judged in fits])
            found |= {f"{name}: {score}": one for score, one in over.items()}
        found[IDENTICAL] = Measured(diversity.identical(made) / len(made), self._identical, 0.0, 0.0)
        if self._training is not None:
            found[CLOSE] = self._close_share(made[: self._close_of])
        return found

    def _close_share(self, made: np.ndarray) -> Measured:
        """The share of close samples; its margin is that of two shares of so many (normal approximation)."""
        share, count = self._training.closest(made).share, len(made)
        variances = [max(one * (1 - one), 0.05) / count for one in (share, self._close)]
        return Measured(share, self._close, 1.96 * float(np.sqrt(sum(variances))), 1.96 * float(np.sqrt(variances[0])))


def _flat(found: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Scores by one name each: the averages over levels, and each period and direction of the lattice."""
    sliced, without, ratio, power, unevenness = found.values()
    values = (sliced["average"], without["average"], ratio["average"], *power.values(), *unevenness.values())
    return dict(zip(_IMAGE_SCORES, values, strict=True))
