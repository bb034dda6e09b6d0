"""Features of a frozen network whose channels are standardised on the data, and what a linear probe makes of them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ganzoo import backbones
from ganzoo.errors import DataError
from ganzoo.layers.channel_scale import standardise, standardiser

FEWEST_PROBED = 20  # images of each kind
_FOLDS = 5
_STRENGTH = 0.01  # C of the regression: the inverse of its penalty


class FrozenFeatures:
    """Maps of a frozen backbone, each channel with mean 0 and variance 1 on real images.

    Args:
        name, shape, levels, weights, input_size: as for `ganzoo.backbones.create`.
        label: the name of what standardises.
    """

    def __init__(
        self,
        name: str,
        shape: Sequence[int],
        levels: Iterable[int],
        weights: str | None,
        input_size: int | None,
        label: str = "standardise",
    ):
        self.name, self.weights = name, weights
        self.network = backbones.create(name, shape, sorted(levels), weights, input_size=input_size, bottlenecks=True)
        pairs = zip(self.network.levels, self.network.outputs, strict=True)
        self.shapes: dict[int, tuple[int, ...]] = {level: tuple(tensor.shape[1:]) for level, tensor in pairs}
        self.standardise = standardiser(list(self.shapes.values()), list(self.shapes), label)

    def maps(self, images: tf.Tensor) -> dict[int, tf.Tensor]:
        """Maps `(n, h, w, channels)` of images in [-1, 1], by stride."""
        scaled = self.standardise(self.network(images, training=False), training=False)
        return dict(zip(self.network.levels, scaled, strict=True))

    def adapt(self, reals: np.ndarray) -> None:
        """Standardise each channel by its mean and deviation on real images, uint8."""
        standardise(self.standardise, self.network, reals[:512])

    def source(self) -> dict[str, str] | None:
        """What a scorecard must know of a network that taught the generator; None where its weights are random."""
        return None if self.weights is None else self.network.info.source_entry()


class Probe(NamedTuple):
    """The result of a linear probe on images that it was not fitted to.

    Attributes:
        accuracy: the share of right answers; 0.5 where the features separate nothing.
        log_loss: minus the mean logarithm of the probability given to the truth; it still separates networks where
            all have an accuracy of 1.
    """

    accuracy: float
    log_loss: float

    def __str__(self) -> str:
        return f"{self.accuracy:.1%}, log loss {self.log_loss:.3g}"


def probe(network: Any, real: np.ndarray, fake: np.ndarray) -> Probe:
    """How surely a linear classifier tells reals from fakes by a frozen network's features.

    Logistic regression on the standardised means of each map over positions, 5-fold cross-validation; vision-aided
    GANs choose their networks so (Kumari et al. 2022, https://arxiv.org/abs/2112.09130).

    Args:
        network: a backbone of `ganzoo.backbones.create`.
        real: uint8 images (N, H, W, C), of the network's input shape.
        fake: as `real`.

    Raises:
        DataError: fewer than 20 images of a kind.
    """
    if min(len(real), len(fake)) < FEWEST_PROBED:
        raise DataError(f"A probe needs {FEWEST_PROBED} images of each kind. Received: {len(real)} and {len(fake)}.")
    features = np.concatenate([_pooled(network, images) for images in (real, fake)])
    kinds = np.repeat([1.0, 0.0], [len(real), len(fake)])
    given = cross_validated(features, kinds)
    surely = np.where(kinds > 0, given, 1.0 - given)
    log_loss = -float(np.mean(np.log(np.maximum(surely, np.finfo(np.float64).eps))))
    return Probe(float(np.mean((given > 0.5) == kinds)), log_loss)


def cross_validated(features: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """The probability of kind 1 that a logistic regression gives to each row, fitted to the other four fifths.

    The features are standardised on the rows fitted to; the regression minimises
    sum(log(1 + exp(-s (w x + b)))) + |w|^2 / (2 C), s = 2 kind - 1, C = 0.01. Each fifth has its share of both kinds,
    in their order.

    Args:
        features: (N, channels).
        kinds: (N,), 0 or 1, at least five of each, all of one kind before those of the other.

    Returns:
        float64 (N,) in 0..1.
    """
    folds = np.empty(len(kinds), int)
    for kind in (0, 1):
        rows = np.flatnonzero(kinds == kind)
        folds[rows] = np.sort(rows % _FOLDS)
    given = np.empty(len(kinds))
    for fold in range(_FOLDS):
        held = folds == fold
        mean, deviation = features[~held].mean(0, np.float64), features[~held].std(0, dtype=np.float64)
        scaled = (features - mean) / np.where(deviation < 1e-6 * (1 + np.abs(mean)), 1.0, deviation)
        weights = _regression(scaled[~held], kinds[~held])
        given[held] = _sigmoid(scaled[held] @ weights[:-1] + weights[-1])
    return given


def _regression(rows: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """The weights of a logistic regression, and its bias behind them."""
    from scipy.optimize import minimize

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = rows @ weights[:-1] + weights[-1]
        errors = _sigmoid(scores) - kinds
        value = np.sum(np.logaddexp(0.0, scores) - kinds * scores) + weights[:-1] @ weights[:-1] / (2 * _STRENGTH)
        return value, np.append(errors @ rows + weights[:-1] / _STRENGTH, errors.sum())

    return minimize(loss, np.zeros(rows.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 2_000}).x


def _sigmoid(scores: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.tanh(0.5 * scores))


def most_telling(found: Mapping[str, Probe]) -> str:
    """The name of the network whose probe has the lowest log loss."""
    return min(found, key=lambda name: found[name].log_loss)


def _pooled(network: Any, images: np.ndarray) -> np.ndarray:
    parts = []
    for start in range(0, len(images), 32):
        maps = network(images[start : start + 32].astype(np.float32) / 127.5 - 1.0, training=False)
        parts.append(np.concatenate([np.asarray(level).mean(axis=(1, 2)) for level in maps], axis=1))
    return np.concatenate(parts)
