"""Small images, a quick feature network and the cards of both, for the tests of scorecards."""

import numpy as np

from ganzoo.metrics import scorecard as scorecard_module
from ganzoo.metrics.networks.base import FeatureNetwork
from ganzoo.metrics.scorecard import Scorecard, scorecard


def network(name: str = "means", trained_on: str = "imagenet", family: str = "plain", cells: int = 2) -> FeatureNetwork:
    """Means of cells x cells fields: quick features of 3 * cells^2 dimensions."""

    def function(batch):
        count, height, width, channels = batch.shape
        fields = batch.reshape(count, cells, height // cells, cells, width // cells, channels)
        return fields.mean(axis=(2, 4)).reshape(count, -1)

    return FeatureNetwork(name, family, trained_on, 3 * cells**2, "here", "none", f"cells {cells}", None, function)


def images(count: int, seed: int, low: int = 0) -> np.ndarray:
    colours = np.random.default_rng(seed).integers(low, 200, (count, 1, 1, 3))
    noise = np.random.default_rng(seed + 1).integers(0, 56, (count, 16, 16, 3))
    return (colours + noise).astype(np.uint8)


def card(fakes: np.ndarray | None = None, reals: np.ndarray | None = None, **options) -> Scorecard:
    options.setdefault("networks", (network(),))
    return scorecard(images(81, 0) if reals is None else reals, images(60, 5) if fakes is None else fakes, **options)


def over_network(fakes, count):
    """The scores of a card over one network, without the rest of it."""
    real, others = images(2 * count, 0)[:count], images(2 * count, 0)[count:]
    return scorecard_module._network_scores(network(), real, others, fakes, (), ())
