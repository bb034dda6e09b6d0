"""The demonstration: the whole way on data that came with the installation."""

from pathlib import Path
from typing import Any

from ganzoo import presets, registry
from ganzoo.evaluation import remember, score
from ganzoo.export import export_generator
from ganzoo.training import train

ENTRY = "image/dcgan_32"
DATA = "mnist5k"
OVERRIDES = {"data.channels": 1}
SAMPLES, NETWORKS = 1_000, ("self_supervised",)


def demo(run: str | Path = "runs/demo", minutes: float = 4.0, progress: bool | None = None) -> dict[str, Any]:
    """Train digits, score them before and after, export and verify a TFLite file, write the report.

    Args:
        run: the run directory; an interrupted demonstration goes on there.
        minutes: of training.
        progress: False shows no progress, as in `ganzoo.train`.
    """
    run = Path(run)
    trained = train(ENTRY, DATA, run, minutes=minutes, overrides=OVERRIDES, progress=progress)
    gan = presets.load(str(run))
    real = gan.domain.read(DATA, gan.recipe.data, False).samples
    fresh = registry.create_from_recipe(gan.recipe)
    before, after = (score(model, real, SAMPLES, NETWORKS) for model in (fresh, gan))
    remember(run, gan, after)
    card = export_generator(str(run), run / "export")
    grid = run / "samples.png"
    gan.domain.save_grid(grid, gan.generate(64, seed=0))
    sliced = (before.sliced_wasserstein, after.sliced_wasserstein, after.sliced_wasserstein_floor)
    floors = after.sliced_wasserstein_floors
    lines = [
        f"{trained['samples']:,} samples in {trained['seconds'] / 60:.1f} minutes.",
        "Sliced Wasserstein x1000: " + _three(*(distances["average"] for distances in sliced)),
        f"    (other splits of the reals: {min(floors[1:]):.4g} to {max(floors[1:]):.4g})",
        *(
            f"KID ({a.name}): " + _three(b.scores["kid"], a.scores["kid"], a.floor["kid"])
            for a, b in zip(after.networks, before.networks, strict=True)
        ),
        f"Samples: {grid}",
        f"Report:  {trained['report']}",
        f"Export:  {run / 'export'}",
    ]
    return {
        **trained,
        "grid": str(grid),
        "before": before.to_dict(),
        "after": after.to_dict(),
        "export": card,
        "text": "\n".join(lines),
    }


def _three(before: float, after: float, floor: float) -> str:
    return f"{before:.4g} before, {after:.4g} after, {floor:.4g} real against real."
