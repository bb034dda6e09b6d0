"""What happens between the steps of a run: logs, images, checkpoints, scores, limits, a progress bar."""

import contextlib
import logging
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from ganzoo import progress
from ganzoo.data.sample_set import SampleSet
from ganzoo.errors import EvaluationError
from ganzoo.files.reading import read_objects
from ganzoo.files.writing import append_object
from ganzoo.recipes.schema import Evaluation, Training
from ganzoo.runs import checkpoints, evaluate
from ganzoo.runs.stopping import Stop
from ganzoo.weights import preset_files

log = logging.getLogger("ganzoo")

METRICS, CHECKS, EVENTS = "metrics.jsonl", "checks.jsonl", "events.jsonl"
_STEPS = "steps"  # the number of steps among the sums of a log
_SPEED_STEPS = 200  # the last steps, over which the speed is measured
_SHARE = 0.05  # of the time, at most, goes to snapshots that are taken by time


class Clock:
    """Seconds that a run has trained, over all its sessions: the time of its steps and of reading their batches.

    It is paused for what is not training: start-up, scores, guards, images and checkpoints.
    """

    def __init__(self, before: float = 0.0, kind: Literal["wall", "processor"] = "wall"):
        self._before = before
        self._now = time.process_time if kind == "processor" else time.monotonic
        self.start()

    def start(self) -> None:
        """Count from now on."""
        self._start = self._now()
        self._paused_at, self._depth = 0.0, 0

    def seconds(self) -> float:
        """Since the run's first step; while it is paused, the same number."""
        return self._before + (self._paused_at if self._depth else self._now()) - self._start

    def pause(self) -> None:
        """Stop until `resume` was called as often as this."""
        if not self._depth:
            self._paused_at = self._now()
        self._depth += 1

    def resume(self) -> None:
        """Go on after `pause`."""
        self._depth -= 1
        if not self._depth:
            self._start += self._now() - self._paused_at

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop for the time of a `with` block."""
        self.pause()
        try:
            yield
        finally:
            self.resume()


def _scalar_metadata() -> Any:
    """What marks a tensor of an event file as a scalar, for TensorBoard."""
    from tensorflow.core.framework.summary_pb2 import DATA_CLASS_SCALAR, SummaryMetadata

    plugin = SummaryMetadata.PluginData(plugin_name="scalars", content=b"")
    return SummaryMetadata(plugin_data=plugin, data_class=DATA_CLASS_SCALAR)


class MetricsLog(keras.callbacks.Callback):
    """Means of the step's logs as lines of `metrics.jsonl` and TensorBoard scalars, every `log_every` samples.

    The sums since the last line are part of a checkpoint, so that a resumed run writes the lines of an unbroken one.
    """

    def __init__(self, run: Path, clock: Clock, training: Training, stop: Stop, sums: Mapping[str, float]):
        super().__init__()
        self._run, self._clock, self._stop = run, clock, stop
        self._intervals = (training.log_every, training.snapshot_every)
        self._sums = dict(sums)
        self._steps = int(self._sums.pop(_STEPS, 0))

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Open TensorBoard's file."""
        import tensorflow as tf

        self._board = None
        with self._secondary():
            self._board = tf.summary.create_file_writer(str(self._run / "tensorboard"))
        self._last = (self.model.sample_count, self._clock.seconds())

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Add to the means; write them where an interval ends."""
        for name, value in (logs or {}).items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._steps += 1
        if any(_interval_ended(self.model, every) for every in self._intervals):
            self.flush()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Write what is left, unless the run was interrupted before its limit and will be resumed."""
        if not self._stop.incomplete:
            self.flush()
        with self._secondary():
            if self._board is not None:
                self._board.close()

    def sums(self) -> dict[str, float]:
        """What has been added up since the last line, and over how many steps."""
        return {**self._sums, _STEPS: self._steps} if self._steps else {}

    @contextlib.contextmanager
    def _secondary(self) -> Iterator[None]:
        """TensorBoard's files are a copy of `metrics.jsonl`: a run continues without them."""
        import tensorflow as tf

        try:
            yield
        except (tf.errors.OpError, OSError) as error:
            log.warning("No more TensorBoard files are written: %s", str(error).partition("\n")[0])
            self._board = None

    def flush(self) -> None:
        """Write one line."""
        import tensorflow as tf

        if not self._steps:
            return
        seen, seconds = self.model.sample_count, self._clock.seconds()
        means = {name: total / self._steps for name, total in self._sums.items()}
        line = {
            "samples": seen,
            "step": self.model.step_count,
            **means,
            "seconds": round(seconds, 3),
            "samples_per_second": round((seen - self._last[0]) / max(seconds - self._last[1], 1e-9), 2),
        }
        append_object(self._run / METRICS, line)
        if self._board is not None:
            with self._secondary(), self._board.as_default(step=seen):
                for name, value in means.items():
                    # As `tf.summary.scalar`, which needs the package tensorboard; this needs TensorFlow alone.
                    tf.summary.write(name, tf.constant(value, tf.float32), metadata=_scalar_metadata())
        self._sums, self._steps, self._last = {}, 0, (seen, seconds)


