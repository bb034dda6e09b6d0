"""Runs: a directory, a recipe, data, `gan.fit`, checkpoints, resume, report."""

import contextlib
import json
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import presets, pretraining, registry
from ganzoo.cache import atomic_write_bytes, read_json, read_objects
from ganzoo.config import Recipe
from ganzoo.domains import get_domain
from ganzoo.errors import GanzooError, TrainingError
from ganzoo.origins import REPORT, inherited_sources, load_first_weights
from ganzoo.report import write_report
from ganzoo.run_data import describe, examples, read_data
from ganzoo.runs.progress import shown

if TYPE_CHECKING:
    from ganzoo.data import SampleSet
    from ganzoo.phased_model import PhasedModel

log = logging.getLogger("ganzoo")

_TIMED = (3, 16)  # steps of the estimate, at least and at most

_FROM_THE_DATA = (("model.classes", None), ("pretrain.classes", None))


def train(
    name: str,
    data: Any,
    run: str | Path,
    *,
    minutes: float | None = None,
    samples: int | None = None,
    seed: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    init: Mapping[str, Any] | None = None,
    strategy: str = "auto",
    progress: bool | None = None,
) -> dict[str, Any]:
    """Train an entry; on an existing run directory, go on where its last checkpoint stands.

    Args:
        name: an entry or a run directory, whose recipe is taken.
        data: a folder, a zip, a file of arrays, `tfds:NAME`, a built-in name, arrays, or a `tf.data.Dataset` of
            batches. A dataset should repeat for ever (a finite one ends the run after one pass), and give the same
            each time it is begun: its first batches are looked at and timed before the training. After a resume it
            starts from its beginning, so a resume is exact for the other kinds only.
        run: the run directory.
        minutes: stop after so many minutes of training, all sessions of the run together.
        samples: stop after so many samples, all sessions together; the recipe's `training.samples` by default.
        seed: the run's seed.
        overrides: recipe keys, nested or dotted.
        init: sources of weights by part, `WHERE:PART` each, or a mapping (`ganzoo.config.Init`).
        strategy: `auto`, `none` or `mirrored`.
        progress: False shows no progress, True and None (the default) do: see `ganzoo.runs.progress.shown`.

    Returns:
        `{"run", "samples", "seconds", "finished", "report"}`.

    Raises:
        GanzooError: with the mend in its text; checkpoints written before stay whole.
    """
    changes = _changes(overrides, seed, init)
    with shown(progress):
        return _go(Path(run), None, name, data, changes, minutes, samples, strategy)


def pretrain(
    method: str,
    name: str,
    data: Any,
    run: str | Path,
    *,
    minutes: float | None = None,
    samples: int | None = None,
    seed: int | None = None,
    overrides: Mapping[str, Any] | None = None,
    init: Mapping[str, Any] | None = None,
    strategy: str = "auto",
    progress: bool | None = None,
) -> dict[str, Any]:
    """Pretrain parts of an entry; the run is a preset whose parts `train(..., init=...)` takes.

    Args:
        method: one of `ganzoo.list_methods()`.
        name: an entry or a run directory: what the parts are for.
        data: as in `train`, and so are the arguments after it.
        overrides: recipe keys, as in `train`; the method's own options are those under `pretrain`.

    Returns:
        As `train`, and `parts`: the names of the preset's parts.

    Raises:
        GanzooError: with the mend in its text; a `RecipeError` where the method does not support the entry.
    """
    changes = _changes(overrides, seed, init)
    with shown(progress):
        return _go(Path(run), method, name, data, changes, minutes, samples, strategy)


def _changes(overrides: Mapping[str, Any] | None, seed: int | None, init: Mapping[str, Any] | None) -> dict[str, Any]:
    changes = dict(overrides or {})
    if seed is not None:
        changes["seed"] = seed
    if init:
        changes["init"] = dict(init)
    return changes


