"""Inputs and Keras' samples for them: what exported files are compared with, wherever they are run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganzoo.errors import ExportError
from ganzoo.files.reading import FileProblem, guard, read_npz

from .signature import OUTPUT, TRUNCATION

if TYPE_CHECKING:
    from .generator import Generator

SAMPLES = 64
CALIBRATION_SAMPLES, _CALIBRATION_SEED = 256, 1
_TRUNCATED, _LESS = 4, 0.7  # each fourth reference sample has its latents drawn to their mean by this factor


@dataclass(frozen=True)
class Reference:
    """Inputs by name, and Keras' samples for them."""

    inputs: Mapping[str, np.ndarray]
    samples: np.ndarray

    @property
    def deviation(self) -> float:
        """Standard deviation of the samples over the inputs, mean over positions: near 0, a comparison says little."""
        return float(self.samples.std(axis=0).mean())

    def each(self) -> Iterator[dict[str, np.ndarray]]:
        """The inputs one after the other, as batches of one."""
        return one_by_one(self.inputs)

    def first(self) -> dict[str, np.ndarray]:
        """A batch of one."""
        return next(self.each())


def one_by_one(inputs: Mapping[str, np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    """Inputs `(N, ...)`, as batches of one."""
    for index in range(len(inputs[TRUNCATION])):
        yield {name: value[index : index + 1] for name, value in inputs.items()}


def psnr(samples: np.ndarray, exact: np.ndarray) -> float:
    """The peak signal-to-noise ratio of samples in [-1, 1], in dB; at most 306."""
    return float(10 * np.log10(4.0 / max(float(np.mean(np.square(samples - exact))), 1e-30)))


def draw_inputs(generator: "Generator", count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Latents, every class in turn, and no truncation."""
    gan = generator.gan
    return gan.draw_latents(count, seed) | gan.draw_conditions(count) | {TRUNCATION: np.ones(count, np.float32)}


def draw_calibration(generator: "Generator", count: int = CALIBRATION_SAMPLES) -> dict[str, np.ndarray]:
    """Inputs over which the ranges of activations are taken: others than those by which files are judged."""
    return draw_inputs(generator, count, _CALIBRATION_SEED)


def draw_reference(generator: "Generator", count: int = SAMPLES) -> Reference:
    """Keras' samples for `count` latents, every class in turn, each fourth truncated.

    Raises:
        ExportError: they hold NaN or infinite numbers.
    """
    inputs = draw_inputs(generator, count)
    inputs[TRUNCATION][_TRUNCATED - 1 :: _TRUNCATED] = _LESS
    samples = generator.samples(inputs)
    if not np.isfinite(samples).all():
        raise ExportError(
            f"The generator of {generator.gan.recipe.entry} makes samples that are not finite: it is not exported."
        )
    return Reference(inputs, samples)


def save_reference(path: Path, reference: Reference) -> None:
    """Write a reference as `.npz`."""
    arrays = {f"input/{name}": value for name, value in reference.inputs.items()}
    np.savez_compressed(path, **arrays, **{f"output/{OUTPUT}": reference.samples})


def load_reference(path: Path) -> Reference:
    """Read what `save_reference` wrote; raises `ExportError` where that fails."""
    with guard(path, ExportError, "Without it nothing can be compared. Export again."):
        arrays = read_npz(path)
        if f"output/{OUTPUT}" not in arrays or f"input/{TRUNCATION}" not in arrays:
            raise FileProblem(f"holds no samples or no inputs, but {sorted(arrays)[:8]}")
        inputs = {name.removeprefix("input/"): one for name, one in arrays.items() if name.startswith("input/")}
        reference = Reference(inputs, arrays[f"output/{OUTPUT}"])
        if any(one.ndim == 0 or one.dtype.kind not in "fiu" for one in (*inputs.values(), reference.samples)):
            raise FileProblem("holds arrays of another kind")
    if not len(reference.samples) or any(len(value) != len(reference.samples) for value in inputs.values()):
        raise ExportError(f"{path} holds inputs and samples of different numbers. Export again.")
    return reference
