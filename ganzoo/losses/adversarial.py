"""GAN objectives. Each returns one loss per example, shape `(batch,)`; reducing over the batch happens elsewhere.

`real` and `fake` are logits: a tensor `(batch, ...)` or a list of such tensors, one for each head of the
discriminator. A head's positions are averaged, heads are summed. With s the softplus, s(x) = log(1 + e^x):
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from ganzoo.errors import RecipeError, unknown_name

Logits = Any


@dataclass(frozen=True)
class Objective:
    """A pair of losses for one head: `discriminator(real, fake)` and `generator(real, fake)`, elementwise."""

    name: str
    formula: str
    discriminator_head: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    generator_head: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

    def discriminator(self, real: Logits, fake: Logits, weights: list | None = None) -> tf.Tensor:
        """The discriminator's loss per example, shape `(batch,)`. `weights`: one factor a head, default 1."""
        return _sum_heads(self.discriminator_head, real, fake, weights)

    def generator(self, real: Logits, fake: Logits, weights: list | None = None) -> tf.Tensor:
        """The generator's loss per example, shape `(batch,)`; `real` matters to relativistic objectives only."""
        return _sum_heads(self.generator_head, real, fake, weights)


def mean_of_positions(values: tf.Tensor) -> tf.Tensor:
    """`(batch, ...)` -> `(batch,)` in float32."""
    values = tf.cast(values, tf.float32)
    return tf.reduce_mean(tf.reshape(values, (tf.shape(values)[0], -1)), axis=1)


def sum_of_heads(heads: list[tf.Tensor], weights: list | None = None) -> tf.Tensor:
    """Heads `(batch, ...)`, each averaged over its positions and times its weight, summed: `(batch,)` in float32."""
    weights = [1.0] * len(heads) if weights is None else weights
    return sum(w * mean_of_positions(head) for w, head in zip(weights, heads, strict=True))


def _sum_heads(loss: Callable, real: Logits, fake: Logits, weights: list | None) -> tf.Tensor:
    pairs = zip(tf.nest.flatten(real), tf.nest.flatten(fake), strict=True)
    return sum_of_heads([loss(tf.cast(r, tf.float32), tf.cast(f, tf.float32)) for r, f in pairs], weights)


_ALL = (
    Objective(
        "minimax",
        "D: s(-D(x)) + s(D(G(z)));  G: -s(D(G(z)))  (Goodfellow et al. 2014, arXiv:1406.2661, eq. 1)",
        lambda real, fake: tf.nn.softplus(-real) + tf.nn.softplus(fake),
        lambda real, fake: -tf.nn.softplus(fake),
    ),
    Objective(
        "non_saturating",
        "D: s(-D(x)) + s(D(G(z)));  G: s(-D(G(z)))  (Goodfellow et al. 2014, section 3)",
        lambda real, fake: tf.nn.softplus(-real) + tf.nn.softplus(fake),
        lambda real, fake: tf.nn.softplus(-fake),
    ),
    Objective(
        "least_squares",
        "D: 1/2 (D(x) - 1)^2 + 1/2 D(G(z))^2;  G: 1/2 (D(G(z)) - 1)^2  (Mao et al. 2017, arXiv:1611.04076, eq. 9)",
        lambda real, fake: 0.5 * tf.square(real - 1.0) + 0.5 * tf.square(fake),
        lambda real, fake: 0.5 * tf.square(fake - 1.0),
    ),
    Objective(
        "hinge",
        "D: max(0, 1 - D(x)) + max(0, 1 + D(G(z)));  G: -D(G(z))  (Lim and Ye 2017, arXiv:1705.02894)",
        lambda real, fake: tf.nn.relu(1.0 - real) + tf.nn.relu(1.0 + fake),
        lambda real, fake: -fake,
    ),
    Objective(
        "wasserstein",
        "D: D(G(z)) - D(x);  G: -D(G(z))  (Arjovsky et al. 2017, arXiv:1701.07875)",
        lambda real, fake: fake - real,
        lambda real, fake: -fake,
    ),
    Objective(
        "relativistic",
        "D: s(D(G(z)) - D(x));  G: s(D(x) - D(G(z))), pairs in batch order  (Jolicoeur-Martineau 2018, "
        "arXiv:1807.00734; Huang et al. 2024, arXiv:2501.05441)",
        lambda real, fake: tf.nn.softplus(fake - real),
        lambda real, fake: tf.nn.softplus(real - fake),
    ),
)
OBJECTIVES = {objective.name: objective for objective in _ALL}


def get_objective(name: str) -> Objective:
    """The objective of a name; raises `RecipeError` naming the nearest one."""
    if name not in OBJECTIVES:
        raise RecipeError(unknown_name("objective", name, OBJECTIVES))
    return OBJECTIVES[name]
