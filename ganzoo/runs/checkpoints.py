"""The state of a run as files: written with a checksum, checked when it is read, the last two kept."""

import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo.errors import TrainingError, WeightsError
from ganzoo.files.tensors import read_checked, write_arrays
from ganzoo.recipes.yaml_files import RUN_RECIPE
from ganzoo.weights.integrity import RECIPE_DIGEST, _read_recipe, check_recipe, not_finite, recipe_digest

log = logging.getLogger("ganzoo")

FOLDER, SUFFIX = "checkpoints", ".safetensors"
KEPT = 2
DAMAGED = ".damaged"  # is added to the name of a checkpoint that was left out
_OWN = "run/"  # begins the names of what is the run's and not the model's
_SECONDS, _SUMS = f"{_OWN}seconds", f"{_OWN}log/"
_MOST_SECONDS = 1e10  # three hundred years
_MOST_SAMPLES = 10**16


@dataclass(frozen=True)
class SoFar:
    """How far a run is, beside its model.

    Attributes:
        seconds: of training.
        sums: those of logs that are not written yet.
        left_out: the checkpoints that were damaged when this one was read, under their new names.
    """

    seconds: float
    sums: Mapping[str, float] = field(default_factory=dict)
    left_out: tuple[Path, ...] = ()


def numbered(folder: Path, suffix: str, prefix: str = "") -> dict[int, Path]:
    """The files of a folder whose names are a number between `prefix` and `suffix`, in the order of the numbers."""
    found = {path.name.removeprefix(prefix).removesuffix(suffix): path for path in folder.glob(f"{prefix}*{suffix}")}
    return dict(sorted((int(text), path) for text, path in found.items() if re.fullmatch("[0-9]+", text)))


def listed(run: Path) -> dict[int, Path]:
    """The checkpoints of a run by their numbers of samples, in that order."""
    return numbered(run / FOLDER, SUFFIX)


def save(model: Any, run: Path, so_far: SoFar) -> Path:
    """Write the whole state under `checkpoints/`, whole or not at all; the last two are kept.

    Raises:
        TrainingError: a value of the state is NaN or infinite. The checkpoints before it stay.
        StorageError: the disk is full, or the file cannot be written for another reason.
    """
    state = model.state()
    if wrong := not_finite(state):
        raise TrainingError(
            f"After {model.sample_count:,} samples {wrong}, so that no checkpoint is written. Those before it are "
            "whole. Lower the learning rates, or use precision float32, in a new run directory."
        )
    state[_SECONDS] = np.array(so_far.seconds)
    state |= {f"{_SUMS}{name}": np.array(value) for name, value in so_far.sums.items()}
    path = run / FOLDER / f"{model.sample_count:09d}{SUFFIX}"
    write_arrays(path, state, {RECIPE_DIGEST: recipe_digest(_read_recipe(run / RUN_RECIPE))})
    for old in list(listed(run).values())[:-KEPT]:
        old.unlink()
    return path


def load(model: Any, run: Path) -> SoFar | None:
    """Set the state of the newest checkpoint that is whole; None where there is no checkpoint.

    A damaged one is left out with a warning that says why, and renamed to `NAME.damaged`.

    Raises:
        TrainingError: no checkpoint is whole, with the reason for each; or the run's recipe is not the one that they
            were written with.
    """
    reasons: dict[Path, str] = {}
    for path in reversed(listed(run).values()):
        try:
            so_far = _load(model, path, run)
        except WeightsError as error:
            reasons[path] = str(error)
            continue
        left_out = {bad: bad.with_name(bad.name + DAMAGED) for bad in reasons}
        for bad, reason in reasons.items():
            bad.replace(left_out[bad])
            log.warning("The checkpoint %s is left out: %s It is kept as %s.", bad.name, reason, bad.name + DAMAGED)
        return replace(so_far, left_out=tuple(sorted(left_out.values())))
    if reasons:
        errors = "\n".join(f"- {path.name}: {reason}" for path, reason in reasons.items())
        raise TrainingError(
            f"No checkpoint in {run / FOLDER} can be used:\n{errors}\nRestore one from a backup, or start in a new run "
            f"directory (--init generator={run}:generator takes the weights of its preset)."
        )
    return None


def _load(model: Any, path: Path, run: Path) -> SoFar:
    state, checked = read_checked(path)
    if not checked:
        log.info("%s has no checksum: it was written by an earlier version of ganzoo.", path)
    check_recipe(path, run / RUN_RECIPE)
    own = {name: state.pop(name) for name in list(state) if name.startswith(_OWN)}
    check(state, path, int(path.name.removesuffix(SUFFIX)))
    seconds = _number(own, _SECONDS, path)
    if not 0.0 <= seconds <= _MOST_SECONDS:
        raise WeightsError(f"{path} is damaged: {seconds} seconds of training.")
    sums = {name.removeprefix(_SUMS): _number(own, name, path) for name in own if name.startswith(_SUMS)}
    model.load_state(state)
    return SoFar(seconds, sums)


def _number(own: Mapping[str, np.ndarray], name: str, path: Path) -> float:
    if name not in own or own[name].size != 1 or own[name].dtype.kind not in "fiu":
        raise WeightsError(f"{path} is damaged: it has no number '{name}'.")
    value = float(own[name].reshape(()))
    if not math.isfinite(value):
        raise WeightsError(f"{path} is damaged: '{name}' is {value}.")
    return value


def check(state: Mapping[str, np.ndarray], path: Path, samples: int) -> None:
    """Raise a `WeightsError` where a state cannot be one of a run after so many samples."""
    if wrong := not_finite(state):
        raise WeightsError(f"{path} is damaged: {wrong}.")
    counts = {}
    for name in ("step", "samples_seen"):
        if name not in state or state[name].shape != () or state[name].dtype.kind not in "iu":
            raise WeightsError(f"{path} is damaged: it has no whole number '{name}'.")
        counts[name] = int(state[name])
    if not 0 <= counts["step"] <= counts["samples_seen"] <= _MOST_SAMPLES or counts["samples_seen"] != samples:
        raise WeightsError(f"{path} is damaged: it has counted {counts}, its name says {samples} samples.")
    for name, value in state.items():
        if name.rpartition("/")[2].startswith("iteration") and value.dtype.kind in "iu" and np.any(value < 0):
            raise WeightsError(f"{path} is damaged: {name} is {value}.")
