"""Exported files run beside Keras: errors, sizes, times, memory, operators, and whether they are what their card says.

`verify_export` needs neither Keras nor the GAN (and for TFLite files no TensorFlow): the latents and Keras' samples lie
beside the files.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo import progress
from ganzoo.errors import ExportError
from ganzoo.files.reading import MOST_ARRAYS, FileProblem, guard, open_regular, parse_json, read_bytes

from . import metadata
from .files import CARD, FILES, REFERENCE, list_operators, open_file, tensorflow_threads
from .measure import latency, measure
from .reference import Reference, load_reference, psnr

if TYPE_CHECKING:
    from .generator import Generator

TOLERANCES = {"float32": 1e-4, "float16": 3e-2}  # largest difference from Keras on the range -1 to 1
PRECISIONS = ("float32", "float16", "dynamic", "int8")
_AGAIN = 1.25, 0.02  # a quantised file may differ by so many times what it did when it was exported, and so much more


def verify_export(path: str | Path) -> dict[str, Any]:
    """Run exported files again and compare them with Keras' samples that were saved with them.

    Args:
        path: the folder that `export_generator` wrote, or one file (or `saved_model` folder) in it.

    Returns:
        `{"entry", "folder", "files": [...]}`, each file as in the model card, measured now.

    Raises:
        ExportError: a file is missing, damaged, not the one that was exported, or differs from Keras.
    """
    path = Path(path)
    if not path.exists():
        raise ExportError(f"There is no {path}.")
    whole = path.is_dir() and path.name not in FILES
    folder = path if whole else path.parent
    if path.is_file() and path.suffix == ".tflite":
        _check_magic(path)
    card = read_card(folder)
    listed = {file["file"]: file for file in card["files"]}
    if not whole and path.name not in listed:
        raise ExportError(f"{path.name} is not listed in {folder / CARD}, which has {sorted(listed)}.")
    reference = load_reference(folder / REFERENCE)
    files = []
    for name in listed if whole else [path.name]:
        check_identity(folder / name, listed[name], card)
        found = check(folder / name, reference, folder / REFERENCE, listed[name]["precision"], listed[name]["allowed"])
        files.append(found)
    return {"entry": card["entry"], "folder": str(folder), "files": files}


def check(
    path: Path, reference: Reference, saved_reference: Path, precision: str, allowed: float | None = None
) -> dict[str, Any]:
    """Run an exported file on a reference's inputs.

    Args:
        path: the file or folder.
        reference: what it is compared with.
        saved_reference: the same in a file, for the process that measures times and memory.
        precision: one of `PRECISIONS`.
        allowed: the largest difference; where it is not given, that of the precision, and any of an 8-bit file.

    Returns:
        Plain data: file, format, precision, batch, bytes, sha256, max_error, mean_error, psnr_db, allowed, first_ms,
        peak_bytes, steady (see `ganzoo.export.measure`), operators (TFLite only: counts by name).

    Raises:
        ExportError: it does not run, has another signature or foreign operators, or differs more than allowed.
    """
    form, _ = FILES[path.name]
    with progress.task(f"Measuring the speed and the memory of {path.name}"):
        measured = measure(path, saved_reference)  # in a process of its own, which a hostile file may end
    run = open_file(path, reference.inputs)
    operators = list_operators(path.read_bytes(), path.name) if form == "tflite" else None
    one_by_one = form == "tflite"
    if one_by_one:
        each = progress.each(reference.each(), f"Comparing {path.name} with Keras", len(reference.samples))
        samples = np.concatenate([run(one) for one in each])
    else:
        samples = run(reference.inputs)
    if samples.shape != reference.samples.shape:
        raise ExportError(f"{path.name} gives shape {samples.shape}, Keras {reference.samples.shape}. Export again.")
    error = np.abs(samples - reference.samples)
    largest = float(error.max())
    if allowed is None:
        allowed = TOLERANCES.get(precision, _AGAIN[0] * largest + _AGAIN[1])
    if not largest <= allowed:  # True for NaN, too.
        raise ExportError(
            f"{path.name} differs from Keras by up to {largest:.3g}; {allowed:.3g} is allowed for {precision} on the "
            "range -1 to 1. It is refused."
        )
    return {
        "file": path.name,
        "format": form,
        "precision": precision,
        "batch": 1 if form == "tflite" else "any",
        "bytes": sum(file.stat().st_size for file in _files(path)),
        "sha256": _digest(path),
        "max_error": largest,
        "mean_error": float(error.mean()),
        "psnr_db": psnr(samples, reference.samples),
        "allowed": allowed,
        **measured,
        "operators": operators,
    }


def time_keras(generator: "Generator", reference: Reference) -> dict[str, Any]:
    """Latency of one sample by Keras' `predict` and by a plain call."""
    one = reference.first()
    inputs = {name: one[name] for name in generator.network.input}
    ways = {
        "predict": lambda: generator.network.predict(inputs, verbose=0),
        "call": lambda: np.asarray(generator.network(inputs, training=False)),
    }
    return {way: latency(run) | {"threads": tensorflow_threads()} for way, run in ways.items()}


