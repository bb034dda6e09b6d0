"""Whether weights are finite, and belong to the recipe next to them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo.errors import TrainingError
from ganzoo.files.reading import FileProblem, open_regular, read_text
from ganzoo.files.tensors import MOST_WEIGHTS

RECIPE_DIGEST = "recipe_sha256"  # in the metadata of weights


def not_finite(arrays: Mapping[str, Any]) -> str:
    """Which array holds NaN or infinite values, in words; empty where none does."""
    for name, array in arrays.items():
        array = np.asarray(array)
        # A sum is NaN or infinite wherever a value is, and needs no memory; it may also overflow by itself.
        if array.dtype.kind not in "fVc":
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(np.sum(array, dtype="float64")):
                continue
        count = int(np.sum(~np.isfinite(array.astype("float64"))))
        if count:
            return f"{count:,} of the {array.size:,} values of '{name}' are NaN or infinite"
    return ""


def recipe_digest(text: str) -> str:
    """A hash of a recipe's YAML text; lines of comments, empty lines and spaces at the ends of lines do not count."""
    lines = [line.rstrip() for line in text.splitlines()]
    kept = [line for line in lines if line and not line.lstrip().startswith("#")]
    return hashlib.sha256("\n".join(kept).encode()).hexdigest()


def check_recipe(weights: Path, recipe: Path) -> None:
    """Raise a `TrainingError` where a recipe is not the one that weights were saved with, so far as these say it."""
    wanted = (read_metadata(weights) or {}).get(RECIPE_DIGEST)
    if wanted is not None and wanted != recipe_digest(_read_recipe(recipe)):
        raise TrainingError(
            f"{recipe} is not the recipe that {weights.name} was written with: it was changed or damaged. Put back the "
            "file as it was (a run has it twice: recipe.yaml and preset/recipe.yaml), or train in a new directory."
        )


def _read_recipe(path: Path) -> str:
    return read_text(path, TrainingError)


def read_metadata(path: Path) -> dict[str, str] | None:
    """The metadata of a safetensors file; None where there is no such file, or it is broken."""
    from safetensors import SafetensorError, safe_open

    try:
        open_regular(path, MOST_WEIGHTS).close()
        with safe_open(path, "numpy") as file:
            return file.metadata() or {}
    except (FileProblem, SafetensorError, OSError):
        return None