def _go(
    run: Path,
    method: str | None,
    name: str,
    data: Any,
    changes: dict[str, Any],
    minutes: float | None,
    samples: int | None,
    strategy: str,
) -> dict[str, Any]:
    """Begin or resume a run, of a GAN or of a pretraining method."""
    _check_writable(run)
    resumed = (run / registry.RUN_RECIPE).is_file()
    begin = _resume if resumed else _begin
    recipe, sample_set = begin(run, method, name, data, changes)
    if sample_set is None and not recipe.pretrain:
        if recipe.guards.act:
            raise TrainingError("guards.act needs data that can be looked at: a folder, a file or arrays, no dataset.")
        log.info("A dataset cannot be looked at: no guards against collapse, no scores and no best weights.")
    limit = samples if samples is not None else None if minutes is not None else recipe.training.samples
    model = _make(recipe, strategy, run, resumed)
    seconds = _restore(model, run) if resumed else 0.0
    result = _fit(model, sample_set, data, run, seconds, limit, minutes)
    return result | ({"parts": sorted(model.preset_parts())} if method else {})


def _check_writable(run: Path) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"Cannot make the run directory {run}: {error.strerror}. Name another one.") from None


def _begin(
    run: Path, method: str | None, name: str, data: Any, changes: dict[str, Any]
) -> tuple[Recipe, "SampleSet | None"]:
    left = {"samples", "checkpoints", "data.json", REPORT}  # of a run that never began
    if any(path.name not in left for path in run.iterdir()):
        raise TrainingError(f"{run} exists and is no run directory. Name a new or empty folder.")
    if method is None:
        entry = registry.get_entry(name)
        if name not in registry.list_entries() and (entry.raw.get("init") or entry.raw.get("distillation")):
            # What another run began with is no matter of this one, nor is what it kept of that, or what taught it.
            if entry.raw.get("freeze") and "freeze" not in changes:
                log.info("%s began with other weights and froze some of them. This run begins with fresh ones.", name)
            own = {k: v for k, v in entry.raw.items() if k not in ("init", "freeze", "distillation")}
            entry = replace(entry, raw=own)
        recipe = entry.recipe(**changes)
        if recipe.pretrain:
            raise TrainingError(
                f"{name} is a pretraining, or pretrain.* was set: that is for `ganzoo pretrain`. Train an entry, with "
                "--init PART=RUN:PART."
            )
        if recipe.consolidation and "generator" not in recipe.init:
            raise TrainingError("consolidation keeps a generator near the weights it was given: give init.generator.")
    else:
        recipe = pretraining.recipe(method, name, changes)
    own: dict[str, Any] = {"weights": None, "scores": {}}  # of the entry, not of this run
    if recipe.distillation and recipe.distillation.sha256 is None:
        from ganzoo.distillation import weights_digest

        digest = weights_digest(recipe.distillation.teacher)
        own["distillation"] = recipe.distillation.model_copy(update={"sha256": digest})
    recipe, sample_set = read_data(recipe.model_copy(update=own), data)
    for folder in ("samples", "checkpoints"):
        (run / folder).mkdir(parents=True, exist_ok=True)
    if sample_set is not None:
        get_domain(recipe.domain).save_grid(run / "samples" / "reals.png", examples(sample_set)["real"])
    described = describe(sample_set, data)
    if recipe.distillation and recipe.distillation.alone:
        described["source"] = f"samples of {recipe.distillation.teacher}"
    _write_json(run / "data.json", described)
    return recipe, sample_set