def read_card(folder: Path) -> dict[str, Any]:
    """The card in an export's folder; raises `ExportError` where there is none, or none of this version."""
    path = folder / CARD
    try:
        card = parse_json(read_bytes(path).decode())
        needed = {"bytes", "sha256", "precision", "allowed"}
        known = all(file["file"] in FILES and needed <= set(file) for file in card["files"])
        known &= all(file["precision"] in PRECISIONS and 0 <= float(file["allowed"]) <= 2 for file in card["files"])
        known &= len({file["file"] for file in card["files"]}) == len(card["files"])
        if known and card["files"] and isinstance(card["entry"], str) and isinstance(card["metadata"], dict):
            return card
    except FileNotFoundError:
        raise ExportError(
            f"{path} is missing. An export is verified in the folder that `ganzoo export` wrote, with {CARD} and "
            f"{REFERENCE} beside it."
        ) from None
    except (FileProblem, OSError, ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise ExportError(f"{path} cannot be read ({type(error).__name__}: {error}). Export again.") from None
    raise ExportError(f"{path} describes no export of this version of ganzoo. Export again.")


def _check_magic(path: Path) -> None:
    with guard(path, ExportError, "Export again."):
        with open_regular(path, MOST_ARRAYS) as file:
            head = file.read(8)
        if head[4:8] != b"TFL3":
            raise FileProblem("is not a TFLite file")


def check_identity(path: Path, listed: Mapping[str, Any], card: Mapping[str, Any]) -> None:
    """Refuse a file or folder that is not the exported one, before a runtime has to read it."""
    if not path.exists():
        raise ExportError(f"{path} is missing, though {CARD} lists it. Export again.")
    if FILES[path.name][0] == "tflite":
        read_checked(path, listed, card)
        return
    with guard(path, ExportError, "Export again."):
        size = sum(file.stat().st_size for file in _files(path))
    _compare(path, size, listed, lambda: _digest(path))


def read_checked(path: Path, listed: Mapping[str, Any], card: Mapping[str, Any]) -> bytes:
    """The content of the exported TFLite file; raises `ExportError` where it is another, or is no regular file."""
    with guard(path, ExportError, "Export again."):
        content = read_bytes(path, MOST_ARRAYS)
        if content[4:8] != b"TFL3":
            raise FileProblem("is not a TFLite file")
    _compare(path, len(content), listed, lambda: hashlib.sha256(content).hexdigest())
    if metadata.extract(content, path.name) != card["metadata"]:
        raise ExportError(f"{path} says other things of itself than {CARD}. Export again.")
    return content


def _compare(path: Path, size: int, listed: Mapping[str, Any], digest: Callable[[], str]) -> None:
    if size != listed["bytes"]:
        raise ExportError(f"{path} has {size} bytes, {CARD} says {listed['bytes']}: it was cut off or replaced.")
    if digest() != listed["sha256"]:
        raise ExportError(f"{path} was changed since it was exported: its sha256 is not the one in {CARD}.")


def _files(path: Path) -> list[Path]:
    """The file, or all files below a folder; raises `FileProblem` where one of them is a link, a pipe or a device."""
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in found:
        if not file.is_dir() and not (file.is_file() and (file == path or not file.is_symlink())):
            raise FileProblem(f"holds {file.name}, which is not a regular file")
    return [file for file in found if not file.is_dir()]


def _digest(path: Path) -> str:
    """sha256 of a file, or of a folder's names, sizes and contents; raises `ExportError` where one cannot be read."""
    with guard(path, ExportError, "Export again."):
        if not path.is_dir():
            return hashlib.sha256(read_bytes(path, MOST_ARRAYS)).hexdigest()
        digest = hashlib.sha256()
        for file in _files(path):
            content = read_bytes(file, MOST_ARRAYS)
            digest.update(f"{file.relative_to(path).as_posix()}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()
