"""Penalties on a discriminator, each one value per example.

`critic` maps what the discriminator looks at (a tensor or a structure of tensors, each `(batch, ...)`) to one number
per example. Squared norms sum over all axes but the batch, of every floating leaf; integer leaves are refused.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ganzoo.distribution import GlobalRandom
from ganzoo.errors import RecipeError, unknown_name

Critic = Callable[[Any], tf.Tensor]


def squared_gradient_norm(critic: Critic, inputs: Any) -> tf.Tensor:
    """||grad_x critic(x)||^2 per example, shape `(batch,)`, float32."""
    leaves = tf.nest.flatten(inputs)
    wrong = [leaf.dtype.name for leaf in leaves if not leaf.dtype.is_floating]
    if wrong:
        raise RecipeError(
            f"A gradient penalty needs floating inputs; received {', '.join(wrong)}. Penalise an embedding of discrete "
            "samples instead, or remove the regularizer."
        )
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(leaves)
        total = tf.reduce_sum(critic(inputs))
    gradients = tape.gradient(total, leaves, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return sum(
        tf.reduce_sum(tf.square(tf.reshape(tf.cast(g, tf.float32), (tf.shape(g)[0], -1))), axis=1) for g in gradients
    )


def r1(critic: Critic, real: Any, fake: Any, random: GlobalRandom) -> tf.Tensor:
    """R1 = 1/2 * ||grad_x D(x)||^2 at real x (Mescheder et al. 2018, arXiv:1801.04406, eq. 9).

    Penalties differentiate by what the discriminator sees: augmented samples where a recipe augments.
    """
    return 0.5 * squared_gradient_norm(critic, real)


def r2(critic: Critic, real: Any, fake: Any, random: GlobalRandom) -> tf.Tensor:
    """R2 = 1/2 * ||grad_x D(x)||^2 at generated x (Mescheder et al. 2018, eq. 10)."""
    return 0.5 * squared_gradient_norm(critic, fake)


def gradient_penalty(critic: Critic, real: Any, fake: Any, random: GlobalRandom) -> tf.Tensor:
    """(||grad_x D(x)||_2 - 1)^2 at x = e * real + (1 - e) * fake, e ~ U[0, 1) (Gulrajani et al. 2017).

    arXiv:1704.00028, eq. 3. One e per example, the same for all its leaves.
    """
    ratio = random.uniform((), "interpolation")

    def interpolate(r: tf.Tensor, f: tf.Tensor) -> tf.Tensor:
        e = tf.cast(tf.reshape(ratio, [-1] + [1] * (r.shape.rank - 1)), r.dtype)
        return e * r + (1 - e) * f

    mixed = tf.nest.map_structure(interpolate, real, fake)
    return tf.square(tf.sqrt(squared_gradient_norm(critic, mixed) + 1e-12) - 1.0)


REGULARIZERS = {"r1": r1, "r2": r2, "gradient_penalty": gradient_penalty}


def get_regularizer(name: str) -> Callable[[Critic, Any, Any, GlobalRandom], tf.Tensor]:
    """The penalty of a name; raises `RecipeError` naming the nearest one."""
    if name not in REGULARIZERS:
        raise RecipeError(unknown_name("regularizer", name, REGULARIZERS))
    return REGULARIZERS[name]