def _resume(
    run: Path, method: str | None, name: str, data: Any, changes: dict[str, Any]
) -> tuple[Recipe, "SampleSet | None"]:
    entry = registry.get_entry(str(run))
    saved = entry.recipe()
    if saved.pretrain.get("method") != method:
        was = f"`pretrain {saved.pretrain['method']}`" if saved.pretrain else "`train`"
        raise TrainingError(f"{run} was begun with {was}. Name another directory.")
    if method is not None:
        changes = pretraining.without_idle(method, changes)
    if changes:
        asked = entry.recipe(**changes)
        before, after = _flat(saved.to_dict()), _flat(asked.to_dict())
        different = [
            f"{key} ({before.get(key)} and {after.get(key)})"
            for key in after
            # No number of classes means as many as the data have: the number that was saved.
            if before.get(key) != after[key] and (key, after[key]) not in _FROM_THE_DATA
        ]
        if different:
            raise TrainingError(
                f"{run} was begun with another recipe: {'; '.join(different)}. Resume it without these changes, or "
                "train in a new directory (with --init to start from its weights)."
            )
    if registry.get_entry(name).recipe().entry != saved.entry:
        raise TrainingError(f"{run} is a run of {saved.entry}, not of {name}. Name another directory.")
    recipe, sample_set = read_data(saved, data)
    before = read_json(run / "data.json", dict).get("fingerprint")
    now = sample_set.fingerprint if sample_set is not None else None
    if before != now:
        raise TrainingError(
            f"The data differ from those that {run} was begun with (sha256 {now} and {before}). Give the same data, or "
            "train in a new directory with --init."
        )
    return recipe, sample_set


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) and value else {f"{prefix}{key}": value}
    return flat


def _make(recipe: Recipe, strategy: str, run: Path, resumed: bool) -> "PhasedModel":
    import keras

    from ganzoo import distribution

    distribution.make_deterministic()
    keras.utils.set_random_seed(recipe.seed)
    with distribution.scope(distribution.get_strategy(strategy)):
        gan = pretraining.create(recipe) if recipe.pretrain else registry.create_from_recipe(recipe)
        gan.compile()
    if not resumed:
        load_first_weights(gan, run)
        # The recipe comes last: from here on the folder is a run, and can be resumed.
        atomic_write_bytes(run / registry.RUN_RECIPE, recipe.to_yaml().encode())
    return gan


def _restore(gan: "PhasedModel", run: Path) -> float:
    from ganzoo.callbacks import keep_event, load_checkpoint

    seconds = load_checkpoint(gan, run)
    seen = gan.sample_count
    # What came after the checkpoint will be written again.
    for name in ("metrics.jsonl", "guards.jsonl"):
        _keep(run / name, [line for line in read_objects(run / name, "samples") if line["samples"] <= seen])
    told = read_objects(run / "events.jsonl", "samples")
    _keep(run / "events.jsonl", [one for one in told if one["samples"] <= seen or not one.get("repeats")])
    if seconds is None:
        load_first_weights(gan, run)
    elif sources := inherited_sources(run):
        gan.inherited_sources = sources
    keep_event(run, seen, f"resumed at {seen:,} samples")
    log.info("Resuming at %s samples.", f"{seen:,}")
    return seconds or 0.0


def _keep(path: Path, lines: list[dict[str, Any]]) -> None:
    if path.is_file():
        atomic_write_bytes(path, "".join(f"{json.dumps(line)}\n" for line in lines).encode())


