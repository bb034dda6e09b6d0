"""Pretraining methods as additional losses on the discriminator's trunk, while the GAN trains.

Chen et al. 2019, "Self-Supervised GANs via Auxiliary Rotation Loss", https://arxiv.org/abs/1811.11212: the
discriminator's loss gets the task's loss on real images, the generator's that on samples.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from ganzoo import distribution
from ganzoo.core.addon import AddOn
from ganzoo.core.phases import Batch
from ganzoo.errors import RecipeError
from ganzoo.pretraining import task_class
from ganzoo.pretraining.task import Task, bundle
from ganzoo.recipes.schema import Auxiliary

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN

HEADS = "auxiliary"


class AuxiliaryTasks(AddOn):
    """The tasks of a recipe's `auxiliary`, whose heads are one network.

    Args:
        rules: the recipe's.
    """

    def __init__(self, rules: Sequence[Auxiliary]):
        self.rules = tuple(rules)
        self.tasks: list[tuple[Auxiliary, Task]] = []
        self.heads: keras.Model | None = None

    def build(self, gan: "GAN") -> None:
        """Make the tasks' heads.

        Raises:
            RecipeError: a method cannot run beside a GAN, is named twice, or does not suit the GAN.
        """
        if gan.recipe.training.precision == "mixed_float16":
            raise RecipeError("auxiliary losses share gradients between optimizers: take precision mixed_bfloat16.")
        heads = {}
        for rule in self.rules:
            kind = task_class(rule.method)
            if not kind.runs_along:
                raise RecipeError(f"auxiliary: '{rule.method}' can only be pretrained, it cannot run beside a GAN.")
            if rule.method in heads:
                raise RecipeError(f"auxiliary: '{rule.method}' is named twice.")
            task = kind(gan, rule.options, "auxiliary.options", rule.stride)
            self.tasks.append((rule, task))
            heads[rule.method] = next(iter(task.heads.values()))
        self.heads = bundle(heads, HEADS)

    def networks(self) -> dict[str, keras.Model]:
        """The heads of all tasks as one network, once they are made."""
        return {} if self.heads is None else {HEADS: self.heads}

    def on_compile(self, gan: "GAN") -> None:
        """Raises `RecipeError` where a replica's share of a batch is no multiple of a stride."""
        share = gan.recipe.training.batch_size // distribution.strategy_of(gan).num_replicas_in_sync
        for rule in self.rules:
            if share % rule.stride:
                raise RecipeError(
                    f"auxiliary: stride = {rule.stride} does not divide the {share} samples of a batch on a replica."
                )

    def discriminator_terms(self, batch: Batch) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """The tasks' weighted losses on real samples; logged without their weights."""
        terms: list[tf.Tensor] = []
        logs: dict[str, tf.Tensor] = {}
        for rule, task in self.tasks:
            value, more = task.loss(_each(batch, batch.real, rule))
            logs |= {rule.method: value, **{f"{rule.method}_{name}": extra for name, extra in more.items()}}
            terms.append(rule.weight * tf.reduce_mean(value))
        return terms, logs

    def generator_terms(self, gan: "GAN", fake: Any, batch: Batch) -> dict[str, tf.Tensor]:
        """The losses on samples of those tasks that have a `generator_weight`."""
        terms = {}
        for rule, task in self.tasks:
            if rule.generator_weight:
                value, _ = task.loss(_each(batch, fake, rule))
                terms[f"{rule.method}_of_fakes"] = rule.generator_weight * tf.reduce_mean(value)
        return terms


def _each(batch: Batch, samples: Any, rule: Auxiliary) -> Batch:
    """A batch of each `stride`-th of some samples, for a task, with randomness of its own."""
    chosen = tf.nest.map_structure(lambda leaf: leaf[:: rule.stride], samples)
    count = tf.shape(tf.nest.flatten(chosen)[0])[0]
    return Batch(chosen, {}, {}, batch.random.child(rule.method, count))
