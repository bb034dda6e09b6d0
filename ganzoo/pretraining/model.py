"""The model that pretrains: a GAN's networks, a task on them, one optimizer."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganzoo import pretraining
from ganzoo.core.building import buildable
from ganzoo.core.inputs import ClassCondition
from ganzoo.core.model import PhasedModel
from ganzoo.core.phases import Batch, Phase
from ganzoo.pretraining.task import bundle
from ganzoo.recipes.entries import gan_class
from ganzoo.recipes.schema import Recipe, Section
from ganzoo.weights.sources import distinct


class Pretraining(PhasedModel):
    """A task that trains parts of an entry by itself.

    Args:
        recipe: `ganzoo.pretraining.recipe(method, entry)`.
    """

    def __init__(self, recipe: Recipe):
        super().__init__(recipe, "pretraining")

    @classmethod
    def options_of(cls, raw: Mapping[str, Any]) -> type[Section]:
        """Those of the GAN whose parts are pretrained."""
        return gan_class(raw["gan"]).Options

    def build_networks(self) -> None:
        """The GAN, the task's parts on its layers, and all that is trained as one network."""
        alone = {"pretrain": {}, "freeze": (), "auxiliary": (), "consolidation": 0.0}
        kind = gan_class(self.recipe.gan)
        with buildable(self.recipe):
            self.gan = kind(self.recipe.model_copy(update=alone))
        self.task = pretraining.task_class(self.recipe.pretrain["method"])(self.gan, self.recipe.pretrain)
        self.first_reals = self.task.first_reals
        self.student = bundle(self.task.parts, pretraining.STUDENT)

    def networks(self) -> dict[str, keras.Model]:
        """All that is trained, with one optimizer."""
        return {pretraining.STUDENT: self.student}

    def phases(self) -> list[Phase]:
        """One phase: the task's loss."""

        def loss(batch: Batch, context: Any) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
            return self.task.loss(batch)

        return [Phase(pretraining.STUDENT, loss=loss)]

    def sample_shapes(self) -> list[tuple[int, ...]]:
        """Those of the entry."""
        return self.gan.sample_shapes()

    def conditions_spec(self) -> dict[str, ClassCondition]:
        """The task's."""
        return self.task.conditions_spec()

    def fixed_networks(self) -> dict[str, keras.Model]:
        """The task's."""
        return self.task.fixed_networks()

    def adapt(self, reals: np.ndarray) -> None:
        """What the task learns of the data before the first step."""
        self.task.adapt(reals)

    def show(self, examples: Mapping[str, np.ndarray] | None) -> np.ndarray | None:
        """What the task shows."""
        return self.task.show(examples)

    def parts(self) -> dict[str, keras.Model]:
        """`trunk` and the task's parts."""
        return {"trunk": self.task.trunk(), **self.task.parts}

    def pretrained_sources(self) -> list[dict[str, str]]:
        """The task's, that of a trunk with weights of its own, and those of the weights that it began with."""
        return distinct([*self.task.pretrained_sources(), *self.gan.trunk_sources(), *super().pretrained_sources()])

    def preset_parts(self) -> dict[str, keras.Model]:
        """All parts, with what belongs to them."""
        return {**self.parts(), **self.task.exported()}
