"""The precision in which networks are built: the recipe's, or that of `keras.config.set_dtype_policy`."""

import contextlib
from collections.abc import Iterator
from typing import get_args

import keras

from ganzoo.errors import RecipeError
from ganzoo.recipes.schema import Recipe, Training


def with_global_policy(recipe: Recipe) -> Recipe:
    """The recipe with the precision of `keras.config.set_dtype_policy`, where it says none itself.

    A recipe that was saved (of a run, a preset or a `.keras` file) always says one.
    """
    policy = keras.config.dtype_policy().name
    if "precision" in recipe.training.model_fields_set or policy == recipe.training.precision:
        return recipe
    allowed = get_args(Training.model_fields["precision"].annotation)
    if policy not in allowed:
        raise RecipeError(
            f"A GAN cannot be trained with Keras' dtype policy '{policy}'. Expected: one of {list(allowed)}. Choose "
            "one by keras.config.set_dtype_policy, or by the recipe's training.precision."
        )
    training = recipe.training.model_copy(update={"precision": policy})
    return recipe.model_copy(update={"training": training})


@contextlib.contextmanager
def dtype_policy(name: str) -> Iterator[None]:
    """Let what is built in a `with` block have a Keras dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
