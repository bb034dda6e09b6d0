"""Exported files run beside Keras: errors, sizes, latencies, operators.

`verify_export` needs neither Keras nor the GAN (and for TFLite files no TensorFlow): the latents and Keras' samples lie
beside the files.
"""

import hashlib
import json
import os
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo.errors import ExportError
from ganzoo.quiet import no_stderr

if TYPE_CHECKING:
    import keras

    from ganzoo.gan import GAN

CARD, MARKDOWN, REFERENCE = "model_card.json", "MODEL_CARD.md", "reference.npz"
FILES = {
    "generator_float32.tflite": ("tflite", "float32"),
    "generator_float16.tflite": ("tflite", "float16"),
    "saved_model": ("saved_model", "float32"),
}
SIGNATURE, OUTPUT = "serving_default", "samples"
TOLERANCES = {"float32": 1e-4, "float16": 3e-2}
SAMPLES = 64
TFLITE_THREADS = 1

Run = Callable[[Mapping[str, np.ndarray]], np.ndarray]


@dataclass(frozen=True)
class Reference:
    """Inputs by name, and Keras' samples for them."""

    inputs: Mapping[str, np.ndarray]
    samples: np.ndarray

    @property
    def deviation(self) -> float:
        """Standard deviation of the samples over the inputs, mean over positions: near 0, a comparison says little."""
        return float(self.samples.std(axis=0).mean())

    def first(self) -> dict[str, np.ndarray]:
        """A batch of one."""
        return {name: value[:1] for name, value in self.inputs.items()}


def draw_reference(gan: "GAN", generator: "keras.Model", count: int = SAMPLES) -> Reference:
    """Keras' samples for `count` latents, every class in turn.

    Raises:
        ExportError: they hold NaN or infinite numbers.
    """
    inputs = gan.draw_latents(count) | gan.draw_conditions(count)
    samples = np.asarray(generator(inputs, training=False), "float32")
    if not np.isfinite(samples).all():
        raise ExportError(f"The generator of {gan.recipe.entry} makes samples that are not finite: it is not exported.")
    return Reference(inputs, samples)


def save_reference(path: Path, reference: Reference) -> None:
    """Write a reference as `.npz`."""
    arrays = {f"input/{name}": value for name, value in reference.inputs.items()}
    np.savez_compressed(path, **arrays, **{f"output/{OUTPUT}": reference.samples})


def load_reference(path: Path) -> Reference:
    """Read what `save_reference` wrote; raises `ExportError` where that fails."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            inputs = {name.removeprefix("input/"): arrays[name] for name in arrays if name.startswith("input/")}
            return Reference(inputs, arrays[f"output/{OUTPUT}"])
    except FileNotFoundError:
        raise ExportError(f"{path} is missing: without it nothing can be compared. Export again.") from None
    except (OSError, ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile, zipfile.zlib.error) as error:
        raise ExportError(f"{path} cannot be read ({error}). Export again.") from None


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
    whole = path.is_dir() and not (path / "saved_model.pb").is_file() and path.name not in FILES
    folder = path if whole else path.parent
    if path.is_file():
        _check_magic(path)
    card = _read_card(folder)
    listed = {file["file"]: file for file in card["files"]}
    if not whole and path.name not in listed:
        raise ExportError(f"{path.name} is not listed in {folder / CARD}, which has {sorted(listed)}.")
    reference = load_reference(folder / REFERENCE)
    files = []
    for name in listed if whole else [path.name]:
        _check_identity(folder / name, listed[name])
        files.append(check(folder / name, reference))
    return {"entry": card["entry"], "folder": str(folder), "files": files}


def check(path: Path, reference: Reference) -> dict[str, Any]:
    """Run an exported file on a reference's inputs.

    Returns:
        Plain data: file, format, precision, batch, bytes, sha256, max_error, mean_error, tolerance, latency (of one
        sample), operators (TFLite only: counts by name).

    Raises:
        ExportError: it does not run, has another signature or foreign operators, or differs more than allowed.
    """
    form, precision = FILES[path.name]
    operators = None
    if form == "tflite":
        run = _open_tflite(path, reference)
        operators = list_operators(path)
        count = len(reference.samples)
        samples = np.concatenate(
            [run({name: value[i : i + 1] for name, value in reference.inputs.items()}) for i in range(count)]
        )
    else:
        run = _open_saved_model(path, reference)
        samples = run(reference.inputs)
    if samples.shape != reference.samples.shape:
        raise ExportError(f"{path.name} gives shape {samples.shape}, Keras {reference.samples.shape}. Export again.")
    error = np.abs(samples - reference.samples)
    largest, tolerance = float(error.max()), TOLERANCES[precision]
    if not largest <= tolerance:  # True for NaN, too.
        raise ExportError(
            f"{path.name} differs from Keras by up to {largest:.3g}; {tolerance:g} is allowed for {precision} on the "
            "range -1 to 1. It is refused."
        )
    one = reference.first()
    return {
        "file": path.name,
        "format": form,
        "precision": precision,
        "batch": 1 if form == "tflite" else "any",
        "bytes": sum(file.stat().st_size for file in _files(path)),
        "sha256": _digest(path),
        "max_error": largest,
        "mean_error": float(error.mean()),
        "tolerance": tolerance,
        "latency": latency(lambda: run(one), TFLITE_THREADS if form == "tflite" else _tensorflow_threads()),
        "operators": operators,
    }


def time_keras(generator: "keras.Model", reference: Reference) -> dict[str, Any]:
    """Latency of one sample by Keras' `predict` and by a plain call."""
    one, threads = reference.first(), _tensorflow_threads()
    return {
        "predict": latency(lambda: generator.predict(one, verbose=0), threads),
        "call": latency(lambda: np.asarray(generator(one, training=False)), threads),
    }


