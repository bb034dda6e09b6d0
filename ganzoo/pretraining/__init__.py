"""Pretraining: methods that give parts of a GAN their first weights, by name.

A method is one file of this folder, with the one subclass of `Task` in it, and one YAML in
`zoo_configs/_pretraining/` with its recipe's keys, which are laid over those of the entry. What comes out is a preset
with named parts: `trunk` always, others as the method says.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import registry
from ganzoo.errors import RecipeError, unknown_name
from ganzoo.recipe_files import merge, nest, read_yaml

if TYPE_CHECKING:
    from ganzoo.config import Recipe
    from ganzoo.pretraining.model import Pretraining
    from ganzoo.pretraining.task import Task

log = logging.getLogger("ganzoo")

_IDLE = ("auxiliary", "consolidation", "evaluation", "guards", "objective", "regularizers")
_FRESH = {
    "weights": None, "scores": {}, "optimizers": {}, "init": {}, "freeze": [], "pretrain": {}, "consolidation": 0.0,
    "auxiliary": [],
}  # fmt: skip


def list_methods() -> dict[str, str]:
    """The methods by name, each with its summary. Loads no TensorFlow."""
    return {name: read_yaml(path)["summary"] for name, path in _paths().items()}


def task_class(method: str) -> "type[Task]":
    """The class of a method's task.

    Raises:
        RecipeError: no such method; names the nearest one.
    """
    if method not in _paths():
        raise RecipeError(unknown_name("pretraining method", method, _paths()))
    from ganzoo.pretraining.task import Task

    return registry.own_subclass(f"ganzoo.pretraining.{method}", Task)


def small_form(method: str) -> dict[str, Any]:
    """The keys that make a method's recipe tiny, for tests."""
    return read_yaml(_paths()[method]).get("tiny", {})


def recipe(method: str, name: str, overrides: Mapping[str, Any] | None = None) -> "Recipe":
    """The validated recipe of a method for an entry: the entry's keys, the method's over them, then the overrides.

    Args:
        method: one of `list_methods()`.
        name: an entry or a run directory.
        overrides: recipe keys, nested or dotted; the method's own options stand under `pretrain`.
    """
    kind = task_class(method)
    entry = registry.get_entry(name)
    own = {key: value for key, value in read_yaml(_paths()[method]).items() if key != "tiny"}
    own["summary"] = f"{own['summary']}, for {entry.raw.get('entry', name)}"
    given = nest(overrides or {})
    if idle := [key for key in _IDLE if given.get(key)]:
        log.warning("No effect on a pretraining: %s.", ", ".join(idle))
    raw = merge(merge(entry.raw | _FRESH, own), given)
    raw["pretrain"] = {"method": method, **kind.read_options(raw.get("pretrain") or {}).model_dump(mode="json")}
    return registry.ZooEntry(entry.name, entry.path, raw).recipe()


def create(recipe: "Recipe") -> "Pretraining":
    """The model of a pretraining recipe, built but not compiled.

    Raises:
        RecipeError: the method does not support the entry; says why.
    """
    from ganzoo.pretraining.model import Pretraining

    return Pretraining(recipe)


def _paths() -> dict[str, Path]:
    return registry.recipe_paths("_pretraining")
