"""Names of classes: those of a generator and those of data, compared by name and never by number alone."""

import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganzoo.data.names import class_names as printable_names
from ganzoo.errors import EvaluationError, GanzooError
from ganzoo.runs.kept_data import described, run_of
from ganzoo.weights.integrity import read_metadata
from ganzoo.weights.preset_files import CLASS_NAMES, WEIGHTS_FILE

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN
    from ganzoo.data.sample_set import SampleSet
    from ganzoo.recipes.schema import Recipe


log = logging.getLogger("ganzoo")
_LISTED = 8  # names in an error


def generated_classes(gan: "GAN") -> tuple[str, ...]:
    """The names of the classes that a generator makes, in the order of their numbers.

    They are `gan.class_names`, or else those of the recipe's published weights.

    Returns:
        One name for each class; empty where the GAN has no classes, or where their names are not known.
    """
    count = count_of(gan)
    published = gan.recipe.weights.class_names if gan.recipe.weights else ()
    return _fitting(gan.class_names, count) or _fitting(published, count)


def count_of(gan: "GAN") -> int:
    """How many classes a generator makes; 0 for one without classes."""
    return next((spec.classes for spec in gan.conditions_spec().values() if hasattr(spec, "classes")), 0)


def find_names(recipe: "Recipe", folder: Path, count: int, recipe_of: Callable[[str], "Recipe"]) -> tuple[str, ...]:
    """The names of the classes of a GAN whose weights are in a folder, from the first place that knows them all.

    1. The preset itself (`CLASS_NAMES` in its file's metadata).
    2. The teacher, where the GAN was trained on samples of a teacher alone: these have numbers, no names.
    3. The published weights of the recipe (`weights.class_names`); recipes of runs have none.
    4. The data of the run that the preset belongs to (`data.json`).

    Args:
        recipe: the GAN's.
        folder: the preset or the run.
        count: of the classes; 0 gives no names.
        recipe_of: gives the recipe of an entry, a run or a preset by its name; may raise `GanzooError`.

    Returns:
        One name for each class, safe to print; empty where they are not known.
    """
    if not count:
        return ()
    found = _fitting(_kept(folder), count)
    if not found and recipe.distillation and recipe.distillation.alone:
        teacher = recipe.distillation.teacher
        with contextlib.suppress(GanzooError):  # it may be gone
            found = _of_folder(recipe_of(teacher), Path(teacher), count)
    return found or _of_folder(recipe, folder, count)


def _of_folder(recipe: "Recipe", folder: Path, count: int) -> tuple[str, ...]:
    published = recipe.weights.class_names if recipe.weights else ()
    if found := _fitting(_kept(folder), count) or _fitting(published, count):
        return found
    return _fitting(described(run_of(folder)).get("class_counts") or (), count)


def _kept(folder: Path) -> list[str]:
    """The names in the metadata of a preset or of a run's; none where the text is no list of texts."""
    metadata = read_metadata(folder / "preset" / WEIGHTS_FILE) or read_metadata(folder / WEIGHTS_FILE) or {}
    try:
        found = json.loads(metadata.get(CLASS_NAMES, "[]"))
    except (ValueError, RecursionError):
        return []
    return found if isinstance(found, list) and all(isinstance(name, str) for name in found) else []


def _fitting(names: Iterable[str], count: int) -> tuple[str, ...]:
    names = list(names)
    return printable_names(map(str, names)) if count and len(names) == count else ()


def are_numbers(names: Sequence[str]) -> bool:
    """Whether names are only the numbers of the classes, as labels of arrays have them: that says nothing."""
    return list(names) == [str(number) for number in range(len(names))]


def labels_for(gan: "GAN", real: "SampleSet") -> np.ndarray | None:
    """The class numbers of the generator for real samples, matched by name.

    Args:
        gan: the GAN that is scored.
        real: the data, whose classes may have other numbers than the generator's.

    Returns:
        int32 `(N,)`, or None where the GAN or the data have no classes.

    Raises:
        EvaluationError: the data have classes that the generator does not make, or another number of classes where
            either side's names are not known.
    """
    spec = next(iter(gan.conditions_spec().values()), None)
    if spec is None:
        return None
    if real.labels is None:
        log.info(
            "The data have no classes: each of the generator's %d classes is generated equally often.", spec.classes
        )
        return None
    given, made = real.class_names, generated_classes(gan)
    if not set(given) <= set(made) and (are_numbers(given) or are_numbers(made)):
        return _by_number(real, spec.classes, made)
    if unknown := [name for name in given if name not in made]:
        raise EvaluationError(
            "The classes of the data must be classes of the generator. Expected: "
            f"{_listed(made)}. Received: {_listed(given)}, of which the generator does not make {_listed(unknown)}. "
            "Rename the classes of the data as in the training, remove them, or give data without classes."
        )
    if missing := [name for name in made if name not in given]:
        log.warning(
            "The data lack %d of the generator's %d classes: %s. These are not generated and not scored.",
            len(missing),
            len(made),
            _listed(missing),
        )
    numbers = np.array([made.index(name) for name in given], np.int32)
    return numbers[np.asarray(real.labels)]


def _by_number(real: "SampleSet", classes: int, made: Sequence[str]) -> np.ndarray:
    """The data's own numbers, where one side's names are not known."""
    made = () if are_numbers(made) else made
    if len(real.class_names) != classes:
        raise EvaluationError(
            f"The data must have the classes of the generator. Expected: {classes} classes"
            f"{f', {_listed(made)}' if made else ' (their names are not known)'}. Received: {len(real.class_names)} "
            f"classes, {_listed(real.class_names)}. Give data with the classes of the training, or without classes."
        )
    log.warning(
        "The names of the classes of the %s are not known: the generator's %d classes%s are matched with the data's, "
        "%s, in this order.",
        "data" if made else "generator",
        classes,
        f", {_listed(made)}," if made else "",
        _listed(real.class_names),
    )
    return np.asarray(real.labels, np.int32)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:_LISTED])
    return shown + (f", ... ({len(names)} in all)" if len(names) > _LISTED else "")
