"""Which add-ons a recipe asks for, and what they are given.

Importing this module lets every GAN have them: those of `create`, of `load`, and those that Keras makes of a `.keras`
file. It knows all of them, and nothing imports it but by its name (`ganzoo.recipes.entries.import_classes`).
"""

from ganzoo.addons.adaptive_augment import AdaptiveAugment
from ganzoo.addons.auxiliary_tasks import AuxiliaryTasks
from ganzoo.addons.distillation import Distillation
from ganzoo.addons.weight_consolidation import WeightConsolidation
from ganzoo.core.addon import AddOn, compose_by
from ganzoo.recipes.schema import Recipe
from ganzoo.zoo.load import load


def addons_of(recipe: Recipe) -> list[AddOn]:
    """New add-ons for a GAN of a recipe. The order of those that make weights is the order of random draws."""
    found: list[AddOn] = []
    if recipe.consolidation:
        found.append(WeightConsolidation(recipe.consolidation))
    if "augment" in recipe.guards.act:
        found.append(AdaptiveAugment())
    if recipe.distillation:
        found.append(Distillation(recipe.distillation, load))
    if recipe.auxiliary:
        found.append(AuxiliaryTasks(recipe.auxiliary))
    return found


compose_by(addons_of)
