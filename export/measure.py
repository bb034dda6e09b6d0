"""Times and memory of an exported file in a process of its own: `python -m ganzoo.export.measure FILE REFERENCE`.

A process that has exported, or loaded TensorFlow, would count what it holds itself.
"""

import gc
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo.errors import ExportError

from .files import FILES, open_file, tensorflow_threads
from .reference import load_reference

THREADS = (1, 2, 4)
_SECONDS = 0.3  # of steady running for each number of threads


def measure(path: Path, reference: Path) -> dict[str, Any]:
    """Measure a file on the first inputs of a reference.

    Returns:
        `first_ms`: opening and the first run, on one thread; `peak_bytes`: by how much the process' memory grew for
        these and a second run (None where the system does not tell); `steady`: median and minimum in milliseconds by
        number of threads (for a SavedModel TensorFlow's own, since it takes no other).

    Raises:
        ExportError: it cannot be opened or run; also where it would have ended this process.
    """
    command = [sys.executable, "-m", __name__, str(path), str(reference)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode < 0:
        raise ExportError(f"{path.name} ends the runtime (signal {-done.returncode}): it is damaged. Export again.")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise ExportError(f"{path.name} cannot be measured: {reason}")
    found = json.loads(done.stdout.splitlines()[-1])
    if "error" in found:
        raise ExportError(found["error"])
    return found


def latency(run: Callable[[], Any], seconds: float = _SECONDS) -> dict[str, Any]:
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
    }


def _measure_here(path: Path, reference: Path) -> dict[str, Any]:
    inputs = load_reference(reference).first()
    form, _ = FILES[path.name]
    if form == "tflite":
        from ai_edge_litert.interpreter import Interpreter  # noqa: F401  its loading is not the file's
    elif form == "onnx":
        import onnxruntime  # noqa: F401
    else:
        import tensorflow as tf

        tf.zeros(())
    gc.collect()
    before = _reset_memory()
    start = time.perf_counter()
    run = open_file(path, inputs)
    run(inputs)
    first = 1000 * (time.perf_counter() - start)
    run(inputs)
    peak = None if before is None else max(_memory("VmHWM") - before, 0)
    steady = {}
    for threads in (tensorflow_threads(),) if form == "saved_model" else THREADS:
        again = run if threads == 1 else open_file(path, inputs, threads)
        steady[str(threads)] = latency(lambda again=again: again(inputs))
    return {"first_ms": round(first, 3), "peak_bytes": peak, "steady": steady}


def _reset_memory() -> int | None:
    """Let the high-water mark of the memory begin anew (Linux); the memory now, in bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _memory("VmRSS")
    except OSError:
        return None


def _memory(kind: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(f"{kind}:")).split()[1])


def main(arguments: Sequence[str]) -> None:
    """Print what `measure` returns as one line of JSON."""
    path, reference = arguments
    try:
        found = _measure_here(Path(path), Path(reference))
    except ExportError as error:
        found = {"error": str(error)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
