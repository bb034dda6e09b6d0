"""Runs that differ in nothing but their seed, and the ratios of their last scores with bands.

One run says little about its recipe: another seed gives other scores. `ganzoo compare` therefore takes runs of the same
recipe and data together, and compares recipes by `ganzoo.metrics.bands`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ganzoo.metrics import bands
from ganzoo.recipes import entries, yaml_files

_ALONE = ("seed", "init", "entry")  # keys of a recipe that say nothing of how it trains, or are compared on their own


class Difference(NamedTuple):
    """A score of one recipe divided by that of another, over their runs."""

    score: str
    runs: tuple[str, ...]
    reference: tuple[str, ...]
    band: bands.Band


def signature(run: Path) -> str:
    """Equal for two runs whose recipes, and those of the runs that they started from, differ in the seed alone."""
    raw = entries.get_entry(str(run)).raw
    kept = {key: value for key, value in raw.items() if key not in _ALONE}
    return json.dumps([kept, _started_from(raw.get("init"))], sort_keys=True, default=str)


def differences(runs: Sequence[Mapping[str, Any]], scores: Sequence[str]) -> list[Difference]:
    """Each recipe's scores divided by those of the first run's recipe.

    Args:
        runs: each with `run` (its label), `recipe` (its `signature`) and `scores` (the last ones, by name).
        scores: the names of the scores that are compared, lower is better.

    Returns:
        One for each recipe but the first and each score that both have; bands are corrected for the recipes.
    """
    recipes = list(dict.fromkeys(run["recipe"] for run in runs))
    groups = {recipe: [run for run in runs if run["recipe"] == recipe] for recipe in recipes}
    found = []
    for score in scores:
        values = {
            recipe: [run["scores"][score] for run in mine if score in run["scores"]] for recipe, mine in groups.items()
        }
        spread = bands.pooled(list(values.values()))
        others = [recipe for recipe in recipes[1:] if values[recipe] and values[recipes[0]]]
        for recipe in others:
            band = bands.compared(values[recipe], values[recipes[0]], spread, len(others))
            labels = (tuple(run["run"] for run in groups[one]) for one in (recipe, recipes[0]))
            found.append(Difference(score, *labels, band))
    return found


def _started_from(init: Any) -> Any:
    """What parts of a GAN started from: runs by their signatures, everything else as it is."""
    if isinstance(init, Mapping):
        return {key: _started_from(value) for key, value in init.items()}
    if isinstance(init, str):
        where, _, part = init.rpartition(":")
        if where and (Path(where) / yaml_files.RUN_RECIPE).is_file():
            return [signature(Path(where)), part]
    return init
