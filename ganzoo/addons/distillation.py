"""Distillation: a generator learns to make what another one, the teacher, makes of the same latents.

As in TinyGAN (Chang and Lu 2020, https://arxiv.org/abs/2009.13829) the generator's loss gets two terms beside the
discriminator's verdict, here each as a share of the variance of the teacher's samples (1 is the error of their mean, 2
that of unrelated samples):

pixels    mean (G(z) - T(z))^2 / mean (T(z) - mean T)^2
features  the same for maps of the teacher's discriminator, the last of each resolution of its trunk, mean over them

The teacher and its discriminator stay as they are. The run's own discriminator, which may begin as a copy of the
teacher's, learns on as in any training.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ganzoo.core.addon import AddOn
from ganzoo.core.phases import Batch
from ganzoo.errors import GanzooError, RecipeError, WeightsError
from ganzoo.recipes import schema
from ganzoo.weights import preset_files

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN

_COMPARED = 256  # of the teacher's samples, for what unrelated ones differ by


class Distillation(AddOn):
    """Terms of the generator's loss by the GAN that a recipe's `distillation` names. Inference needs no teacher.

    Args:
        options: the recipe's.
        load: gives the GAN of a name with its weights.
    """

    def __init__(self, options: schema.Distillation, load: Callable[[str], "GAN"]):
        self._options, self._load = options, load
        self.teacher: Teacher | None = None

    def on_compile(self, gan: "GAN") -> None:
        """Load the teacher, once."""
        if self.teacher is None:
            self.teacher = Teacher(gan, self._options, self._load)

    def generator_terms(self, gan: "GAN", fake: Any, batch: Batch) -> dict[str, tf.Tensor]:
        """The teacher's."""
        return self.teacher.terms(fake, batch) if self.teacher else {}

    def pretrained_sources(self) -> list[dict[str, str]]:
        """Those of the teacher, once it is loaded."""
        return self.teacher.gan.pretrained_sources() if self.teacher else []


class Teacher:
    """The GAN that teaches, and the maps by which samples are compared.

    Args:
        gan: that is taught.
        options: the recipe's `distillation`.
        load: gives the GAN of a name with its weights.

    Raises:
        RecipeError: its latents, conditions or samples have other shapes than those of the GAN that is taught, or its
            discriminator has no trunk.
        WeightsError: it has no weights, or others than when the run was started.
    """

    def __init__(self, gan: "GAN", options: schema.Distillation, load: Callable[[str], "GAN"]):
        self.options = options
        try:
            digest = preset_files.weights_digest(self.options.teacher)
            self.gan = load(self.options.teacher)
        except GanzooError as error:
            raise WeightsError(f"The teacher of this run cannot be loaded. {error}") from None
        if self.options.sha256 not in (None, digest):
            raise WeightsError(
                f"The teacher {self.options.teacher} has other weights than when this run was started. Restore its "
                "weights, or distil it in a new directory."
            )
        self.gan.trainable = False
        check_fit(self.gan, gan)
        self._look = self._build_look() if self.options.features else None
        drawn = self.gan.draw_latents(_COMPARED) | self.gan.draw_conditions(_COMPARED)
        samples = self._samples({name: tf.constant(value) for name, value in drawn.items()})
        self._spread = float(_spread(samples))
        maps = self._look(samples, training=False) if self._look else []
        self._spreads = [float(_spread(values)) for values in maps]

    def _build_look(self) -> keras.Model:
        trunks = [layer for layer in self.gan.discriminator.layers if layer.name == "trunk"]
        if not trunks:
            raise RecipeError(
                f"The discriminator of {self.options.teacher} has no trunk to compare samples by: "
                "--set distillation.features=0."
            )
        return keras.Model(trunks[0].input, _maps(trunks[0]))

    def terms(self, fake: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """The weighted terms per example `(batch,)`, by name."""
        wanted = self._samples({**batch.latents, **batch.conditions})
        terms = {}
        if self.options.pixels:
            terms["distilled_pixels"] = self.options.pixels * _error(fake, wanted, self._spread)
        if self.options.features:
            maps = zip(self._look(fake, training=False), self._look(wanted, training=False), strict=True)
            errors = [_error(got, want, spread) for (got, want), spread in zip(maps, self._spreads, strict=True)]
            terms["distilled_features"] = self.options.features * tf.add_n(errors) / len(errors)
        return terms

    def _samples(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.cast(self.gan.generator_ema(inputs, training=False), tf.float32)


def check_fit(teacher: "GAN", student: "GAN") -> None:
    """Raises `RecipeError` where two GANs take other inputs or make samples of other shapes."""
    for what, of in (
        ("latents", lambda gan: gan.latents_spec()),
        ("conditions", lambda gan: gan.conditions_spec()),
        ("samples of the shapes", lambda gan: gan.sample_shapes()),
    ):
        if (theirs := of(teacher)) != (own := of(student)):
            if what == "conditions":
                counts = [next((spec.classes for spec in found.values()), 0) for found in (theirs, own)]
                raise RecipeError(
                    f"{teacher.recipe.entry} cannot be the teacher of {student.recipe.entry}: it has {counts[0]} "
                    f"classes, the other {counts[1]}. Take a student that is conditional as the teacher is."
                )
            raise RecipeError(
                f"{teacher.recipe.entry} cannot be the teacher of {student.recipe.entry}: it has {what} {theirs}, the "
                f"other {own}. Set the recipe's model and data keys to the teacher's (--set model.latent_dim=..., "
                "data.size, data.channels, model.classes), or take an entry that has them."
            )


def _maps(trunk: keras.Model) -> list[keras.KerasTensor]:
    """The last map of each resolution inside a network, and what it ends with."""
    found = {}
    for layer in trunk.layers:
        if not isinstance(layer, keras.layers.InputLayer) and isinstance(layer.output, keras.KerasTensor):
            found[tuple(layer.output.shape[1:-1])] = layer.output
    return list(found.values())


def _spread(values: tf.Tensor) -> np.ndarray:
    return np.maximum(np.mean(np.var(np.asarray(values), axis=0)), 1e-8)


def _error(got: tf.Tensor, wanted: tf.Tensor, spread: float) -> tf.Tensor:
    error = tf.square(tf.cast(got, tf.float32) - tf.cast(wanted, tf.float32))
    return tf.reduce_mean(error, axis=list(range(1, len(error.shape)))) / spread
