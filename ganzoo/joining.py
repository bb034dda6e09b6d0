"""Lets frozen networks join a discriminator while a GAN trains, the most telling one first."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from ganzoo.callbacks import keep_event
from ganzoo.data import SampleSet
from ganzoo.errors import DataError
from ganzoo.frozen_features import FEWEST_PROBED, most_telling, probe

log = logging.getLogger("ganzoo")

_PROBED = 256  # reals, and as many samples


class Joining(keras.callbacks.Callback):
    """Whenever the model says that a network is due, probes those that have not joined, and lets the best one join.

    After Kumari et al. 2022, "Ensembling Off-the-shelf Models for GAN Training", https://arxiv.org/abs/2112.09130. Each
    decision is an event of the run. Its time counts as training.

    Args:
        run: the run directory.
        data: real samples; a fixed random choice of them is compared with samples of the live generator.

    Raises:
        DataError: there are fewer than 20 samples, or none that can be looked at.
    """

    def __init__(self, run: Path, data: SampleSet | None):
        super().__init__()
        if data is None or len(data) < FEWEST_PROBED:
            raise DataError(
                f"model.ensemble measures on {FEWEST_PROBED} real samples or more which network tells most. Received: "
                f"{'a dataset that is not looked at' if data is None else len(data)}. Give a folder or arrays."
            )
        self._run = run
        self._reals = data.some(_PROBED)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Ask whether one is due."""
        if self.model.joins_at(self.model.sample_count):
            self._join()

    def _join(self) -> None:
        seen = self.model.sample_count
        fakes = self.model.generate(len(self._reals), seed=seen, live=True)
        told = {name: probe(network, self._reals, fakes) for name, network in self.model.candidates().items()}
        best = most_telling(told)
        self.model.join(best)
        shares = "; ".join(f"{name} {result}" for name, result in told.items())
        text = f"{best} joins the discriminator (told apart by a linear probe: {shares})"
        log.info("After %s samples: %s", f"{seen:,}", text)
        keep_event(self._run, seen, text, repeats=True)
