"""Runs: a directory, a recipe, data, `gan.fit`, checkpoints, resume, report."""

import contextlib
import importlib.util
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import pretraining
from ganzoo.domains import get_domain
from ganzoo.errors import GanzooError, TrainingError
from ganzoo.files.reading import read_json, read_objects
from ganzoo.files.writing import remove_leftovers, storage_errors, write_json, write_objects, write_text
from ganzoo.progress import duration, shown, task
from ganzoo.recipes import entries, yaml_files
from ganzoo.recipes.schema import Recipe
from ganzoo.reports.run import write_report
from ganzoo.runs import checkpoints
from ganzoo.runs.checkpoints import SoFar
from ganzoo.runs.data import describe, examples, path_of, read_data
from ganzoo.runs.lineage import REPORT, inherited_sources, load_first_weights
from ganzoo.runs.lock import LOCK, locked
from ganzoo.weights import preset_files
from ganzoo.zoo.create import create_from_recipe, create_pretraining
from ganzoo.zoo.load import class_names

if TYPE_CHECKING:
    from ganzoo.core.model import PhasedModel
    from ganzoo.data.sample_set import SampleSet
    from ganzoo.runs.callbacks import Clock
    from ganzoo.runs.stopping import Stop

log = logging.getLogger("ganzoo")

