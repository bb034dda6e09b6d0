"""What a train step is made of: the phases that train one network each, what they work on, and their gradients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import tensorflow as tf

from ganzoo import distribution
from ganzoo.distribution import GlobalRandom
from ganzoo.losses.gradient_penalties import get_regularizer
from ganzoo.recipes.schema import Regularizer


@dataclass(frozen=True)
class Batch:
    """What a phase works on: one replica's reals in the domain's units, conditions, latents, stateless randomness.

    `fake` are samples that were made of these latents already, if they were.
    """

    real: Any
    conditions: dict[str, tf.Tensor]
    latents: dict[str, tf.Tensor]
    random: GlobalRandom
    fake: Any = None


@dataclass(frozen=True)
class Phase:
    """A part of the step that trains one network.

    Attributes:
        network: a key of `GAN.networks()` and of the recipe's optimizers.
        loss: `loss(batch, context) -> (loss per example (batch,), logs)`, differentiated by the network's weights.
        prepare: `prepare(batch) -> context`, computed without gradient; penalties read its `real` and `fake`.
        critic: `critic(batch, inputs) -> (batch,)`, what the penalties differentiate.
        penalties: regularizers added to the loss.
        steps: optimizer steps in one train step, each with fresh reals.
        also: other networks whose weights the loss trains too.
        direct: where it reuses fakes, its loss depends on the network's weights beside them.
        reuses: it works on the batch and the fakes of the step before, which the generator then makes but once; the
            phase's network is the generator.
    """

    network: str
    loss: Callable[[Batch, Any], tuple[tf.Tensor, dict[str, tf.Tensor]]]
    prepare: Callable[[Batch], Any] = lambda batch: {}
    critic: Callable[[Batch, Any], tf.Tensor] | None = None
    penalties: tuple[Regularizer, ...] = ()
    steps: int = 1
    also: tuple[str, ...] = ()
    reuses: bool = False
    direct: bool = False


def phase_gradients(
    phase: Phase,
    variables: Sequence[Any],
    optimizer: Any,
    seed: int,
    purpose: str,
    real: Any,
    conditions: dict[str, tf.Tensor],
    latents: dict[str, tf.Tensor],
    fake: Any,
    step: tf.Tensor,
) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
    """The gradients of a phase's loss and penalties, each replica's share of the global mean.

    By the network's variables; by the fakes where the phase reuses them.
    """
    count = tf.shape(tf.nest.flatten(real)[0])[0]
    batch = Batch(real, conditions, latents, GlobalRandom(seed, step, purpose, count), fake)
    context = phase.prepare(batch)
    leaves = tf.nest.flatten(fake) if phase.reuses else []
    targets = [*leaves, *(variables if phase.direct else ())] if phase.reuses else variables
    scale = getattr(optimizer, "scale_loss", lambda loss: loss)
    logs: dict[str, tf.Tensor] = {}

    def penalty(regularizer: Regularizer) -> tf.Tensor:
        values = get_regularizer(regularizer.name)(
            partial(phase.critic, batch), context["real"], context["fake"], batch.random.child(regularizer.name)
        )
        return distribution.scale_loss(values)

    with tf.GradientTape() as tape:
        tape.watch(leaves)
        per_example, extra = phase.loss(batch, context)
        logs[f"{phase.network}_loss"] = total = distribution.scale_loss(per_example)
        for regularizer in phase.penalties:
            if regularizer.every == 1:
                logs[regularizer.name] = value = penalty(regularizer)
                total += regularizer.weight * value
        total = scale(total)
    logs |= {name: distribution.scale_loss(value) for name, value in extra.items()}
    gradients = gradient(tape, total, targets)

    def lazily(regularizer: Regularizer) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(leaves)
            value = penalty(regularizer)
            total = scale(regularizer.weight * regularizer.every * value)
        # Logged k-fold, as it counts, so that a mean over steps is the penalty's.
        return [regularizer.every * value, *gradient(tape, total, targets)]

    for regularizer in phase.penalties:
        if regularizer.every > 1:
            value, *added = tf.cond(
                tf.equal(step % regularizer.every, 0),
                partial(lazily, regularizer),
                partial(_zeros_like, [total, *gradients]),
            )
            logs[regularizer.name] = value
            gradients = [g + a for g, a in zip(gradients, added, strict=True)]
    return gradients, logs


def gradient(tape: tf.GradientTape, total: Any, variables: Sequence[Any], factors: Any = None) -> list[tf.Tensor]:
    """The gradient by each variable, zeros where `total` does not depend on it; `factors`: of what `total` leads to."""
    found = tape.gradient(total, variables, output_gradients=factors)
    return [
        tf.zeros(v.shape, v.dtype) if g is None else tf.convert_to_tensor(g)
        for g, v in zip(found, variables, strict=True)
    ]


def _zeros_like(tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    return [tf.zeros_like(tensor) for tensor in tensors]
