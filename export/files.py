"""The files of an export, by name, and how each is opened and run."""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo.errors import ExportError
from ganzoo.startup import no_stderr

from .inspection import check_saved_model
from .signature import OUTPUT, SIGNATURE

CARD, MARKDOWN, REFERENCE, CLOSEST = "model_card.json", "MODEL_CARD.md", "reference.npz", "closest.png"
AUTO = "generator.tflite"
FILES = {  # name: format, precision
    AUTO: ("tflite", "auto"),
    "generator_float32.tflite": ("tflite", "float32"),
    "generator_float16.tflite": ("tflite", "float16"),
    "generator_dynamic.tflite": ("tflite", "dynamic"),
    "generator_int8.tflite": ("tflite", "int8"),
    "saved_model": ("saved_model", "float32"),
    "generator.onnx": ("onnx", "float32"),
}
_MOST_OPERATORS = 200_000

Run = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def open_file(path: Path, inputs: Mapping[str, np.ndarray], threads: int = 1) -> Run:
    """A function from inputs to samples that an exported file gives: of batches of one for TFLite, of any for others.

    Args:
        path: a file or folder that bears one of the names of `FILES`.
        inputs: by name, as the file shall take them.
        threads: of a TFLite or ONNX file; TensorFlow's are set for the process.

    Raises:
        ExportError: it is damaged or has another signature; also when it is run.
    """
    form, _ = FILES[path.name]
    return {"tflite": _open_tflite, "saved_model": _open_saved_model, "onnx": _open_onnx}[form](path, inputs, threads)


def list_operators(content: bytes, name: str = "The file") -> dict[str, int]:
    """How often each operator stands in a TFLite file.

    Raises:
        ExportError: it holds operators that are not built into TFLite.
    """
    try:
        counts = _count_operators(content)
    except Exception as error:  # broken offsets and lengths raise errors of many kinds
        raise ExportError(f"{name} is damaged: its operators cannot be read ({type(error).__name__}).") from None
    foreign = sorted(kind for kind in counts if kind.startswith("CUSTOM"))
    if foreign:
        raise ExportError(f"{name} holds operators that are not built into TFLite: {foreign}.")
    return dict(sorted(counts.items()))


def _count_operators(content: bytes) -> Counter[str]:
    from ai_edge_litert import schema_py_generated as schema

    names = builtin_operators()
    model = schema.Model.GetRootAs(content)
    kinds = []
    for i in range(model.OperatorCodesLength()):
        code = model.OperatorCodes(i)
        # Old files have the code in a byte of its own.
        kind = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "CUSTOM")
        kinds.append(f"CUSTOM:{(code.CustomCode() or b'').decode()}" if kind == "CUSTOM" else kind)
    graphs = [model.Subgraphs(i) for i in range(min(model.SubgraphsLength(), _MOST_OPERATORS))]
    if sum(graph.OperatorsLength() for graph in graphs) > _MOST_OPERATORS:  # graphs may share what they claim to have
        raise ValueError("too many operators")
    return Counter(kinds[graph.Operators(j).OpcodeIndex()] for graph in graphs for j in range(graph.OperatorsLength()))


def builtin_operators() -> dict[int, str]:
    """The names of TFLite's built-in operators by their numbers."""
    from ai_edge_litert import schema_py_generated as schema

    return {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def tensorflow_threads() -> int:
    """Threads that TensorFlow uses for one operator."""
    import tensorflow as tf

    return tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count() or 1


def _open_tflite(path: Path, inputs: Mapping[str, np.ndarray], threads: int) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    try:
        with no_stderr():
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
            _check_signature(path, interpreter.get_signature_list(), inputs)
            runner = interpreter.get_signature_runner(SIGNATURE)
    except (ValueError, RuntimeError) as error:
        raise ExportError(f"{path.name} is damaged: {_first_line(error)} Export again.") from None

    def run(given: Mapping[str, np.ndarray]) -> np.ndarray:
        try:
            return runner(**given)[OUTPUT]
        except (ValueError, RuntimeError) as error:
            raise ExportError(f"{path.name} does not run: {_first_line(error)} Export again.") from None

    return run


def _open_saved_model(path: Path, inputs: Mapping[str, np.ndarray], threads: int) -> Run:
    import tensorflow as tf

    versions = sorted(folder for folder in path.iterdir() if (folder / "saved_model.pb").is_file())
    if not versions:
        raise ExportError(f"{path.name} holds no version with a saved_model.pb. Export again.")
    check_saved_model(versions[-1])
    try:
        loaded = tf.saved_model.load(str(versions[-1]))
    except Exception as error:  # Damaged files raise errors of many kinds.
        raise ExportError(f"{path.name} cannot be loaded: {_first_line(error)} Export again.") from None
    signatures = {
        name: {"inputs": list(function.structured_input_signature[1]), "outputs": list(function.structured_outputs)}
        for name, function in loaded.signatures.items()
    }
    _check_signature(path, signatures, inputs)
    function = loaded.signatures[SIGNATURE]

    def run(given: Mapping[str, np.ndarray]) -> np.ndarray:
        # The function holds its module weakly: `loaded` has to live as long as it does.
        assert loaded
        return function(**{name: tf.constant(value) for name, value in given.items()})[OUTPUT].numpy()

    return run


def _open_onnx(path: Path, inputs: Mapping[str, np.ndarray], threads: int) -> Run:
    try:
        import onnxruntime
    except ImportError:
        raise ExportError(f"{path.name} is run by onnxruntime: pip install 'ganzoo[onnx]'.") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no class in common
        raise ExportError(f"{path.name} is damaged: {_first_line(error)} Export again.") from None
    named = {"inputs": [one.name for one in session.get_inputs()], "outputs": [o.name for o in session.get_outputs()]}
    _check_signature(path, {SIGNATURE: named}, inputs)
    return lambda given: session.run([OUTPUT], dict(given))[0]


def _check_signature(path: Path, found: Mapping[str, Any], inputs: Mapping[str, np.ndarray]) -> None:
    expected = {"inputs": sorted(inputs), "outputs": [OUTPUT]}
    received = {kind: sorted(found.get(SIGNATURE, {}).get(kind, ())) for kind in expected}
    if received != expected:
        raise ExportError(
            f"{path.name} must have the signature {SIGNATURE} with {expected}. Received: signatures {sorted(found)}, "
            f"{received}."
        )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
