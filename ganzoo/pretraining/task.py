"""What a network learns from real samples alone: parts built on those of a GAN, and a loss of their own.

A task is pretrained by itself (`ganzoo.pretraining.model`), or runs beside a GAN's own losses while that trains.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from ganzoo.core.inputs import ClassCondition
from ganzoo.core.phases import Batch
from ganzoo.errors import RecipeError
from ganzoo.recipes.schema import Section, validate_section

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN


class Task:
    """Parts on the layers of a GAN's networks, and a loss.

    A subclass names its `Options`, builds its parts and says the loss.

    Args:
        gan: whose layers the parts share.
        given: the method's options.
        path: where they stand in the recipe, for errors.
        stride: one sample of so many is learnt from.
    """

    class Options(Section):
        """The method's keys, under `pretrain` in a recipe."""

    labelled: ClassVar[bool] = False  # whether it learns from the data's classes
    runs_along: ClassVar[bool] = False  # whether it can run beside a GAN's losses: it needs but the trunk and reals
    uses: ClassVar[tuple[str, ...]] = ()  # sections of a GAN's recipe that it reads, of those that others do not
    first_reals: ClassVar[int] = 512

    def __init__(self, gan: "GAN", given: Mapping[str, Any], path: str = "pretrain", stride: int = 1):
        self.gan = gan
        self.batch_size = gan.recipe.training.batch_size // stride
        self.domain = gan.domain
        self.settings = self.read_options(given, path)
        self.heads: dict[str, keras.Model] = {}
        self.parts = self.build_parts()

    @classmethod
    def read_options(cls, given: Mapping[str, Any], path: str = "pretrain") -> Section:
        """The options, validated; `method` itself is none of them."""
        return validate_section({key: v for key, v in given.items() if key != "method"}, cls.Options, path)

    @classmethod
    def method(cls) -> str:
        """The method's name."""
        return cls.__module__.rpartition(".")[2]

    # What a subclass supplies.

    def build_parts(self) -> dict[str, keras.Model]:
        """Functional models by the names under which they are saved; the trained weights are theirs."""
        raise NotImplementedError

    def loss(self, batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The loss per example, `(batch,)`, and what is logged beside it, per example too."""
        raise NotImplementedError

    def show(self, examples: Mapping[str, np.ndarray] | None) -> np.ndarray | None:
        """Images for a run's grids, see `PhasedModel.show`; None where there is nothing to look at."""
        return None

    def adapt(self, reals: np.ndarray) -> None:
        """Learn fixed statistics of the data before the first step, from some real samples."""

    def fixed_networks(self) -> dict[str, keras.Model]:
        """Networks that are not trained but belong to the state, by name."""
        return {}

    def pretrained_sources(self) -> list[dict[str, str]]:
        """The pretrained networks that teach, see `PhasedModel.pretrained_sources`."""
        return []

    def exported(self) -> dict[str, keras.Model]:
        """More networks for the preset, made of what was learnt."""
        return {}

    def conditions_spec(self) -> dict[str, ClassCondition]:
        """The classes where the method learns from them."""
        classes = getattr(self.settings, "classes", None) if self.labelled else None
        return {"class_id": ClassCondition(classes)} if classes else {}

    # What methods use.

    def refuse(self, reason: str) -> RecipeError:
        """The error that a method raises where it does not support the entry."""
        return RecipeError(f"'{self.method()}' does not suit {self.gan.recipe.entry}: {reason}")

    def sample_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of the GAN's images.

        Raises:
            RecipeError: its samples are not images.
        """
        shapes = self.gan.sample_shapes()
        if len(shapes) != 1 or len(shapes[0]) != 3:
            raise self.refuse("its samples are not images.")
        return shapes[0]

    def trunk(self) -> keras.Model:
        """The discriminator's trunk: images -> features.

        Raises:
            RecipeError: the discriminator has none.
        """
        parts = self.gan.parts()
        if "discriminator.trunk" not in parts:
            raise self.refuse("its discriminator has no part 'discriminator.trunk' to train.")
        return parts["discriminator.trunk"]

    def on_trunk(self, name: str, features: Any, outputs: Any) -> keras.Model:
        """A model `name` from images to the trunk's features to what a head makes of them."""
        images = keras.Input(self.sample_shape(), name="samples")
        self.heads[name] = head = keras.Model(features, outputs, name=f"{name}_head")
        return keras.Model(images, head(self.trunk()(images)), name=name)

    def features(self) -> Any:
        """An input of the trunk's features, for a head."""
        return keras.Input(self.trunk().output.shape[1:], name="features")

    def with_head(self, name: str, *hidden: int, outputs: int, pool: bool = False) -> keras.Model:
        """A model `name`: the trunk, its features flattened or averaged over positions, dense layers."""
        features = x = self.features()
        if len(x.shape) > 2:
            x = (layers.GlobalAveragePooling2D(name="pool") if pool else layers.Flatten(name="flatten"))(x)
        for index, width in enumerate(hidden):
            x = layers.Dense(width, "relu", kernel_initializer="he_normal", name=f"hidden_{index}")(x)
        return self.on_trunk(name, features, layers.Dense(outputs, name="outputs", dtype="float32")(x))


def bundle(parts: Mapping[str, keras.Model], name: str) -> keras.Model:
    """Several functional models as one, whose inputs and outputs are theirs, so that they share an optimizer."""
    inputs, outputs = [], []
    for key, part in parts.items():
        given = {
            tensor.name: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=f"{key}_{tensor.name}")
            for tensor in tf.nest.flatten(part.input)
        }
        inputs += given.values()
        outputs += tf.nest.flatten(part(given if isinstance(part.input, dict) else next(iter(given.values()))))
    return keras.Model(inputs, outputs, name=name)