def _fit(
    gan: "PhasedModel",
    sample_set: "SampleSet | None",
    data: Any,
    run: Path,
    seconds: float,
    samples: int | None,
    minutes: float | None,
) -> dict[str, Any]:
    from ganzoo import callbacks, guards

    training = gan.recipe.training
    step = training.batch_size * training.d_steps
    limit = None if minutes is None else 60.0 * minutes
    seen = gan.sample_count
    done = (samples is not None and seen >= samples) or (limit is not None and seconds >= limit)
    if not done:
        stream = _stream(gan, sample_set, data, seen)
        clock = callbacks.Clock(seconds, training.clock)
        # The limits come first, so that the last checkpoint's seconds reach them: a finished run has nothing to resume.
        parts: list[Any] = [
            callbacks.Limits(clock, samples, limit),
            callbacks.MetricsLog(run, clock, training.log_every, training.snapshot_every),
        ]
        if sample_set is not None and gan.recipe.guards.every and not gan.recipe.pretrain:
            # After the log that it reads, before the snapshots, which keep what it (and the model's own callbacks) did.
            parts.append(guards.Guard(run, clock, gan.recipe.guards, sample_set))
        if gan.recipe.freeze:
            parts.append(callbacks.Frozen(run))
        parts += gan.callbacks(run, sample_set)
        parts.append(callbacks.Snapshots(run, clock, training.snapshot_every, examples(sample_set)))
        if sample_set is not None and gan.recipe.evaluation.every and not gan.recipe.pretrain:
            parts.append(callbacks.Best(run, clock, gan.recipe.evaluation, sample_set))
        bar = callbacks.Progress(clock, samples, limit)
        parts.append(bar)
        steps = None if samples is None else -(-(samples - seen) // step)
        _look_first(gan, stream, run)
        try:
            with clock.paused():
                _estimate(gan, stream, samples, seconds, limit)
            gan.fit(stream, steps_per_epoch=steps or 2**40, verbose=0, callbacks=parts, shuffle=False)
        except (GanzooError, KeyboardInterrupt) as error:
            callbacks.keep_event(run, gan.sample_count, str(error) or "interrupted")
            with contextlib.suppress(Exception):  # the reason of the stop matters more than its report
                write_report(run)
            raise
        finally:
            bar.close()
        seconds = clock.seconds()
    elif presets.samples_seen(run / "preset") != seen:
        # The process died between the last checkpoint and its preset.
        snapshots = callbacks.Snapshots(run, callbacks.Clock(seconds), training.snapshot_every, examples(sample_set))
        snapshots.set_model(gan)
        snapshots.act()
    finished = samples is not None and gan.sample_count >= samples
    return {
        "run": str(run),
        "samples": gan.sample_count,
        "seconds": round(seconds, 1),
        "finished": finished or limit is not None,
        "report": str(write_report(run)),
    }


def _look_first(gan: "PhasedModel", stream: Any, run: Path) -> None:
    """What is measured before the first step; a run that is refused then is none yet, and may be begun otherwise."""
    try:
        gan.look_at(stream)
    except GanzooError:
        if not any((run / "checkpoints").glob("*")):
            (run / registry.RUN_RECIPE).unlink()
        raise


def _stream(gan: "PhasedModel", sample_set: "SampleSet | None", data: Any, start: int) -> Any:
    if sample_set is None:
        return data
    from ganzoo.data.stream import batches

    recipe = gan.recipe
    size = recipe.training.batch_size * recipe.training.d_steps
    flip = bool(getattr(recipe.data, "flip", False))
    return batches(sample_set, size, recipe.seed, start=start, flip=flip, conditional=bool(gan.conditions_spec()))


def _estimate(gan: "PhasedModel", stream: Any, samples: int | None, seconds: float, limit: float | None) -> None:
    """Say how long it will take: as many steps are timed as make all that is not done in each, and taken back."""
    import keras

    steps = 1 + min(max(gan.period(), _TIMED[0]), _TIMED[1])
    ends: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.monotonic()))
    before = gan.state()
    gan.fit(stream.take(steps), verbose=0, callbacks=[watch], shuffle=False)
    gan.load_state(before)
    training = gan.recipe.training
    size = training.batch_size * training.d_steps
    if len(ends) < 2:
        return
    speed = size * (len(ends) - 1) / max(ends[-1] - ends[0], 1e-9)
    ways = [(samples - gan.sample_count) / speed] if samples is not None else []
    ways += [limit - seconds] if limit is not None else []
    left = max(min(ways), 0.0)
    log.info(
        "About %.0f samples a second: %s to go without scores and images, about %s samples.",
        speed,
        _duration(left),
        f"{int(speed * left):,}",
    )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _write_json(path: Path, content: Any) -> None:
    atomic_write_bytes(path, json.dumps(content, indent=1).encode())
