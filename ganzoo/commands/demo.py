"""The demonstration: from data that come with the installation to images, scores, an exported file and a report."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ganzoo.export import export_generator
from ganzoo.progress import shown
from ganzoo.runs.evaluate import read_reals, remember, score
from ganzoo.runs.train import train
from ganzoo.zoo.create import create_from_recipe
from ganzoo.zoo.load import load

log = logging.getLogger("ganzoo")

ENTRY = "image/dcgan_32"
DATA = "mnist5k"
MINUTES = 1.5
# Images early and often; the network of the scores is fitted after the training, in a step of its own.
OVERRIDES = {
    "data.channels": 1,
    "training.snapshot_every": 5_000,
    "evaluation.every": 20_000,
    "evaluation.every_samples": 500,
    "evaluation.check_networks": [],
    "export.samples": 1_000,
}
SAMPLES, NETWORKS = 500, ("self_supervised",)


def demo(run: str | Path = "runs/demo", minutes: float = MINUTES, progress: bool | None = None) -> dict[str, Any]:
    """Train on digits, score the samples, export the generator to TFLite and write the report.

    Args:
        run: the run directory; an interrupted demonstration continues there.
        minutes: of training.
        progress: False shows no progress, as in `ganzoo.train`.

    Returns:
        What `ganzoo.train` returns, and `grid` (the path of an image of samples), `before` and `after` (the scorecards
        of the untrained and the trained generator), `export` (the model card), `steps` (the seconds that each step
        took, by its name) and `text` (a summary).
    """
    with shown(progress):
        return _go(Path(run), minutes)


def _go(run: Path, minutes: float) -> dict[str, Any]:
    """The steps of the demonstration."""
    steps = _Steps()
    with steps.timed("training"):
        trained = train(ENTRY, DATA, run, minutes=minutes, overrides=OVERRIDES)
    with steps.timed("samples"):
        gan = load(str(run))
        grid = run / "samples.png"
        gan.domain.save_grid(grid, gan.generate(64, seed=0))
    with steps.timed("feature network"):
        real = read_reals(gan, DATA).samples
        gan.domain.real_set(real)
    with steps.timed("scores"):
        fresh = create_from_recipe(gan.recipe)
        before, after = (score(model, real, SAMPLES, NETWORKS) for model in (fresh, gan))
    with steps.timed("export"):
        card = export_generator(str(run), run / "export", ["tflite"], ["float16"])
    with steps.timed("report"):
        remember(run, gan, after)
    return {
        **trained,
        "grid": str(grid),
        "before": before.to_dict(),
        "after": after.to_dict(),
        "export": card,
        "steps": steps.seconds,
        "text": _text(trained, before, after, steps, (grid, run / "export" / card["files"][0]["file"])),
    }


_WHAT = {
    "training": "the data are read, a GAN is trained",
    "samples": "64 samples are written",
    "feature network": "the network of the scores is fitted to half of the digits, once, and cached",
    "scores": "the generator is scored before and after the training",
    "export": "the generator is exported to TFLite and compared with Keras",
    "report": "the report is written",
}


class _Steps:
    """The steps, each logged at its beginning and at its end, with their times."""

    def __init__(self):
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Take the time of a `with` block."""
        log.info("Step %d of %d, %s: %s.", len(self.seconds) + 1, len(_WHAT), name, _WHAT[name])
        began = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - began, 1)
        log.info("    %.1f s", self.seconds[name])


def _text(trained: dict[str, Any], before: Any, after: Any, steps: _Steps, files: tuple[Path, Path]) -> str:
    sliced = (before.sliced_wasserstein, after.sliced_wasserstein, after.sliced_wasserstein_floor)
    floors = after.sliced_wasserstein_floors
    lines = [
        f"{trained['samples']:,} images seen in {trained['seconds'] / 60:.1f} minutes of training.",
        "",
        "Scores (0 is best; 'real': what real images score against other real images)",
        _row("", "before", "after", "real"),
        _row("sliced Wasserstein x1000", *(distances["average"] for distances in sliced)),
        *(
            _row(f"KID, network {a.name}", b.shown()["kid"], a.shown()["kid"], a.floor["kid"])
            for a, b in zip(after.networks, before.networks, strict=True)
        ),
        "  Sliced Wasserstein distance: how far colours and edges of the samples are from",
        f"  those of real images, without a network ({min(floors):.3g} to {max(floors):.3g} for other real ones).",
        "  KID: the same for the features of a network that was fitted to these images.",
        "",
        f"Seconds: {sum(steps.seconds.values()):.0f} in all; "
        + ", ".join(f"{name} {seconds:.0f}" for name, seconds in list(steps.seconds.items())[:3])
        + ",",
        "         " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in list(steps.seconds.items())[3:]),
        f"Samples: {files[0]}",
        f"Report:  {trained['report']}",
        f"Export:  {files[1]}",
    ]
    return "\n".join(lines)


def _row(name: str, *values: float | str) -> str:
    """Scores of both generators and of real images; a text in place of a score that tells nothing."""
    return f"  {name:30}" + "".join(f"{one:>16}" if isinstance(one, str) else f"{one:>16.4g}" for one in values)
