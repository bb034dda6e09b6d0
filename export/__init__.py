"""Export of trained generators to TFLite, SavedModel and ONNX, checked against Keras, with a model card beside them.

Importing this package loads no TensorFlow.
"""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import progress
from ganzoo.errors import ExportError, StorageError, unknown_name
from ganzoo.files.writing import only_own, remove_leftovers, storage_errors, temporary_name

from .files import CARD, CLOSEST, FILES, MARKDOWN, REFERENCE
from .verify import verify_export

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN

__all__ = ["export_generator", "verify_export"]

FORMATS = ("tflite", "saved_model", "onnx")
QUANTIZE = {"none": "float32", "float16": "float16", "dynamic": "dynamic", "int8": "int8", "auto": "auto"}
TARGETS = ("cpu", "gpu")
_OWN = (*FILES, CLOSEST, REFERENCE, MARKDOWN, CARD)

log = logging.getLogger("ganzoo")


def export_generator(
    source: "GAN | str | Path",
    out: str | Path,
    formats: Sequence[str] = ("tflite", "saved_model"),
    quantize: Sequence[str] = ("none", "float16"),
    target: str = "cpu",
    data: Any = None,
    width: float = 1.0,
    *,
    split: str | None = None,
) -> dict[str, Any]:
    """Export the averaged generator, check each file against Keras, and write a model card beside them.

    `out` receives `generator_PRECISION.tflite` (static batch 1, builtin operators only, with what a phone has to know
    as metadata inside), `generator.tflite` (what `auto` chose), `saved_model/1/` and `generator.onnx` (any batch
    size), `reference.npz`, `model_card.json`, `MODEL_CARD.md`, and `closest.png` where the training images are
    available. An earlier export there is replaced as a whole, once all new files have passed; if one fails, it stays as
    it was. Other files beside an earlier export stay; a folder that holds other files alone is refused.

    Args:
        source: a GAN, an entry's name or a run directory.
        out: a folder, made if it is missing.
        formats: some of `tflite`, `saved_model`, `onnx`.
        quantize: which TFLite files, some of `none` (float32), `float16`, `dynamic`, `int8`, `auto` (the best of these
            for `target`; `float16` without real samples to judge by). The other formats are always float32.
        target: `cpu` or `gpu`, for `auto`.
        data: real samples to judge the files by, as for `ganzoo.train`; by default a run's own data, and of an entry
            what is kept with its weights.
        width: the share of the generator's channels, where it was trained for several (`GAN.widths`).
        split: which part of the data is read ("train", "val", "test", "all"); the recipe's `data.split` by default.

    Returns:
        The card: what is in `model_card.json`. A run lists the export in its report.

    Raises:
        ExportError: an unknown format; the generator needs operators that TFLite lacks; a file differs from Keras;
            the generator repeats its training samples more than the recipe's
            `export.memorised_within` allows.
    """
    formats = _known("export format", formats, FORMATS)
    precisions = [QUANTIZE[name] for name in _known("quantization", quantize, QUANTIZE)]
    (target,) = _known("target", target, TARGETS)
    out = Path(out)
    given = _load(source)
    gan = given.at_width(width)

    from ganzoo.reports.run import write_report
    from ganzoo.runs import exports

    from . import build

    name = None if given is source else str(source)
    try:
        with _staging(out) as folder, progress.task("Exporting"):
            card = build.build(gan, name, folder, formats, precisions, target, data, split=split)
            _install(folder, out)
    except StorageError as error:
        raise ExportError(f"The export was not made. {error}") from None
    try:
        if name and exports.remember(Path(name), out, width, card):
            write_report(Path(name))
    except OSError as error:
        log.warning("The report of %s does not list this export: %s.", name, error.strerror or error)
    return card


def _known(what: str, names: Sequence[str], allowed: Sequence[str] | dict[str, str]) -> tuple[str, ...]:
    names = (names,) if isinstance(names, str) else tuple(names)
    for name in names:
        if name not in allowed:
            raise ExportError(unknown_name(what, name, allowed))
    if not names:
        raise ExportError(f"No {what} given. Name one or more of {sorted(allowed)}.")
    return names


def _load(source: Any) -> "GAN":
    if isinstance(source, str | Path):
        from ganzoo.zoo.load import load

        return load(str(source))
    from ganzoo.core.gan import GAN

    if not isinstance(source, GAN):
        raise ExportError(
            f"Only a GAN, an entry's name or a run directory can be exported. Received: {type(source).__name__}."
        )
    return source


@contextmanager
def _staging(out: Path) -> Iterator[Path]:
    """A hidden folder inside `out` (so on its file system), gone afterwards, as is `out` if nothing came of it."""
    if out.exists() and not out.is_dir():
        raise ExportError(f"{out} is a file. Give a folder for the export.")
    made = not out.exists()
    remove_leftovers(out)
    if not (out / CARD).exists():
        only_own(out, _OWN.__contains__)
    folder = out / temporary_name("export")
    with storage_errors(out):
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if made and not any(out.iterdir()):
            out.rmdir()


def _install(folder: Path, out: Path) -> None:
    """Move an export to its place; the card comes last, so that it never describes files that are not there yet."""
    with storage_errors(out):
        for name in _OWN:
            target, new = out / name, folder / name
            if target.is_dir() and not target.is_symlink():
                os.replace(target, folder / f"replaced_{name}")
            elif not new.exists():
                target.unlink(missing_ok=True)
            if new.exists():
                os.replace(new, target)
