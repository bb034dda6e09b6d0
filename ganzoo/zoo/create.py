"""GANs with fresh weights, by the name of an entry or from a recipe."""

from typing import TYPE_CHECKING, Any

from ganzoo.core.building import buildable
from ganzoo.recipes.entries import gan_class, get_entry

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN
    from ganzoo.pretraining.model import Pretraining
    from ganzoo.recipes.schema import Recipe


def create(name: str, **overrides: Any) -> "GAN":
    """A GAN with fresh weights, built but not compiled.

    Args:
        name: an entry's name or a run directory.
        overrides: recipe keys, nested (`training={"batch_size": 8}`) or dotted (`**{"training.batch_size": 8}`).

    Raises:
        RecipeError: no such entry, or a wrong key or value; names it and the nearest right one.
    """
    return create_from_recipe(get_entry(name).recipe(**overrides))


def create_from_recipe(recipe: "Recipe") -> "GAN":
    """A GAN with fresh weights from a validated recipe; raises `RecipeError` where its values fit no network."""
    kind = gan_class(recipe.gan)
    with buildable(recipe):
        return kind(recipe)


def create_pretraining(recipe: "Recipe") -> "Pretraining":
    """The model of a pretraining recipe, built but not compiled.

    Args:
        recipe: what `ganzoo.pretraining.recipe` returned.

    Raises:
        RecipeError: the method does not support the entry; says why.
    """
    from ganzoo.pretraining.model import Pretraining

    with buildable(recipe):
        return Pretraining(recipe)
