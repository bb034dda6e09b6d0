"""Samples to files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo.errors import GanzooError, unknown_name
from ganzoo.files.writing import only_own, write_array
from ganzoo.runs.class_names import count_of, generated_classes
from ganzoo.zoo.load import load as load_gan

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN


def generate(
    name: "str | Path | GAN",
    out: str | Path,
    count: int = 64,
    seed: int = 0,
    truncation: float | None = None,
    condition: int | str | None = None,
    width: float = 1.0,
) -> Path:
    """Write samples of the averaged generator of an entry, a run or a GAN; the path that was written.

    Args:
        name: an entry with published weights, a run directory, or a GAN.
        out: `FILE.png` (a grid), `FILE.npy` (images: uint8 `(count, H, W, C)`), or a new or empty folder for single
            files.
        count: how many.
        seed: the same seed gives the same samples.
        truncation: draws latents towards their mean (1: not at all), see `GAN.truncate`.
        condition: one class for all, its number or its name; every class in turn by default.
        width: the share of the generator's channels, see `GAN.widths`.

    Raises:
        GanzooError: an unknown class, or a wrong count, width or file name.
    """
    return Path(write_samples(name, out, count, seed, truncation, condition, width)["out"])


def write_samples(
    name: "str | Path | GAN",
    out: str | Path,
    count: int = 64,
    seed: int = 0,
    truncation: float | None = None,
    condition: int | str | None = None,
    width: float = 1.0,
) -> dict[str, Any]:
    """As `generate`; what was written, in plain JSON types.

    Returns:
        `{"out", "count", "classes"}`. `classes` lists the classes that were made, `{"id", "name"}` each (the name is
        None where it is not known); it is empty where the generator has no classes.
    """
    out = Path(out)
    if count < 1:
        raise GanzooError(f"count must be 1 or more. Received: {count}.")
    if out.suffix and out.suffix.lower() not in (".npy", ".png"):
        raise GanzooError(f"Samples are written to a .png, a .npy or a folder. Received: {out}.")
    if not out.name:
        raise GanzooError("Samples need a file or a folder of their own. Received: an empty path.")
    if not out.suffix:
        only_own(out)
    source = load(name)
    gan = source.at_width(width)
    classes, names = count_of(gan), generated_classes(gan)
    made = list(range(min(classes, count)))
    conditions = None
    if condition is not None:
        if not classes:
            raise GanzooError(f"{_named(name, gan)} has no classes. Leave out the condition.")
        made = [class_of(condition, names, classes)]
        conditions = {key: np.full(count, made[0], "int32") for key in gan.conditions_spec()}
    _write(gan, out, gan.generate(count, seed, truncation, conditions))
    listed = [{"id": number, "name": names[number] if names else None} for number in made]
    return {"out": str(out), "count": count, "classes": listed}


def load(source: "str | Path | GAN") -> "GAN":
    """A GAN as it is, or that of an entry, a run or a preset.

    Raises:
        GanzooError: the source is none of these, or has no weights.
    """
    if isinstance(source, str | Path):
        return load_gan(str(source))
    if not hasattr(source, "generator_ema"):
        raise GanzooError(
            "Samples are made by a GAN, an entry with published weights or a run directory. Received: "
            f"{type(source).__name__}."
        )
    return source


def class_of(condition: int | str, names: Sequence[str], classes: int) -> int:
    """The number of a class that is given by its number or its name; a name comes first where it is a number itself.

    Raises:
        GanzooError: there is no such class; names the nearest one.
    """
    text = str(condition).strip()
    if isinstance(condition, str) and text in names:
        return list(names).index(text)
    alike = [number for number, name in enumerate(names) if name.casefold() == text.casefold()]
    if isinstance(condition, str) and len(alike) == 1:
        return alike[0]
    try:
        number = int(text)
    except ValueError:
        if names:
            raise GanzooError(unknown_name("class", text, names)) from None
        raise GanzooError(
            f"The names of the classes are not known. The condition must be a number from 0 to {classes - 1}. "
            f"Received: '{text}'."
        ) from None
    if not 0 <= number < classes:
        known = f": {', '.join(names[:12])}" if names else ""
        raise GanzooError(f"The condition must be a class from 0 to {classes - 1}{known}. Received: {text}.")
    return number


def describe_classes(made: Sequence[dict[str, Any]]) -> list[str]:
    """A line that says which classes were made; none where there are no classes."""
    shown = [str(one["id"]) if one["name"] is None else f"{one['name']} ({one['id']})" for one in made]
    if len(shown) == 1:
        return [f"Class: {shown[0]}"]
    more = f", ... ({len(shown)} in all)" if len(shown) > 12 else ""
    return [f"Classes in turn: {', '.join(shown[:12])}{more}"] if shown else []


def _named(name: "str | Path | GAN", gan: "GAN") -> str:
    return str(name) if isinstance(name, str | Path) else gan.recipe.entry


def _write(gan: "GAN", out: Path, samples: np.ndarray) -> None:
    if out.suffix.lower() == ".npy":
        write_array(out, samples)
    elif out.suffix.lower() == ".png":
        gan.domain.save_grid(out, samples)
    else:
        for index, sample in enumerate(samples):
            gan.domain.save_sample(out / f"{index:05d}.png", sample)
