"""What all methods of pretraining share: the entry's networks, one optimizer over the parts, what is saved."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from ganzoo import registry
from ganzoo.config import Recipe, Section, validate_section
from ganzoo.errors import RecipeError
from ganzoo.phased_model import Batch, ClassCondition, Phase, PhasedModel


class Pretraining(PhasedModel):
    """A part of a GAN, or several, under a loss of their own.

    A subclass names its `Options`, builds its parts and says the loss. Parts share layers with the networks of the
    entry's GAN (`self.gan`), so that their weights fit them.

    Args:
        recipe: `ganzoo.pretraining.recipe(method, entry)`.
    """

    class Options(Section):
        """The method's keys, under `pretrain` in a recipe."""

    labelled: ClassVar[bool] = False  # whether it learns from the data's classes

    def __init__(self, recipe: Recipe):
        given = {key: value for key, value in recipe.pretrain.items() if key != "method"}
        self.settings = self.read_options(given)
        super().__init__(recipe, "pretraining")

    @classmethod
    def read_options(cls, given: Mapping[str, Any]) -> Section:
        """The options, validated."""
        return validate_section(given, cls.Options, "pretrain")

    # What a subclass supplies.

    def build_parts(self) -> dict[str, keras.Model]:
        """Functional models by the names under which they are saved; the trained weights are theirs."""
        raise NotImplementedError

    def per_example_loss(self, batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss per example, `(batch,)`, and what is logged beside it, per example too."""
        raise NotImplementedError

    def show(self, examples: Mapping[str, np.ndarray] | None) -> np.ndarray | None:
        """Pictures for the run's grids; None where there is nothing to look at. See `PhasedModel.show`."""
        return None

    # What the base needs.

    def build_networks(self) -> None:
        """The GAN, whose layers the parts use, and the parts in one network."""
        self.gan = registry.create_from_recipe(self.recipe.model_copy(update={"pretrain": {}}))
        self.parts_built = self.build_parts()
        inputs = [
            {name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=name) for name, tensor in _inputs(part)}
            for part in self.parts_built.values()
        ]
        outputs = [part(given) for part, given in zip(self.parts_built.values(), map(_single, inputs), strict=True)]
        self.student = keras.Model(tf.nest.flatten(inputs), tf.nest.flatten(outputs), name="student")

    def networks(self) -> dict[str, keras.Model]:
        """All that is trained, with one optimizer."""
        return {"student": self.student}

    def phases(self) -> list[Phase]:
        """One phase: the loss."""
        return [Phase("student", loss=lambda batch, context: self.per_example_loss(batch))]

    def sample_shapes(self) -> list[tuple[int, ...]]:
        """Those of the entry."""
        return self.gan.sample_shapes()

    def conditions_spec(self) -> dict[str, ClassCondition]:
        """The classes where the method learns from them."""
        classes = getattr(self.settings, "classes", None) if self.labelled else None
        return {"class_id": ClassCondition(classes)} if classes else {}

    def parts(self) -> dict[str, keras.Model]:
        """`trunk` and what `build_parts` gave."""
        return {"trunk": self.trunk(), **self.parts_built}

    def preset_parts(self) -> dict[str, keras.Model]:
        """All parts."""
        return self.parts()

    # What methods use.

    def trunk(self) -> keras.Model:
        """The discriminator's trunk: pictures -> features."""
        return self.gan.part("discriminator.trunk")

    def refuse(self, reason: str) -> RecipeError:
        """The error that a method raises where it does not support the entry."""
        return RecipeError(f"'{self.recipe.pretrain['method']}' does not suit {self.recipe.entry}: {reason}")

    def with_head(self, name: str, *hidden: int, outputs: int, pool: bool = False) -> keras.Model:
        """A model `name`: the trunk, its features flattened or averaged over positions, dense layers."""
        pictures, x = self.on_trunk()
        if len(x.shape) > 2:
            x = (layers.GlobalAveragePooling2D(name="pool") if pool else layers.Flatten(name="flatten"))(x)
        for index, width in enumerate(hidden):
            x = layers.Dense(width, "relu", kernel_initializer="he_normal", name=f"hidden_{index}")(x)
        return keras.Model(pictures, layers.Dense(outputs, name="outputs", dtype="float32")(x), name=name)

    def on_trunk(self) -> tuple[Any, Any]:
        """An input for pictures and the trunk's features of it.

        Raises:
            RecipeError: the entry's discriminator has no trunk that takes one picture.
        """
        if "discriminator.trunk" not in self.gan.parts():
            raise self.refuse("its discriminator has no part 'discriminator.trunk' to train.")
        if len(self.sample_shapes()) != 1 or len(self.sample_shapes()[0]) != 3:
            raise self.refuse("its samples are no pictures.")
        pictures = keras.Input(self.sample_shapes()[0], name="samples")
        return pictures, self.trunk()(pictures)


def _inputs(part: keras.Model) -> list[tuple[str, Any]]:
    return [(tensor.name, tensor) for tensor in tf.nest.flatten(part.input)]


def _single(inputs: dict[str, Any]) -> Any:
    return inputs if len(inputs) > 1 or "latents" in inputs else next(iter(inputs.values()))
