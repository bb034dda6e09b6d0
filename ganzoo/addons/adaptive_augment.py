"""A probability of augmentation that is part of the run's state, so that a guard can raise it.

As in Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data", https://arxiv.org/abs/2006.06676,
it changes while the training runs; what raises it here is a sign of collapse (`ganzoo.runs.collapse_guard`).
"""

from typing import TYPE_CHECKING, Any

import keras

from ganzoo.core.addon import AddOn
from ganzoo.errors import RecipeError

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN

MOST_AUGMENTED = 0.9
_STEP = 0.1


class AdaptiveAugment(AddOn):
    """The probability as a variable, from that of the recipe up to `MOST_AUGMENTED`."""

    def build(self, gan: "GAN") -> None:
        """Put a variable in the place of the recipe's number.

        Raises:
            RecipeError: nothing is augmented, or the probability cannot be raised.
        """
        augment = gan.recipe.augment
        if not augment.policy or augment.probability >= MOST_AUGMENTED:
            raise RecipeError(
                f"guards.act: 'augment' raises augment.probability up to {MOST_AUGMENTED}. Give an augment.policy, "
                "and a lower initial probability."
            )
        self.probability = gan.augment_probability = gan.add_weight(
            name="augment_probability",
            shape=(),
            initializer=keras.initializers.Constant(augment.probability),
            trainable=False,
            aggregation="only_first_replica",
        )

    def numbers(self) -> dict[str, Any]:
        """The probability."""
        return {"augment_probability": self.probability}

    def strengthen(self) -> float | None:
        """Raise the probability by a step; what it is then, None where it is the greatest already."""
        if float(self.probability) >= MOST_AUGMENTED - 1e-6:
            return None
        self.probability.assign(min(float(self.probability) + _STEP, MOST_AUGMENTED))
        return float(self.probability)
