"""How networks are built from a recipe that may come from anyone."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ganzoo.errors import GanzooError, RecipeError

if TYPE_CHECKING:
    from ganzoo.recipes.schema import Recipe


MOST_PARAMETERS = 1_000_000_000


@contextlib.contextmanager
def buildable(recipe: "Recipe") -> Iterator[None]:
    """A context in which a recipe's networks are built, of at most `MOST_PARAMETERS` parameters in all.

    A recipe may come from anyone: values that the architecture cannot take, and networks that would take the machine's
    memory, end in a `RecipeError` that names the recipe.
    """
    import tensorflow as tf

    made = 0

    def creator(make: Callable[..., Any], **arguments: Any) -> Any:
        nonlocal made
        made += _first_size(arguments.get("initial_value"))
        if made > MOST_PARAMETERS:
            raise RecipeError(
                f"The networks of {recipe.entry} would have more than {MOST_PARAMETERS:,} parameters. Lower the sizes "
                "under 'model' and 'data'."
            )
        return make(**arguments)

    try:
        with tf.variable_creator_scope(creator):
            yield
    except GanzooError:
        raise
    except (ValueError, TypeError, ArithmeticError, IndexError, MemoryError, tf.errors.OpError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise RecipeError(
            f"The networks of {recipe.entry} cannot be built ({reason:.300}). Change what stands under 'model' and "
            "'data' in the recipe."
        ) from error


def _first_size(initial_value: Any) -> int:
    """How many numbers a variable will have, before its first value takes memory; 0 where Keras did not ask for it."""
    import keras

    for cell in getattr(initial_value, "__closure__", None) or ():  # Keras' function of the variable that it fills
        if isinstance(cell.cell_contents, keras.Variable):
            return math.prod(cell.cell_contents.shape)
    return 0
