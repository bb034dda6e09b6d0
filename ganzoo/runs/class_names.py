"""Names of classes: those of a generator and those of data, compared by name and never by number alone."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganzoo.errors import EvaluationError
from ganzoo.run_data import described, run_of

if TYPE_CHECKING:
    from ganzoo.data import SampleSet
    from ganzoo.gan import GAN

log = logging.getLogger("ganzoo")

_LISTED = 8  # names in an error


def generated_classes(gan: "GAN", where: str | Path | None = None) -> tuple[str, ...]:
    """The names of the classes that a generator makes, in the order of their numbers.

    Args:
        gan: the GAN.
        where: the entry, run or preset that it was loaded from, if any. A run's names are in its `data.json`, those of
            published weights in the recipe (`weights.class_names`).

    Returns:
        One name for each class; empty where the GAN has no classes, or where their names are not known.
    """
    count = next((spec.classes for spec in gan.conditions_spec().values() if hasattr(spec, "classes")), 0)
    names: Sequence[str] = ()
    if gan.recipe.weights is not None:
        names = gan.recipe.weights.class_names
    elif where is not None:
        names = list(described(run_of(Path(where))).get("class_counts") or ())
    return tuple(map(str, names)) if count and len(names) == count else ()


def labels_for(gan: "GAN", real: "SampleSet", where: str | Path | None = None) -> np.ndarray | None:
    """The class numbers of the generator for real samples, matched by name.

    Args:
        gan: the GAN that is scored.
        real: the data, whose classes may have other numbers than the generator's.
        where: as in `generated_classes`.

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
    given, made = real.class_names, generated_classes(gan, where)
    if not made or given == tuple(map(str, range(len(given)))) != made:  # arrays have numbers, no names
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
