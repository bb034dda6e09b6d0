"""Pretraining: methods that give parts of a GAN their first weights, by name.

A method is one file of this folder, with the one subclass of `Task` in it, and one YAML in
`zoo_configs/_pretraining/` with its recipe's keys, which are laid over those of the entry. What comes out is a preset
with named parts: `trunk` always, others as the method says.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import RecipeError, unknown_name
from ganzoo.recipes import entries
from ganzoo.recipes.yaml_files import merge, nest, read_yaml

if TYPE_CHECKING:
    from ganzoo.pretraining.task import Task
    from ganzoo.recipes.schema import Recipe

log = logging.getLogger("ganzoo")

STUDENT = "student"  # the one network of a pretraining, by whose name its optimizer goes

# Keys of a GAN's recipe that nothing reads here; `Task.uses` names exceptions.
_IDLE = ("augment", "auxiliary", "consolidation", "evaluation", "guards", "objective", "regularizers")
_IDLE_IN_TRAINING = ("d_steps", "ema_half_life", "ema_ramp", "reuse_fakes")
_FRESH = {
    "weights": None, "scores": {}, "optimizers": {}, "init": {}, "freeze": [], "pretrain": {}, "consolidation": 0.0,
    "auxiliary": [], "distillation": None,
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
    return entries.own_class(f"ganzoo.pretraining.{method}", "Task", "build_parts")


def small_form(method: str) -> dict[str, Any]:
    """The keys that make a method's recipe tiny, for tests."""
    return read_yaml(_paths()[method]).get("tiny", {})


def recipe(method: str, name: str, overrides: Mapping[str, Any] | None = None) -> "Recipe":
    """The validated recipe of a method for an entry: the entry's keys, the method's over them, then the overrides.

    Args:
        method: one of `list_methods()`.
        name: an entry or a run directory.
        overrides: recipe keys, nested or dotted; the method's own options stand under `pretrain`.

    Returns:
        A recipe whose `pretrain` holds the method's name and all its options.

    Raises:
        RecipeError: no such method or entry, or a wrong key or value.
    """
    kind = task_class(method)
    entry = entries.get_entry(name)
    own = {key: value for key, value in read_yaml(_paths()[method]).items() if key != "tiny"}
    own["summary"] = f"{own['summary'].partition(';')[0]}, for {entry.raw.get('entry', name)}"
    given = without_idle(method, overrides or {})
    options = given.get("pretrain", {})
    if not isinstance(options, Mapping) or options.get("method", method) != method:
        raise RecipeError(f"pretrain holds the options of {method}, by name. Received: {options!r}.")
    raw = merge(merge(entry.raw | _FRESH, own), given)
    raw["pretrain"] = {"method": method, **kind.read_options(raw.get("pretrain") or {}).model_dump(mode="json")}
    return entries.ZooEntry(entry.name, entry.path, raw).recipe()


def without_idle(method: str, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides, nested, without keys of the training that mean nothing to a pretraining; logs all that have no effect.

    Args:
        method: one of `list_methods()`.
        overrides: recipe keys, nested or dotted.
    """
    given = nest(overrides)
    idle = [key for key in _IDLE if given.get(key) and key not in task_class(method).uses]
    if isinstance(training := given.get("training"), Mapping):  # the recipe refuses anything else
        idle += [f"training.{key}" for key in training if key in _IDLE_IN_TRAINING]
        given["training"] = {key: value for key, value in training.items() if key not in _IDLE_IN_TRAINING}
    if idle:
        log.warning("These keys have no effect on a pretraining: %s.", ", ".join(idle))
    return given


def _paths() -> dict[str, Path]:
    return entries.recipe_paths("_pretraining")
