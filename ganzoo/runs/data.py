"""What a run trains on: the data as its recipe wants them, and what is kept about them."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo import pretraining
from ganzoo.data.names import listed
from ganzoo.domains import get_domain
from ganzoo.errors import DataError
from ganzoo.recipes.schema import Recipe

if TYPE_CHECKING:
    from ganzoo.data.sample_set import SampleSet

log = logging.getLogger("ganzoo")


def _is_conditional(recipe: Recipe) -> bool:
    """Whether the entry takes classes: whether its model has a number of them."""
    return "classes" in type(recipe.model).model_fields


def read_data(recipe: Recipe, data: Any) -> tuple[Recipe, "SampleSet | None"]:
    """The data, and the recipe with the number of classes that they have; a dataset is not looked at (None).

    Raises:
        DataError: nothing readable is there, or not the classes that the recipe or the method needs.
    """
    import tensorflow as tf

    if isinstance(data, tf.data.Dataset):
        return recipe, None
    conditional = _is_conditional(recipe) and recipe.model.classes != 0
    method = recipe.pretrain.get("method")
    learns = method is not None and pretraining.task_class(method).labelled
    sample_set = get_domain(recipe.domain).read(data, recipe.data, conditional or learns)
    for note in sample_set.notes:
        log.info(note)
    for problem in sample_set.problems[:10]:
        log.warning("Skipped %s: %s", problem.path, problem.reason)
    if len(sample_set.problems) > 10:
        log.warning("... and %d more, all in the report.", len(sample_set.problems) - 10)
    count = len(sample_set.class_names) if sample_set.labels is not None else 0
    if count and (conditional or learns) and not any("read as classes" in note for note in sample_set.notes):
        log.info("%d classes: %s", count, listed(sample_set.class_names))
    if method == "simclr" and len(sample_set) < recipe.training.batch_size:
        log.warning(
            "A batch of %d holds each of these %d images several times, and `simclr` treats copies as other images: "
            "--set training.batch_size=%d.",
            recipe.training.batch_size,
            len(sample_set),
            max(len(sample_set) // 2, 2),
        )
    changes: dict[str, Any] = {}
    if conditional:
        if not count and recipe.model.classes is None:
            log.info("The data have no classes: %s trains without conditions.", recipe.entry)
        classes = _classes("model.classes", recipe.model.classes, count, sample_set.source)
        changes["model"] = recipe.model.model_copy(update={"classes": classes})
    if learns:
        if count < 2:
            raise DataError(
                f"`pretrain {method}` learns from two classes or more, but {sample_set.source} has {count}. Give a "
                "folder with a sub-folder for each class, or one with a file of labels."
            )
        classes = _classes("pretrain.classes", recipe.pretrain.get("classes"), count, sample_set.source)
        changes["pretrain"] = {**recipe.pretrain, "classes": classes}
    return recipe.model_copy(update=changes), sample_set


def _classes(key: str, asked: int | None, count: int, source: str) -> int:
    """The number of classes: the data's, unless the recipe asks for another."""
    if asked is not None and asked != count:
        raise DataError(
            f"{key} = {asked}, but {source} has {count} classes. Set {key} to null (as many as the data have), or give "
            "a folder with a sub-folder for each class, or one with a file of labels."
        )
    return count


def examples(sample_set: "SampleSet | None") -> dict[str, np.ndarray] | None:
    """Some real samples from all over the data, with their classes."""
    if sample_set is None:
        return None
    evenly = np.linspace(0, len(sample_set) - 1, min(64, len(sample_set))).astype(int)
    labels = {} if sample_set.labels is None else {"class_id": np.asarray(sample_set.labels)[evenly].astype("int32")}
    return {"real": sample_set.samples[evenly], **labels}


def path_of(data: Any) -> Path | None:
    """The file or folder that `data` names, as `ganzoo.data` finds it; None where it names none."""
    if not isinstance(data, str | Path):
        return None
    try:
        path = Path(data).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError, ValueError):  # no possible name, or no such user: the reader's error says it
        return None


def describe(sample_set: "SampleSet | None", data: Any) -> dict[str, Any]:
    """What a run keeps of its data as `data.json`."""
    if sample_set is None:
        unknown = dict.fromkeys(("given", "count", "fingerprint", "samples_fingerprint"))
        return {"source": type(data).__name__, **unknown, "notes": [], "problems": []}
    path = path_of(data)
    given = data if path is None else os.path.abspath(path)
    return {
        "source": sample_set.source,
        "given": str(given) if isinstance(given, str | Path) else None,
        "count": len(sample_set),
        "fingerprint": sample_set.fingerprint,
        "samples_fingerprint": sample_set.samples_fingerprint,
        "class_names": list(sample_set.class_names),
        "class_counts": sample_set.class_counts,
        "notes": list(sample_set.notes),
        "problems": [problem._asdict() for problem in sample_set.problems],
    }
