"""Samples to files."""

from pathlib import Path

import numpy as np

from ganzoo import presets
from ganzoo.cache import write_array
from ganzoo.errors import GanzooError


def generate(
    name: str,
    out: str | Path,
    count: int = 64,
    seed: int = 0,
    truncation: float | None = None,
    condition: int | None = None,
    width: float = 1.0,
) -> Path:
    """Write samples of an entry's or a run's averaged generator.

    Args:
        name: an entry with published weights, or a run directory.
        out: `FILE.png` (a grid), `FILE.npy` (images: uint8 `(count, H, W, C)`), or a folder for single files.
        count: how many.
        seed: the same seed gives the same samples.
        truncation: draws latents towards their mean (1: not at all), see `GAN.truncate`.
        condition: one class for all; every class in turn by default.
        width: the share of the generator's channels, see `GAN.widths`.
    """
    out = Path(out)
    if count < 1:
        raise GanzooError(f"count must be 1 or more. Received: {count}.")
    gan = presets.load(name).at_width(width)
    conditions = None
    if condition is not None:
        specs = gan.conditions_spec()
        if not specs:
            raise GanzooError(f"{name} has no conditions. Leave out the condition.")
        classes = next(iter(specs.values())).classes
        if not 0 <= condition < classes:
            raise GanzooError(f"The condition must be a class from 0 to {classes - 1}. Received: {condition}.")
        conditions = {key: np.full(count, condition, "int32") for key in specs}
    samples = gan.generate(count, seed, truncation, conditions)
    if out.suffix.lower() == ".npy":
        return write_array(out, samples)
    if out.suffix.lower() == ".png":
        gan.domain.save_grid(out, samples)
        return out
    if out.suffix:
        raise GanzooError(f"Samples are written to a .png, a .npy or a folder. Received: {out}.")
    for index, sample in enumerate(samples):
        gan.domain.save_sample(out / f"{index:05d}.png", sample)
    return out