class Frozen(keras.callbacks.Callback):
    """Logs which layers are not trained when the run begins, and when they are unfrozen."""

    def __init__(self, run: Path):
        super().__init__()
        self._run = run
        self._frozen: dict[str, list[str]] = {}

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Log what is frozen, once."""
        self._frozen = self.model.frozen_layers()
        if not self.model.step_count:
            for part, names in self._frozen.items():
                self._report(f"Of {part} {len(names)} layers are frozen: {', '.join(names)}.")

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Log what no longer is."""
        now = self.model.frozen_layers()
        for part, names in self._frozen.items():
            unfrozen = [name for name in names if name not in now[part]]
            if unfrozen:
                self._report(f"Of {part} {len(unfrozen)} layers are trained from now on: {', '.join(unfrozen)}.")
        self._frozen = now

    def _report(self, text: str) -> None:
        log.info(text)
        keep_event(self._run, self.model.sample_count, text, repeats=True)


class Periodic(keras.callbacks.Callback):
    """Something that is done every `every` samples and once more at the end: `act`."""

    def __init__(self, run: Path, clock: Clock, every: int):
        super().__init__()
        self._run, self._clock, self._every = run, clock, every
        self._done = -1

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Act where an interval ends."""
        if _interval_ended(self.model, self._every):
            self._act_now()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Act on the last state, unless that was just done."""
        if self.model.sample_count != self._done:
            self._act_now()

    def _act_now(self) -> None:
        self._done = self.model.sample_count
        with self._clock.paused():
            self.act()

    def act(self) -> None:
        """What is done; a subclass says it."""
        raise NotImplementedError


class Look(Periodic):
    """One that also acts before the first step of a run that starts from given weights: these may be lost early."""

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Act before the first step."""
        if self.model.step_count == 0 and self.model.recipe.init:
            self._act_now()


class Snapshots(Periodic):
    """Grids of fixed latents (or examples), checkpoints and the preset, at both ends of a run and in between.

    In between: every `training.snapshot_every` samples, and where `training.snapshot_minutes` have passed since the
    last one. A slow snapshot is taken less often by time, so that it costs a twentieth of the time at most.
    """

    def __init__(
        self,
        run: Path,
        clock: Clock,
        training: Training,
        examples: Mapping[str, np.ndarray] | None,
        metrics: MetricsLog | None = None,
    ):
        super().__init__(run, clock, training.snapshot_every)
        self._examples, self._metrics = examples, metrics
        self._announced = True  # of a run that begins here, the first images are announced
        self._most = 60.0 * training.snapshot_minutes or math.inf  # seconds from one snapshot to the next
        self._last, self._took = time.monotonic(), 0.0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """The grid before any step."""
        if self.model.step_count == 0:
            self._announced = False
            with self._clock.paused():
                self.image()
        self._last = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Act where an interval ends, of samples or of time."""
        super().on_train_batch_end(batch, logs)
        if time.monotonic() - self._last >= max(self._most, self._took / _SHARE):
            self._act_now()

    def image(self) -> None:
        """A grid of what the model makes now."""
        with self.model.calibrated():
            self._grid()

    def act(self) -> None:
        """Checkpoint first, then grid and preset."""
        began = time.monotonic()
        sums = self._metrics.sums() if self._metrics else {}
        checkpoints.save(self.model, self._run, checkpoints.SoFar(self._clock.seconds(), sums))
        self.show()
        self._last = time.monotonic()
        self._took = self._last - began

    def show(self) -> None:
        """Grid and preset alone."""
        with self.model.calibrated():
            self._grid()
            preset_files.save(self.model, self._run / "preset")

    def _grid(self) -> None:
        shown = self.model.show(self._examples)
        if shown is not None:
            path = self._run / "samples" / f"{self.model.sample_count:09d}.png"
            self.model.domain.save_grid(path, shown)
            if self.model.step_count and not self._announced:
                log.info("First images, after %s samples: %s", f"{self.model.sample_count:,}", path)
                self._announced = True


