"""What happens beside the steps of a run: numbers, images, checkpoints, limits, a progress bar."""

import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np

from ganzoo import evaluation, presets
from ganzoo.cache import atomic_write, read_objects, read_safetensors
from ganzoo.config import Evaluation
from ganzoo.data import SampleSet
from ganzoo.errors import EvaluationError, TrainingError, WeightsError
from ganzoo.runs import progress

log = logging.getLogger("ganzoo")

KEPT_CHECKPOINTS = 2
_SPEED_STEPS = 200  # the last steps, over which the speed is measured


class Clock:
    """Seconds that a run has trained, over all its sessions; what is done while it is paused does not count."""

    def __init__(self, before: float = 0.0, kind: Literal["wall", "processor"] = "wall"):
        self._before = before
        self._now = time.process_time if kind == "processor" else time.monotonic
        self.start()

    def start(self) -> None:
        """Count from now on."""
        self._start = self._now()

    def seconds(self) -> float:
        """Since the run's first step."""
        return self._before + self._now() - self._start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Stop for the time of a `with` block."""
        began = self._now()
        try:
            yield
        finally:
            self._start += self._now() - began


class MetricsLog(keras.callbacks.Callback):
    """Means of the step's logs as lines of `metrics.jsonl` and TensorBoard scalars, every `log_every` samples."""

    def __init__(self, run: Path, clock: Clock, log_every: int, snapshot_every: int):
        super().__init__()
        self._run, self._clock = run, clock
        self._intervals = (log_every, snapshot_every)
        self._sums: dict[str, float] = {}
        self._steps = 0

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Open TensorBoard's file."""
        import tensorflow as tf

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
        """Write what is left."""
        self.flush()
        self._board.close()

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
        with (self._run / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        with self._board.as_default(step=seen):
            for name, value in means.items():
                tf.summary.scalar(name, value)
        self._sums, self._steps, self._last = {}, 0, (seen, seconds)


class Frozen(keras.callbacks.Callback):
    """Tells which layers are not trained, when the run begins, and when they begin to be."""

    def __init__(self, run: Path):
        super().__init__()
        self._run = run
        self._frozen: dict[str, list[str]] = {}

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Tell what is frozen, once."""
        self._frozen = self.model.frozen_layers()
        if not self.model.step_count:
            for part, names in self._frozen.items():
                self._tell(f"Of {part} {len(names)} layers are frozen: {', '.join(names)}.")

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Tell what no longer is."""
        now = self.model.frozen_layers()
        for part, names in self._frozen.items():
            thawed = [name for name in names if name not in now[part]]
            if thawed:
                self._tell(f"Of {part} {len(thawed)} layers are trained from now on: {', '.join(thawed)}.")
        self._frozen = now

    def _tell(self, text: str) -> None:
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
        self.act()

    def act(self) -> None:
        """What is done; a subclass says it."""
        raise NotImplementedError


class Look(Periodic):
    """One that also acts on what a run begins with, where it begins with given weights: these may be lost early."""

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Act before the first step."""
        if self.model.step_count == 0 and self.model.recipe.init:
            self._act_now()


class Snapshots(Periodic):
    """Grids of fixed latents (or examples), checkpoints and the preset, every `every` samples and at both ends."""

    def __init__(self, run: Path, clock: Clock, every: int, examples: Mapping[str, np.ndarray] | None):
        super().__init__(run, clock, every)
        self._examples = examples

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """The grid before any step."""
        if self.model.step_count == 0:
            self.image()

    def image(self) -> None:
        """A grid of what the model makes now."""
        with self.model.calibrated():
            self._grid()

    def act(self) -> None:
        """Checkpoint first, then grid and preset."""
        save_checkpoint(self.model, self._run, self._clock.seconds())
        with self.model.calibrated():
            self._grid()
            presets.save(self.model, self._run / "preset")

    def _grid(self) -> None:
        shown = self.model.show(self._examples)
        if shown is not None:
            self.model.domain.save_grid(self._run / "samples" / f"{self.model.sample_count:09d}.png", shown)


class Best(Look):
    """The weights with the best score so far, as a preset in `best/`, looked at every `evaluation.every` samples.

    Of a generator of several widths it is the mean of their scores.

    Each look is a line of `checks.jsonl`: samples, seconds of training (looks themselves do not count), the score's
    name, the score, whether it was the best yet; and `scores` over the networks of `evaluation.check_networks`.
    """

    def __init__(self, run: Path, clock: Clock, options: Evaluation, data: SampleSet):
        super().__init__(run, clock, options.every)
        self._reals = data.some(options.every_samples)
        self._options, self._data = options, data
        self._networks = options.check_networks
        self._off = False

    def act(self) -> None:
        """Score the averaged generator; keep it where no earlier one was better."""
        if not self._off:
            with self._clock.paused():
                self._look(self._clock.seconds())

    def _look(self, seconds: float) -> None:
        path = self._run / "checks.jsonl"
        earlier = [check for check in read_objects(path, "samples", "score") if check["samples"] != self._done]
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
                log.info("The best weights are not looked for: %s", error)
                self._off = True
                return
            more = self._scores()
            best = all(score < check["score"] for check in earlier)
            if best:
                presets.save(self.model, self._run / "best")
        check = {
            "samples": self._done,
            "seconds": round(seconds, 1),
            "name": self.model.domain.QUICK_SCORE,
            "score": score,
            "best": best,
            **more,
        }
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(check) + "\n")

    def _scores(self) -> dict[str, Any]:
        if not self._networks:
            return {}
        labels = self._data.labels if self.model.conditions_spec() else None
        samples = self._options.every_samples
        try:
            found = evaluation.quick_scores(self.model, self._data.samples, self._networks, samples, labels)
        except EvaluationError as error:
            log.info("No scores over %s while it trains: %s", ", ".join(self._networks), error)
            self._networks = ()
            return {}
        return {"scores": found}


class Limits(keras.callbacks.Callback):
    """Stops at a number of samples or of seconds, whichever comes first; both are totals of the run."""

    def __init__(self, clock: Clock, samples: int | None, seconds: float | None):
        super().__init__()
        self._clock, self._samples, self._seconds = clock, samples, seconds

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Ask Keras to stop."""
        enough = self._samples is not None and self.model.sample_count >= self._samples
        late = self._seconds is not None and self._clock.seconds() >= self._seconds
        if enough or late:
            self.model.stop_training = True


class Progress(keras.callbacks.Callback):
    """Shows the training as a task of `ganzoo.runs.progress`: time left, samples per second of training, losses."""

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
        losses = [f"{name.removesuffix('_loss')} {float(value):.3f}" for name, value in (logs or {}).items()]
        self._task.state(max(min(ways), 0.0) if ways else None, speed, [*losses, f"{seen:,} seen"])
        self._task.to(max(shares))

    def close(self) -> None:
        """Take it away, however the training ended."""
        self._shown.close()


def keep_event(run: Path, samples: int, text: str, repeats: bool = False) -> None:
    """Write an event into the run's `events.jsonl`.

    `repeats`: it happens again where a run goes on from an earlier checkpoint, which then forgets it.
    """
    event = {"samples": samples, "text": text} | ({"repeats": True} if repeats else {})
    with (run / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(event) + "\n")


def _interval_ended(gan: Any, every: int) -> bool:
    """Whether the step just done reached or passed a multiple of `every` samples."""
    seen = gan.sample_count
    return seen // every > (seen - seen // gan.step_count) // every


def save_checkpoint(gan: Any, run: Path, seconds: float) -> Path:
    """Write the whole state under `checkpoints/`, whole or not at all; the last two are kept."""
    from safetensors.numpy import save_file

    folder = run / "checkpoints"
    state = gan.state()
    state["run/seconds"] = np.array(seconds)
    path = folder / f"{gan.sample_count:09d}.safetensors"
    atomic_write(path, lambda temporary: save_file(state, temporary))
    for old in sorted(folder.glob("[0-9]*.safetensors"))[:-KEPT_CHECKPOINTS]:
        old.unlink()
    return path


def load_checkpoint(gan: Any, run: Path) -> float | None:
    """Set the newest readable checkpoint's state; the seconds trained until then, None where there is no checkpoint."""
    found = sorted((run / "checkpoints").glob("[0-9]*.safetensors"), reverse=True)
    for path in found:
        try:
            state = read_safetensors(path)
        except WeightsError:
            continue
        seconds = float(state.pop("run/seconds"))
        gan.load_state(state)
        return seconds
    if found:
        raise TrainingError(f"No checkpoint in {run / 'checkpoints'} can be read. Start again in a new run directory.")
    return None
