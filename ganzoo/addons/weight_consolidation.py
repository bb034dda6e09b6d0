"""Elastic weight consolidation of a generator that is fine-tuned.

Li et al. 2020, "Few-shot Image Generation with Elastic Weight Consolidation", https://arxiv.org/abs/2012.02780: weights
that mattered for the source's samples are held back, the others are free,

penalty = sum of F_i (w_i - source_i)^2 / sum of F_i,   F_i = E[(dL / dw_i)^2],

where L is the generator's loss on the source's samples: the paper's softplus(-D(G(z))), or that of the recipe's
objective where it is another; a relativistic one compares a sample with the mean of its batch. Here F is divided by
its sum, so that a weight of the penalty means the same for all networks. Gradients are those of the mean over small
batches, which go through all classes, and D normalises by them, as in training.
"""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from ganzoo.core.addon import AddOn
from ganzoo.core.phases import Batch
from ganzoo.errors import RecipeError, TrainingError
from ganzoo.weights.variables import restored

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN

_BATCHES = 32
_BATCH = 8


class WeightConsolidation(AddOn):
    """The source's weights and what each is worth, as two networks of the generator's form, for a run's state.

    Args:
        weight: of the penalty.
    """

    reads_weights = True

    def __init__(self, weight: float):
        self.weight = weight

    def build(self, gan: "GAN") -> None:
        """Make both networks.

        Raises:
            RecipeError: the generator begins with given weights, the discriminator does not.
        """
        self.source, self.worth = gan.build_generator(), gan.build_generator()
        for network in (self.source, self.worth):
            network.trainable = False
        begins = {target.split(".")[0] for target in gan.recipe.init}
        if "generator" in begins and "discriminator" not in begins:
            raise RecipeError(
                "consolidation is measured by the source's discriminator: give it too (init.discriminator), or leave "
                "consolidation out."
            )

    def only_for_training(self) -> dict[str, keras.Model]:
        """Both by name."""
        return {"consolidation_source": self.source, "consolidation_worth": self.worth}

    def generator_terms(self, gan: "GAN", fake: Any, batch: Batch) -> dict[str, tf.Tensor]:
        """The weighted penalty."""
        return {"consolidation": self.weight * self.penalty(gan)}

    def on_first_weights(self, gan: "GAN") -> None:
        """Take the generator as it is now for the source, and measure what its weights are worth.

        Raises:
            TrainingError: the discriminator's verdict moves no weight.
        """
        for kept, weight in zip(self.source.weights, gan.generator.weights, strict=True):
            kept.assign(weight)
        variables = _all_trained(gan.generator)
        squares = [np.zeros(v.shape, np.float64) for v in variables]
        drawn = gan.draw_conditions(_BATCHES * _BATCH)  # all classes in turn, from batch to batch
        # The discriminator judges each batch by its statistics, as in training, but keeps none of them.
        with restored(gan.discriminator.non_trainable_variables):
            for index in range(_BATCHES):
                batch = slice(index * _BATCH, (index + 1) * _BATCH)
                conditions = {name: tf.constant(values[batch]) for name, values in drawn.items()}
                latents = {name: tf.constant(value) for name, value in gan.draw_latents(_BATCH, seed=index).items()}
                with tf.GradientTape() as tape:
                    tape.watch([variable.value for variable in variables])
                    fake = gan.generator({**latents, **conditions}, training=False)
                    logits = gan.score(gan.observe(fake, conditions), conditions)
                    # What relativistic objectives compare with.
                    others = tf.nest.map_structure(_constant_mean, logits)
                    loss = tf.reduce_mean(gan.objective.generator(others, logits, gan.head_weights()))
                for total, gradient in zip(squares, tape.gradient(loss, variables), strict=True):
                    if gradient is not None:
                        total += np.square(np.asarray(tf.convert_to_tensor(gradient), np.float64))
        whole = sum(total.sum() for total in squares)
        if not whole > 0.0:
            raise TrainingError(
                "consolidation: the discriminator's verdict on the source's samples moves no weight of the generator. "
                "Begin with the source's discriminator too (init.discriminator), or leave consolidation out."
            )
        worth = {id(v): total / whole for v, total in zip(variables, squares, strict=True)}
        for kept, weight in zip(self.worth.weights, gan.generator.weights, strict=True):
            kept.assign(worth.get(id(weight), np.zeros(weight.shape)))

    def penalty(self, gan: "GAN") -> tf.Tensor:
        """The penalty of the generator's weights, a scalar."""
        terms = [
            tf.reduce_sum(worth * tf.square(weight - source))
            for weight, source, worth in zip(
                gan.generator.weights, self.source.weights, self.worth.weights, strict=True
            )
        ]
        return tf.add_n(terms)


def _constant_mean(logits: tf.Tensor) -> tf.Tensor:
    """Their mean in place of each, through which no gradient passes."""
    return tf.stop_gradient(tf.ones_like(logits) * tf.reduce_mean(logits))


def _all_trained(network: keras.Model) -> list:
    """The weights that training changes, those of frozen layers too, which may be trained later."""
    frozen = [layer for layer in network._flatten_layers() if not layer.trainable]
    for layer in frozen:
        layer.trainable = True
    found = network.trainable_variables
    for layer in frozen:
        layer.trainable = False
    return found
