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


def demo(run: str | Path = "runs/demo", minutes: float = 4.0, progress: bool = False) -> dict[str, Any]:
    """Train digits, score them before and after, export and verify a TFLite file, write the report.

    Args:
        run: the run directory; an interrupted demonstration goes on there.
        minutes: of training.
        progress: draw a progress bar.
    """
    run = Path(run)
    trained = train(ENTRY, DATA, run, minutes=minutes, overrides=OVERRIDES, progress=progress)
    gan = presets.load(str(run))
    real = gan.domain.read(DATA, gan.recipe.data, False).samples
    fresh = registry.create_from_recipe(gan.recipe)
    before, after = (score(model, real) for model in (fresh, gan))
    remember(run, gan, after)
    card = export_generator(str(run), run / "export")
    grid = run / "samples.png"
    gan.domain.save_grid(grid, gan.generate(64, seed=0))
    lines = [
        f"{trained['samples']:,} samples in {trained['seconds'] / 60:.1f} minutes.",
        f"Sliced Wasserstein x1000: {before.sliced_wasserstein['average']:.1f} before, "
        f"{after.sliced_wasserstein['average']:.1f} after, {after.sliced_wasserstein_floor['average']:.1f} real against real.",
        *(
            f"KID ({a.name}): {b.scores['kid']:.4g} before, {a.scores['kid']:.4g} after, {a.floor['kid']:.4g} real against real."
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
