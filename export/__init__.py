"""Export of trained generators: SavedModel and TFLite, checked against Keras, with a model card beside them.

Importing this package loads no TensorFlow.
"""

import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import ExportError, unknown_name

from .verify import CARD, FILES, MARKDOWN, REFERENCE, verify_export

if TYPE_CHECKING:
    from ganzoo.gan import GAN

__all__ = ["export_generator", "verify_export"]

FORMATS = ("tflite", "saved_model")
QUANTIZE = {"none": "float32", "float16": "float16"}


def export_generator(
    source: "GAN | str | Path",
    out: str | Path,
    formats: Sequence[str] = ("tflite", "saved_model"),
    quantize: Sequence[str] = ("none", "float16"),
) -> dict[str, Any]:
    """Export the averaged generator, check each file against Keras, and write a model card beside them.

    `out` receives `generator_float32.tflite`, `generator_float16.tflite` (static batch 1, builtin operators only),
    `saved_model/` (any batch size), `reference.npz`, `model_card.json` and `MODEL_CARD.md`. An earlier export there is
    replaced as a whole, once all new files have passed; if one fails, it stays as it was. Other files stay.

    Args:
        source: a GAN, an entry's name or a run directory.
        out: a folder, made if it is missing.
        formats: some of `tflite`, `saved_model`.
        quantize: which TFLite files, some of `none` (float32), `float16`. A SavedModel is always float32.

    Returns:
        The card: what is in `model_card.json`.

    Raises:
        ExportError: an unknown format; the generator needs operators that TFLite lacks; a file differs from Keras.
    """
    formats = _known("export format", formats, FORMATS)
    precisions = [QUANTIZE[name] for name in _known("quantization", quantize, QUANTIZE)]
    out = Path(out)
    gan = _load(source)

    from . import model_card, saved_model, signature, tflite, verify

    generator = saved_model.float32_generator(gan)
    described = signature.describe(gan, generator)
    reference = verify.draw_reference(gan, generator)
    try:
        with _staging(out) as folder:
            verify.save_reference(folder / REFERENCE, reference)
            keras_latency = verify.time_keras(generator, reference)
            files = []
            for name, (form, precision) in FILES.items():
                if form not in formats or (form == "tflite" and precision not in precisions):
                    continue
                if form == "tflite":
                    (folder / name).write_bytes(tflite.convert(generator, described, precision))
                else:
                    saved_model.write(generator, described, folder / name)
                files.append(verify.check(folder / name, reference))
            card = model_card.build(gan, generator, described, files, reference, keras_latency)
            model_card.write(card, folder)
            _install(folder, out, [file["file"] for file in files])
    except OSError as error:
        raise ExportError(f"Cannot write the export to {out}: {error.strerror or error}.") from None
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
        from ganzoo.presets import load

        return load(str(source))
    from ganzoo.gan import GAN

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
    folder = out / f".export-{uuid.uuid4().hex}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if made and not any(out.iterdir()):
            out.rmdir()


def _install(folder: Path, out: Path, files: Sequence[str]) -> None:
    """Move an export to its place; the card comes last, so that it never describes files that are not there yet."""
    for name in (*FILES, REFERENCE, MARKDOWN, CARD):
        target = out / name
        if target.is_dir() and not target.is_symlink():
            os.replace(target, folder / f"replaced_{name}")
        elif name in FILES and name not in files:
            target.unlink(missing_ok=True)
        if name not in FILES or name in files:
            os.replace(folder / name, target)
