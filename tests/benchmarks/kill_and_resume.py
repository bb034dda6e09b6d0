"""Is a run that was killed and resumed the same as one that was not? Train twice, kill one, compare every array.

    python tests/benchmarks/kill_and_resume.py emoji runs --samples 12800 --signal SIGTERM

Writes the two run directories `whole` and `killed` into the given folder. The second gets the signal three times, each
at a random moment (up to 15% of the first run's time) after its process wrote a new checkpoint. After SIGTERM and
SIGINT its last checkpoint must be newer than that one, and its exit code 143 or 130.

All processes have TF_NUM_INTEROP_THREADS=1: on a busy machine TensorFlow else adds three or more parts of a gradient in
the order in which they are ready, and two runs that were never stopped differ, too.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    """Train, kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--entry", default="image/projected_mobile_64")
    parser.add_argument("--samples", type=int, default=12_800)
    parser.add_argument("--every", type=int, default=1_600, help="samples between checkpoints")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--signal", default="SIGKILL", choices=["SIGKILL", "SIGTERM", "SIGINT"])
    options = parser.parse_args()
    number = getattr(signal, options.signal)
    os.environ["TF_NUM_INTEROP_THREADS"] = "1"
    command = [sys.executable, "-m", "ganzoo", "train", options.entry, "--data", options.data]
    command += ["--samples", str(options.samples), "--set", f"training.snapshot_every={options.every}", "--run"]

    whole, killed = options.out / "whole", options.out / "killed"
    began = time.monotonic()
    subprocess.run([*command, str(whole)], check=True, stdout=subprocess.DEVNULL)
    took = time.monotonic() - began
    print(f"unbroken: {took:.0f} s", flush=True)

    draw = random.Random(options.seed)
    kills = 0
    while kills < 3:
        before = _checkpoints(killed)
        process = subprocess.Popen([*command, str(killed)], stdout=subprocess.DEVNULL)
        while process.poll() is None and (not _checkpoints(killed) or _checkpoints(killed) == before):
            time.sleep(0.05)
        wait = draw.uniform(0.0, 0.15) * took
        try:
            process.wait(wait)
        except subprocess.TimeoutExpired:
            last = _checkpoints(killed)[-1]
            process.send_signal(number)
            code = process.wait()
            kills += 1
            if number != signal.SIGKILL and (code != 128 + number or _checkpoints(killed)[-1] == last):
                sys.exit(f"{options.signal}: exit code {code}, the last checkpoint is still {last}.")
            print(f"killed {wait:.1f} s after a checkpoint; the last is {_checkpoints(killed)[-1]}", flush=True)
        else:
            sys.exit(f"The run ended before kill {kills + 1}: give it more samples.")
    subprocess.run([*command, str(killed)], check=True, stdout=subprocess.DEVNULL)

    from safetensors.numpy import load_file

    name = f"checkpoints/{options.samples:09d}.safetensors"
    one, other = load_file(whole / name), load_file(killed / name)
    keys = sorted(one.keys() - {"run/seconds"})
    if one.keys() != other.keys():
        sys.exit(f"Different arrays: {sorted(one.keys() ^ other.keys())}")
    furthest = max(float(np.max(np.abs(one[k].astype("float64") - other[k].astype("float64")))) for k in keys)
    equal = sum(np.array_equal(one[key], other[key]) for key in keys)
    print(f"{equal} of {len(keys)} arrays equal bit for bit; largest difference {furthest:g}")


def _checkpoints(run: Path) -> list[str]:
    return sorted((path.stem for path in (run / "checkpoints").glob("[0-9]*.safetensors")), key=int)


if __name__ == "__main__":
    main()
