"""Times and memory of an exported file in a process of its own.

A process that has exported, or loaded TensorFlow, would count what it holds itself; and a damaged file may end it, or
never finish. The process imports this very package and what this process would import, whatever the current folder
holds.
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
SECONDS = 600.0  # that a file may take in all
_MOST_MEMORY = 16 << 30  # bytes of addresses of a process that runs a TFLite or ONNX file
_SECONDS = 0.3  # of steady running for each number of threads
_START = """
import importlib.util, json, sys
path, where, module, *arguments = json.loads(sys.argv[1])
sys.path[:] = path
for name, file in where.items():
    spec = importlib.util.spec_from_file_location(name, file)
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
importlib.import_module(module).main(arguments)
"""


def measure(path: Path, reference: Path) -> dict[str, Any]:
    """Measure a file on the first inputs of a reference.

    Returns:
        `first_ms`: opening and the first run, on one thread; `peak_bytes`: by how much the process' memory grew for
        these and a second run (None where the system does not tell); `steady`: median and minimum in milliseconds by
        number of threads (for a SavedModel TensorFlow's own, since it takes no other).

    Raises:
        ExportError: it cannot be opened or run; also where it would have ended this process.
    """
    try:
        done = run_isolated(__name__, [str(path.absolute()), str(reference.absolute())], SECONDS)
    except subprocess.TimeoutExpired:
        raise ExportError(
            f"{path.name} was not measured within {SECONDS:.0f} seconds: its process was ended. It is damaged, or "
            "too large for this machine."
        ) from None
    if done.returncode < 0:
        raise ExportError(f"{path.name} ends the runtime (signal {-done.returncode}): it is damaged. Export again.")
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise ExportError(f"{path.name} cannot be measured: {reason}")
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise ExportError(f"{path.name} cannot be measured: its process printed no result. Export again.") from None
    if "error" in found:
        raise ExportError(found["error"])
    return found


def run_isolated(module: str, arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """Run `main(arguments)` of a module of this package in a new Python, which sees no module of the current folder.

    Python's isolated mode leaves out the current folder and PYTHONPATH. The new process then takes this one's path
    without entries relative to the current folder, and this one's `ganzoo`, even where another one is installed.

    Raises:
        subprocess.TimeoutExpired: it took more than `seconds`; it is ended then.
    """
    packages = [name for name in ("ganzoo", module.rpartition(".")[0]) if name in sys.modules]
    where = {name: sys.modules[name].__file__ for name in packages}
    path = [str(entry) for entry in sys.path if entry and Path(entry).is_absolute()]
    command = [sys.executable, "-I", "-X", "utf8", "-c", _START, json.dumps([path, where, module, *arguments])]
    return subprocess.run(
        command,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=seconds,
    )


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
    if form != "saved_model":
        _limit_memory()
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


def _limit_memory() -> None:
    """Let what a file claims to need fail, rather than take the machine's memory (where the system has such limits)."""
    try:
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        most = _MOST_MEMORY if hard == resource.RLIM_INFINITY else min(_MOST_MEMORY, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    except (ImportError, ValueError, OSError):
        return


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
    except Exception as error:  # of a runtime that digests a damaged file
        first = (str(error).splitlines() or [""])[0]
        found = {"error": f"{Path(path).name} is damaged: {first or type(error).__name__}. Export again."}
    print(json.dumps(found))