def latency(run: Callable[[], Any], threads: int, seconds: float = 1.0) -> dict[str, Any]:
    """Median and minimum in milliseconds of 5 to 50 invocations after 3 for warming up, in about `seconds`."""
    for _ in range(3):
        run()
    times: list[float] = []
    while len(times) < 5 or (len(times) < 50 and sum(times) < seconds):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return {
        "median_ms": round(1000 * float(np.median(times)), 4),
        "minimum_ms": round(1000 * min(times), 4),
        "invocations": len(times),
        "threads": threads,
    }


def list_operators(path: Path) -> dict[str, int]:
    """How often each operator stands in a TFLite file.

    Raises:
        ExportError: it holds operators that are not built into TFLite.
    """
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    model = schema.Model.GetRootAs(path.read_bytes())
    kinds = []
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        # Old files have the code in a byte of its own.
        name = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "CUSTOM")
        kinds.append(f"CUSTOM:{(code.CustomCode() or b'').decode()}" if name == "CUSTOM" else name)
    counts: Counter[str] = Counter()
    for i in range(model.SubgraphsLength()):
        graph = model.Subgraphs(i)
        counts.update(kinds[graph.Operators(j).OpcodeIndex()] for j in range(graph.OperatorsLength()))
    foreign = sorted(name for name in counts if name.startswith("CUSTOM"))
    if foreign:
        raise ExportError(f"{path.name} holds operators that are not built into TFLite: {foreign}.")
    return dict(sorted(counts.items()))


def _open_tflite(path: Path, reference: Reference) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    try:
        with no_stderr():
            interpreter = Interpreter(model_path=str(path), num_threads=TFLITE_THREADS)
            interpreter.allocate_tensors()
            _check_signature(path, interpreter.get_signature_list(), reference)
            runner = interpreter.get_signature_runner(SIGNATURE)
    except (ValueError, RuntimeError) as error:
        raise ExportError(f"{path.name} is damaged: {str(error).splitlines()[0]} Export again.") from None

    def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        try:
            return runner(**inputs)[OUTPUT]
        except (ValueError, RuntimeError) as error:
            raise ExportError(f"{path.name} does not run: {str(error).splitlines()[0]} Export again.") from None

    return run


def _open_saved_model(path: Path, reference: Reference) -> Run:
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # Damaged files raise errors of many kinds.
        raise ExportError(f"{path.name} cannot be loaded: {str(error).splitlines()[0]} Export again.") from None
    signatures = {
        name: {"inputs": list(function.structured_input_signature[1]), "outputs": list(function.structured_outputs)}
        for name, function in loaded.signatures.items()
    }
    _check_signature(path, signatures, reference)
    function = loaded.signatures[SIGNATURE]

    def run(inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        # The function holds its module weakly: `loaded` has to live as long as it does.
        assert loaded
        return function(**{name: tf.constant(value) for name, value in inputs.items()})[OUTPUT].numpy()

    return run


def _check_signature(path: Path, found: Mapping[str, Any], reference: Reference) -> None:
    expected = {"inputs": sorted(reference.inputs), "outputs": [OUTPUT]}
    received = {kind: sorted(found.get(SIGNATURE, {}).get(kind, ())) for kind in expected}
    if received != expected:
        raise ExportError(
            f"{path.name} must have the signature {SIGNATURE} with {expected}. Received: signatures {sorted(found)}, "
            f"{received}."
        )


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        known = all(file["file"] in FILES and {"bytes", "sha256"} <= set(file) for file in card["files"])
        if known and card["files"] and isinstance(card["entry"], str):
            return card
    except FileNotFoundError:
        raise ExportError(
            f"{path} is missing. An export is verified in the folder that `export_generator` wrote, with {CARD} and "
            f"{REFERENCE} beside it."
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExportError(f"{path} cannot be read ({type(error).__name__}: {error}). Export again.") from None
    raise ExportError(f"{path} describes no export of this version of ganzoo. Export again.")


def _check_magic(path: Path) -> None:
    try:
        with open(path, "rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ExportError(f"Cannot read {path}: {error.strerror}.") from None
    if head[4:8] != b"TFL3":
        raise ExportError(f"{path} is no TFLite file.")


def _check_identity(path: Path, listed: Mapping[str, Any]) -> None:
    """Refuse a file that is not the exported one, before a runtime has to digest it."""
    if not path.exists():
        raise ExportError(f"{path} is missing, though {CARD} lists it. Export again.")
    if FILES[path.name][0] == "tflite":
        _check_magic(path)
    size = sum(file.stat().st_size for file in _files(path))
    if size != listed["bytes"]:
        raise ExportError(f"{path} has {size} bytes, {CARD} says {listed['bytes']}: it was cut off or replaced.")
    if _digest(path) != listed["sha256"]:
        raise ExportError(f"{path} was changed since it was exported: its sha256 is not the one in {CARD}.")


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _digest(path: Path) -> str:
    """sha256 of a file, or of a folder's names, sizes and contents."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for file in _files(path):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(path).as_posix()}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _tensorflow_threads() -> int:
    import tensorflow as tf

    return tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1