class Best(Look):
    """The weights with the best score so far, as a preset in `best/`, checked every `evaluation.every` samples.

    Of a generator of several widths it is the mean of their scores.

    Each check is a line of `checks.jsonl`: samples, seconds of training (checks themselves do not count), the score's
    name, the score, whether it was the best yet; and `scores` over the networks of `evaluation.check_networks`.
    """

    def __init__(self, run: Path, clock: Clock, options: Evaluation, data: SampleSet, stop: Stop):
        super().__init__(run, clock, options.every)
        self._stop = stop
        self._reals = data.some(options.every_samples)
        self._options, self._data = options, data
        self._networks = options.check_networks
        self._off = False

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Check the last weights, unless that was just done or the run was interrupted before its limit."""
        if not self._stop.incomplete:
            super().on_train_end(logs)

    def act(self) -> None:
        """Score the averaged generator; keep it where no earlier one was better."""
        if not self._off:
            with self._clock.paused():
                self._check(self._clock.seconds())

    def _check(self, seconds: float) -> None:
        path = self._run / CHECKS
        earlier = read_objects(path, "samples", "score")
        if any(check["samples"] == self._done for check in earlier):
            return  # an earlier session of the run did it
        with self.model.calibrated():
            gan, count = self.model, len(self._reals)
            narrower = (gan.at_width(share) for share in gan.widths() if share < 1.0)
            try:
                scores = [
                    gan.domain.quick_score(self._reals, one.generate(count, seed=gan.recipe.seed))
                    for one in (gan, *narrower)
                ]
                score = sum(scores) / len(scores)
            except EvaluationError as error:
                log.info("No best weights are kept: %s", error)
                self._off = True
                return
            more = self._scores()
            best = all(score < check["score"] for check in earlier)
            if best:
                preset_files.save(self.model, self._run / "best")
        check = {
            "samples": self._done,
            "seconds": round(seconds, 1),
            "name": self.model.domain.QUICK_SCORE,
            "score": score,
            "count": len(self._reals),
            "best": best,
            **more,
        }
        append_object(path, check)

    def _scores(self) -> dict[str, Any]:
        if not self._networks:
            return {}
        labels = self._data.labels if self.model.conditions_spec() else None
        samples = self._options.every_samples
        try:
            found = evaluate.quick_scores(self.model, self._data.samples, self._networks, samples, labels)
        except EvaluationError as error:
            log.info("No scores over %s while it trains: %s", ", ".join(self._networks), error)
            self._networks = ()
            return {}
        return {"scores": found}


class Limits(keras.callbacks.Callback):
    """Stops at a number of samples or of seconds, whichever comes first; both are totals of the run.

    As the first of the callbacks it starts the clock before the first step, and stops it after the last one.
    """

    def __init__(self, clock: Clock, samples: int | None, seconds: float | None, stop: Stop):
        super().__init__()
        self.clock, self._samples, self._seconds, self._stop = clock, samples, seconds, stop

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Let the clock wait for the first step."""
        self.clock.start()
        self.clock.pause()
        self._began = False

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Start the clock."""
        if not self._began:
            self._began = True
            self.clock.resume()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Stop the clock."""
        self.clock.pause()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Ask Keras to stop, and mark the run as finished: a signal from here on leaves nothing to resume."""
        enough = self._samples is not None and self.model.sample_count >= self._samples
        late = self._seconds is not None and self.clock.seconds() >= self._seconds
        if enough or late:
            self.model.stop_training = self._stop.finished = True


class Progress(keras.callbacks.Callback):
    """Shows the training as a task of `ganzoo.progress`: time left, samples per second of training, losses."""

    def __init__(self, clock: Clock, samples: int | None, seconds: float | None):
        super().__init__()
        self._clock, self._samples, self._seconds = clock, samples, seconds
        self._shown = contextlib.ExitStack()
        self._history: deque[tuple[float, int]] = deque(maxlen=_SPEED_STEPS)

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Show it."""
        self._task = self._shown.enter_context(progress.task("Training", 1.0, "samples"))
        self._task.kept = False  # the result of the command says how long it took

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Show the new state; the first step, which is compiled, does not count for the speed."""
        seen, seconds = self.model.sample_count, self._clock.seconds()
        self._history.append((seconds, seen))
        (first, before), (last, now) = self._history[0], self._history[-1]
        speed = (now - before) / (last - first) if last > first else None
        shares, ways = [0.0], []
        if self._samples:
            shares.append(seen / self._samples)
            ways += [(self._samples - seen) / speed] if speed else []
        if self._seconds:
            shares.append(seconds / self._seconds)
            ways.append(self._seconds - seconds)
        self._task.state(max(min(ways), 0.0) if ways else None, speed, [*_losses(logs or {}), f"{seen:,} seen"])
        self._task.to(max(shares))

    def close(self) -> None:
        """Take it away, however the training ended."""
        self._shown.close()


def _losses(logs: Mapping[str, Any]) -> list[str]:
    """A step's logs for a progress line: losses first, those of the discriminator and the generator as D and G."""
    short = {"discriminator_loss": "D", "generator_loss": "G"}
    ordered = sorted(logs, key=lambda name: (name not in short, not name.endswith("_loss")))
    found = [f"{short.get(name, name.removesuffix('_loss'))} {float(logs[name]):.3f}" for name in ordered]
    return [f"loss {one}" if index == 0 else one for index, one in enumerate(found)]


def keep_event(run: Path, samples: int, text: str, repeats: bool = False) -> None:
    """Write an event into the run's `events.jsonl`.

    `repeats`: it happens again where a run is resumed from an earlier checkpoint. It is written once.
    """
    event = {"samples": samples, "text": text} | ({"repeats": True} if repeats else {})
    if not repeats or event not in read_objects(run / EVENTS, "samples"):
        append_object(run / EVENTS, event)


def _interval_ended(gan: Any, every: int) -> bool:
    """Whether the step just done reached or passed a multiple of `every` samples."""
    seen = gan.sample_count
    return seen // every > (seen - seen // gan.step_count) // every
