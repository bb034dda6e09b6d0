"""Frozen networks that join a discriminator while a GAN trains, the most telling one first.

After Kumari et al. 2022, "Ensembling Off-the-shelf Models for GAN Training", https://arxiv.org/abs/2112.09130.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganzoo.backbones.features import FEWEST_PROBED, FrozenFeatures, most_telling, probe
from ganzoo.data.sample_set import SampleSet
from ganzoo.errors import DataError
from ganzoo.recipes.schema import Section
from ganzoo.runs.callbacks import keep_event

log = logging.getLogger("ganzoo")

NEVER = -1  # when a network joined that has not
_PROBED = 256  # reals, and as many samples


class Ensemble:
    """The networks, and when each joined.

    Args:
        options: a GAN's, with `ensemble` (names of backbones) and the keys that begin with `ensemble_`.
        shape: of an image.
        weights, input_size: as for `ganzoo.backbones.create`.
        joined: an int64 variable `(networks,)`: at how many samples each joined, or `NEVER`.
    """

    def __init__(
        self,
        options: Section,
        shape: Sequence[int],
        weights: str | None,
        input_size: int | None,
        joined: keras.Variable,
    ):
        self._options, self.joined = options, joined
        common = (shape, options.ensemble_levels, weights, input_size)
        self.members = [FrozenFeatures(name, *common, f"member_{index}") for index, name in enumerate(options.ensemble)]
        inputs = [[keras.Input(shape) for shape in member.shapes.values()] for member in self.members]
        scaled = [member.standardise(given) for member, given in zip(self.members, inputs, strict=True)]
        self.scales = keras.Model(inputs, scaled, name="ensemble") if inputs else None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the maps that `observe` gives, by name."""
        return {
            f"ensemble_{index}_{level}": shape
            for index, member in enumerate(self.members)
            for level, shape in member.shapes.items()
        }

    def observe(self, samples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Maps `(n, side, side, channels)` of images in [-1, 1] by name, as `shapes` says.

        Those of networks that have not joined are zeros, and cost no time.
        """
        seen = {}
        for index, member in enumerate(self.members):
            maps = tf.cond(
                self.has_joined(index),
                partial(_all_maps, member, samples),
                partial(_no_maps, member, samples),
            )
            seen |= {f"ensemble_{index}_{level}": m for level, m in zip(member.shapes, maps, strict=True)}
        return seen

    def head_weights(self) -> list[tf.Tensor]:
        """A factor for each map: 0 before its network joins, then its share of `ensemble_weight`."""
        weights = []
        for index, member in enumerate(self.members):
            there = tf.cast(self.has_joined(index), tf.float32)
            weights += [self._options.ensemble_weight / len(member.shapes) * there] * len(member.shapes)
        return weights

    def has_joined(self, index: int) -> tf.Tensor:
        """Whether a network has joined, a bool scalar."""
        return self.joined.value[index] != NEVER

    def due(self, samples: int) -> bool:
        """Whether another network is to join after so many samples."""
        options, there = self._options, len(self.members) - len(self.candidates())
        at = options.ensemble_from + there * options.ensemble_every
        return there < min(options.ensemble_most, len(self.members)) and samples >= at

    def candidates(self) -> dict[str, keras.Model]:
        """The networks that have not joined, by name."""
        has = np.array(self.joined) != NEVER
        return {member.name: member.network for member, there in zip(self.members, has, strict=True) if not there}

    def join(self, name: str, samples: int) -> None:
        """Let a network judge from now on, after so many samples."""
        joined = np.array(self.joined)
        joined[self._options.ensemble.index(name)] = samples
        self.joined.assign(joined)


def _all_maps(member: FrozenFeatures, samples: tf.Tensor) -> list[tf.Tensor]:
    return [tf.cast(features, tf.float32) for features in member.maps(samples).values()]


def _no_maps(member: FrozenFeatures, samples: tf.Tensor) -> list[tf.Tensor]:
    return [tf.zeros((tf.shape(samples)[0], *shape)) for shape in member.shapes.values()]


class Joining(keras.callbacks.Callback):
    """Whenever a network of the model's `ensemble` is due, probes those that have not joined, and the best one joins.

    Each decision is an event of the run. Its time counts as training.

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
                f"model.ensemble needs {FEWEST_PROBED} real samples or more to compare its networks. Received: "
                f"{'a tf.data.Dataset' if data is None else len(data)}. Give a folder or arrays."
            )
        self._run = run
        self._reals = data.some(_PROBED)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Ask whether one is due."""
        if self.model.ensemble.due(self.model.sample_count):
            self._join()

    def _join(self) -> None:
        seen = self.model.sample_count
        fakes = self.model.generate(len(self._reals), seed=seen, live=True)
        results = {
            name: probe(network, self._reals, fakes) for name, network in self.model.ensemble.candidates().items()
        }
        best = most_telling(results)
        self.model.ensemble.join(best, seen)
        shares = "; ".join(f"{name} {result}" for name, result in results.items())
        text = f"{best} joins the discriminator (accuracy of a linear probe: {shares})"
        log.info("After %s samples: %s", f"{seen:,}", text)
        keep_event(self._run, seen, text, repeats=True)