_FOLDERS = ("samples", checkpoints.FOLDER)
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
    callbacks: Sequence[Any] = (),
) -> dict[str, Any]:
    """Train an entry; an existing run directory is resumed from its last checkpoint.

    Ctrl-C, SIGTERM and SIGHUP end the training after the step: checkpoint, image grid, preset and report are written,
    then the function raises `KeyboardInterrupt` or `SystemExit` (code 143 or 129). A second signal ends at once. The
    resumed run makes the weights of an uninterrupted one. Before the first step (while it is compiled and timed) there
    is nothing to save, and the run starts from its beginning. One process at a time can train in a run directory.

    Args:
        name: an entry or a run directory, whose recipe is taken.
        data: a folder, a zip, a file of arrays, `tfds:NAME`, a built-in name, arrays, or a `tf.data.Dataset` of
            batches. A dataset should repeat for ever (a finite one ends the run after one pass), and give the same
            each time it is iterated: its first batches are read and timed before the training. After a resume it
            starts from its beginning, so a resume is exact for the other kinds only.
        run: the run directory, outside of the data. (If the data are a folder, the run's images would become data.)
        minutes: stop after so many minutes of training, all sessions of the run together.
        samples: stop after so many samples, all sessions together; the recipe's `training.samples` by default.
        seed: the run's seed.
        overrides: recipe keys, nested or dotted.
        init: sources of weights by part, `WHERE:PART` each, or a mapping (`ganzoo.recipes.schema.Init`).
        strategy: `auto`, `none` or `mirrored`.
        progress: False shows no progress, True and None (the default) do: see `ganzoo.progress.shown`.
        callbacks: Keras callbacks of your own, such as TensorBoard's or that of an experiment tracker; they act after
            the run's own. A session of a run is one epoch: use what acts on batches, and `model.sample_count`.

    Returns:
        `{"run", "samples", "seconds", "finished", "report", "total_seconds"}`. `seconds` are those of training: of the
        steps of all sessions, as they count for `minutes`; `total_seconds` are those of this call, with start-up,
        scores and images.

    Raises:
        GanzooError: says what is wrong and how to fix it. Checkpoints that were written before are whole.
        KeyboardInterrupt: Ctrl-C.
        SystemExit: SIGTERM or SIGHUP.
    """
    changes = _changes(overrides, seed, init)
    with shown(progress):
        return _go(Path(run), None, name, data, changes, minutes, samples, strategy, callbacks=callbacks)


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
    callbacks: Sequence[Any] = (),
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
        GanzooError: says what is wrong and how to fix it; a `RecipeError` where the method does not support the entry.
    """
    changes = _changes(overrides, seed, init)
    with shown(progress):
        return _go(Path(run), method, name, data, changes, minutes, samples, strategy, callbacks=callbacks)


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
    *,
    callbacks: Sequence[Any] = (),
) -> dict[str, Any]:
    """Start or resume a run, of a GAN or of a pretraining method."""
    began = time.monotonic()
    if (minutes is not None and minutes <= 0) or (samples is not None and samples < 1):
        raise TrainingError(
            f"A training takes more than 0 minutes and at least 1 sample. Received: minutes {minutes}, samples "
            f"{samples}."
        )
    _check_callbacks(callbacks)
    check_apart(run, data)
    _make_folder(run)
    with locked(run):
        own = (run / yaml_files.RUN_RECIPE).is_file()  # else it may be anybody's folder
        for folder in (run, *(run / name for name in (*_FOLDERS, "preset", "best"))):
            remove_leftovers(folder, earlier=own)
        result = _go_alone(run, method, name, data, changes, minutes, samples, strategy, callbacks=callbacks)
    return result | {"total_seconds": round(time.monotonic() - began, 1)}


def _check_callbacks(callbacks: Any) -> None:
    if not callbacks and isinstance(callbacks, Sequence):
        return
    import keras

    listed = callbacks if isinstance(callbacks, Sequence) else [callbacks]
    wrong = [one for one in listed if not isinstance(one, keras.callbacks.Callback)]
    if wrong or listed is not callbacks:
        raise TrainingError(
            "callbacks takes a list of Keras callbacks, such as [keras.callbacks.TensorBoard('logs')]. Received: "
            f"{(wrong or listed)[0]!r}."
        )
    boards = [one for one in listed if isinstance(one, keras.callbacks.TensorBoard)]
    if boards and importlib.util.find_spec("tensorboard") is None:
        raise TrainingError(
            "callbacks holds keras.callbacks.TensorBoard, which needs the package tensorboard: pip install "
            "'ganzoo[tensorboard]'. Without it: the run writes its curves into its own folder tensorboard/ anyway."
        )


def _go_alone(
    run: Path,
    method: str | None,
    name: str,
    data: Any,
    changes: dict[str, Any],
    minutes: float | None,
    samples: int | None,
    strategy: str,
    *,
    callbacks: Sequence[Any] = (),
) -> dict[str, Any]:
    resumed = (run / yaml_files.RUN_RECIPE).is_file()
    begin = _resume if resumed else _begin
    recipe, sample_set = begin(run, method, name, data, changes)
    if sample_set is None and not recipe.pretrain:
        if recipe.guards.act:
            raise TrainingError(
                "guards.act needs data that can be examined: a folder, a file or arrays, not a tf.data.Dataset."
            )
        log.info(
            "A tf.data.Dataset cannot be examined: there are no guards against collapse, no scores and no best weights."
        )
    limit = samples if samples is not None else None if minutes is not None else recipe.training.samples
    with task("Building the networks"):
        model = _make(recipe, strategy, run, resumed)
    if method is None:
        model.class_names = class_names(model, run)
    so_far = _restore(model, run) if resumed else SoFar(0.0)
    result = _fit(model, sample_set, data, run, so_far, limit, minutes, given=callbacks)
    return result | ({"parts": sorted(model.preset_parts())} if method else {})


def check_apart(run: Path, data: Any) -> None:
    """Raise a `TrainingError` where a folder for results is inside the data, or the data inside that folder.

    What the run writes would become data, so that the data change and the run can never be resumed.
    """
    if (given := path_of(data)) is None:
        return
    place, source = run.resolve(), given.resolve()
    if place == source or (source.is_dir() and source in place.parents):
        raise TrainingError(
            f"The run directory {run} is inside its data {data}, so that the images that it writes would become data. "
            "Name a run directory outside. (A run that is there already can be moved out, and then be resumed.)"
        )
    if place in source.parents:
        raise TrainingError(
            f"The data {data} are inside the run directory {run}, where the run writes its own files. Move the data "
            "out, or name another run directory."
        )


def _make_folder(run: Path) -> None:
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"Cannot make the run directory {run}: {error.strerror}. Name another one.") from None


def _begin(
    run: Path, method: str | None, name: str, data: Any, changes: dict[str, Any]
) -> tuple[Recipe, "SampleSet | None"]:
    left = {*_FOLDERS, "data.json", REPORT, LOCK}  # of a run that never began
    if others := sorted(path.name for path in run.iterdir() if path.name not in left):
        raise TrainingError(
            f"{run} exists and is not a run directory: it has no {yaml_files.RUN_RECIPE}, but {others[:3]}. Name a new "
            "or empty folder."
        )
    if method is None:
        entry = entries.get_entry(name)
        if name not in entries.list_entries() and (entry.raw.get("init") or entry.raw.get("distillation")):
            # The first weights of another run are not those of this one, nor are its frozen layers and its teacher.
            if entry.raw.get("freeze") and "freeze" not in changes:
                log.info(
                    "%s started from other weights and froze some of them. This run starts from fresh weights.", name
                )
            own = {k: v for k, v in entry.raw.items() if k not in ("init", "freeze", "distillation")}
            entry = replace(entry, raw=own)
        recipe = entry.recipe(**changes)
        if recipe.pretrain:
            raise TrainingError(
                f"{name} is a pretraining, or pretrain.* was set, which is for `ganzoo pretrain`. Train an entry, and "
                "start from the pretraining with --init PART=RUN:PART."
            )
        if recipe.consolidation and "generator" not in recipe.init:
            raise TrainingError(
                "consolidation keeps a generator near its first weights, but the recipe names none. Set init.generator "
                "(--init generator=SOURCE:generator), or consolidation: 0."
            )
    else:
        recipe = pretraining.recipe(method, name, changes)
    own: dict[str, Any] = {"weights": None, "scores": {}}  # of the entry, not of this run
    if recipe.distillation and recipe.distillation.sha256 is None:
        from ganzoo.weights.preset_files import weights_digest

        digest = weights_digest(recipe.distillation.teacher)
        own["distillation"] = recipe.distillation.model_copy(update={"sha256": digest})
    recipe, sample_set = read_data(recipe.model_copy(update=own), data)
    for folder in _FOLDERS:
        with storage_errors(run / folder):
            (run / folder).mkdir(parents=True, exist_ok=True)
    if sample_set is not None:
        get_domain(recipe.domain).save_grid(run / "samples" / "reals.png", examples(sample_set)["real"])
    described = describe(sample_set, data)
    if recipe.distillation and recipe.distillation.alone:
        described["source"] = f"samples of {recipe.distillation.teacher}"
    write_json(run / "data.json", described)
    return recipe, sample_set


def _resume(
    run: Path, method: str | None, name: str, data: Any, changes: dict[str, Any]
) -> tuple[Recipe, "SampleSet | None"]:
    entry = entries.get_entry(str(run))
    saved = entry.recipe()
    if saved.pretrain.get("method") != method:
        was = f"`pretrain {saved.pretrain['method']}`" if saved.pretrain else "`train`"
        raise TrainingError(f"{run} was started with {was}. Name another directory.")
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
                f"{run} was started with another recipe: {'; '.join(different)}. Resume it without these changes, or "
                "train in a new directory (with --init to start from its weights)."
            )
    if entries.get_entry(name).recipe().entry != saved.entry:
        raise TrainingError(f"{run} is a run of {saved.entry}, not of {name}. Name another directory.")
    recipe, sample_set = read_data(saved, data)
    before = read_json(run / "data.json", dict).get("fingerprint")
    now = sample_set.fingerprint if sample_set is not None else None
    if before != now:
        raise TrainingError(
            f"The data differ from those that {run} was started with (sha256 {now} and {before}). Give the same data, "
            "or train in a new directory with --init."
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
        gan = create_pretraining(recipe) if recipe.pretrain else create_from_recipe(recipe)
        gan.compile()
    if not resumed:
        load_first_weights(gan, run)
        # The recipe comes last: from here on the folder is a run, and can be resumed.
        write_text(run / yaml_files.RUN_RECIPE, gan.recipe.to_yaml())  # with the precision that was taken
    return gan


def _restore(gan: "PhasedModel", run: Path) -> SoFar:
    """Set the state of the last checkpoint; the logs of the run then end there, too."""
    from ganzoo.runs.callbacks import CHECKS, EVENTS, METRICS, keep_event
    from ganzoo.runs.collapse_guard import GUARDS

    so_far = checkpoints.load(gan, run)
    seen = gan.sample_count
    # What came after the checkpoint will be written again.
    for name in (METRICS, GUARDS):
        _keep(run / name, [line for line in read_objects(run / name, "samples") if line["samples"] <= seen])
    # A later check stays where its weights are the best that there are: they are in `best/`.
    kept = preset_files.whole_at(run / "best")
    checks = read_objects(run / CHECKS, "samples")
    _keep(run / CHECKS, [one for one in checks if one["samples"] <= seen or one["samples"] == kept])
    events = read_objects(run / EVENTS, "samples")
    _keep(run / EVENTS, [one for one in events if one["samples"] <= seen or not one.get("repeats")])
    if so_far is None:
        load_first_weights(gan, run)
    elif sources := inherited_sources(run):
        gan.inherited_sources = sources
    for path in so_far.left_out if so_far else ():
        keep_event(run, seen, f"the checkpoint {path.name} is damaged and was left out", repeats=True)
    return so_far or SoFar(0.0)


def _keep(path: Path, lines: list[dict[str, Any]]) -> None:
    """Leave one line for each number of samples and text in a JSONL file, the last one of each."""
    if path.is_file():
        write_objects(path, list({(line["samples"], line.get("text")): line for line in lines}.values()))


def _fit(
    gan: "PhasedModel",
    sample_set: "SampleSet | None",
    data: Any,
    run: Path,
    so_far: SoFar,
    samples: int | None,
    minutes: float | None,
    *,
    given: Sequence[Any] = (),
) -> dict[str, Any]:
    from ganzoo.runs import callbacks
    from ganzoo.runs.stopping import Stop

    limit = None if minutes is None else 60.0 * minutes
    seen, seconds = gan.sample_count, so_far.seconds
    if not ((samples is not None and seen >= samples) or (limit is not None and seconds >= limit)):
        clock, stop = callbacks.Clock(seconds, gan.recipe.training.clock), Stop()
        clock.pause()  # until the first step
        if seen:
            callbacks.keep_event(run, seen, f"resumed at {seen:,} samples")
            log.info("Resuming at %s samples.", f"{seen:,}")
        bar = callbacks.Progress(clock, samples, limit)
        # The limits come first, so that the last checkpoint's seconds reach them: a finished run has nothing to resume.
        parts = [
            stop,
            callbacks.Limits(clock, samples, limit, stop),
            bar,
            *_callbacks(gan, sample_set, run, clock, stop, so_far),
            *given,
        ]
        with stop.listening():
            try:
                _train(gan, _stream(gan, sample_set, data, seen), run, parts, samples, limit)
            except (GanzooError, KeyboardInterrupt) as error:
                # A run that was refused before its first step is none, and leaves nothing.
                with contextlib.suppress(Exception):  # the reason of the stop matters more than its report
                    if (run / yaml_files.RUN_RECIPE).is_file():
                        callbacks.keep_event(run, gan.sample_count, str(error) or "interrupted")
                        write_report(run)
                raise
            finally:
                bar.close()
            if stop.signal is not None:
                _report_stop(gan, run, stop)
        seconds = clock.seconds()
    elif preset_files.whole_at(run / "preset") == seen:
        log.info("%s has seen %s samples: there is nothing left to train.", run, f"{seen:,}")
    else:
        # The process died between the last checkpoint and its preset, or the preset was damaged since.
        log.info("The preset of %s is written again from the last checkpoint.", run)
        snapshots = callbacks.Snapshots(run, callbacks.Clock(seconds), gan.recipe.training, examples(sample_set))
        snapshots.set_model(gan)
        snapshots.show()
    finished = samples is not None and gan.sample_count >= samples
    return {
        "run": str(run),
        "samples": gan.sample_count,
        "seconds": round(seconds, 6),
        "finished": finished or limit is not None,
        "report": str(write_report(run)),
    }


def _callbacks(
    gan: "PhasedModel", sample_set: "SampleSet | None", run: Path, clock: "Clock", stop: "Stop", so_far: SoFar
) -> list[Any]:
    """What happens between the steps of a run."""
    from ganzoo.runs import callbacks, collapse_guard

    recipe = gan.recipe
    metrics = callbacks.MetricsLog(run, clock, recipe.training, stop, so_far.sums)
    parts: list[Any] = [metrics]
    if sample_set is not None and recipe.guards.every and not recipe.pretrain:
        # After the log that it reads, before the snapshots, which keep what it (and the model's own callbacks) did.
        parts.append(collapse_guard.Guard(run, clock, recipe.guards, sample_set))
    if recipe.freeze:
        parts.append(callbacks.Frozen(run))
    parts += gan.callbacks(run, sample_set)
    parts.append(callbacks.Snapshots(run, clock, recipe.training, examples(sample_set), metrics))
    if sample_set is not None and recipe.evaluation.every and not recipe.pretrain:
        parts.append(callbacks.Best(run, clock, recipe.evaluation, sample_set, stop))
    return parts


def _train(
    gan: "PhasedModel", stream: Any, run: Path, parts: list[Any], samples: int | None, limit: float | None
) -> None:
    """Steps up to a limit, or until a signal comes; `parts` begins with what stops and what limits."""
    stop, limits, *_ = parts
    training = gan.recipe.training
    step = training.batch_size * training.d_steps
    steps = None if samples is None else -(-(samples - gan.sample_count) // step)
    with task("Compiling and timing the first steps"):
        _look_first(gan, stream, run)
        _estimate(gan, stream, samples, limits.clock.seconds(), limit, stop)
    if stop.signal is None:
        gan.fit(stream, steps_per_epoch=steps or 2**40, verbose=0, callbacks=parts, shuffle=False)


def _report_stop(gan: "PhasedModel", run: Path, stop: "Stop") -> None:
    from ganzoo.runs.callbacks import keep_event

    seen = gan.sample_count
    stop.saved = seen in checkpoints.listed(run)
    keep_event(run, seen, f"interrupted ({stop.name})")
    write_report(run)
    if stop.saved:
        log.info("Stopped after %s samples; checkpoint and preset are written.", f"{seen:,}")
    else:
        log.info("Stopped before the first step: there is no checkpoint yet, and the run starts from its beginning.")


def _look_first(gan: "PhasedModel", stream: Any, run: Path) -> None:
    """Measure what the model needs before its first step. A run that is refused then can be started anew."""
    try:
        gan.look_at(stream)
    except GanzooError:
        if not checkpoints.listed(run):
            (run / yaml_files.RUN_RECIPE).unlink()
        raise


def _stream(gan: "PhasedModel", sample_set: "SampleSet | None", data: Any, start: int) -> Any:
    if sample_set is None:
        return data
    from ganzoo.data.stream import batches

    recipe = gan.recipe
    size = recipe.training.batch_size * recipe.training.d_steps
    flip = bool(getattr(recipe.data, "flip", False))
    return batches(sample_set, size, recipe.seed, start=start, flip=flip, conditional=bool(gan.conditions_spec()))


def _estimate(
    gan: "PhasedModel", stream: Any, samples: int | None, seconds: float, limit: float | None, stop: "Stop"
) -> None:
    """Log how long it will take: some steps are timed, and their effect is undone."""
    import keras

    steps = 1 + min(max(gan.period(), _TIMED[0]), _TIMED[1])
    ends: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.monotonic()))
    before = gan.state()
    gan.fit(stream.take(steps), verbose=0, callbacks=[watch, stop], shuffle=False)
    gan.load_state(before)
    training = gan.recipe.training
    size = training.batch_size * training.d_steps
    if len(ends) < 2 or stop.signal is not None:
        return
    speed = size * (len(ends) - 1) / max(ends[-1] - ends[0], 1e-9)
    ways = [(samples - gan.sample_count) / speed] if samples is not None else []
    ways += [limit - seconds] if limit is not None else []
    left = max(min(ways), 0.0)
    log.info(
        "About %.0f samples per second: %s of training are left, without scores and images, for about %s samples.",
        speed,
        duration(left),
        f"{int(speed * left):,}",
    )
