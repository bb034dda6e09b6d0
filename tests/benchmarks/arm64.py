"""Runs an export's TFLite files under an emulated ARM64 interpreter; compares with this machine's and Keras' numbers.

    python tests/benchmarks/arm64.py EXPORTED [OUT.json]

Works on Debian for x86-64, without being root and without installing anything: Debian's arm64 Python and libraries,
qemu-user and the runtime's aarch64 wheels are fetched into a folder of the cache, unpacked, and run from there. (qemu
10 of Debian trixie: bookworm's 7.2 crashes in the interpreter.) Emulation tells numbers, not times.
"""

import json
import lzma
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from pathlib import Path

import numpy as np

from ganzoo.export.files import FILES, open_file
from ganzoo.export.reference import load_reference
from ganzoo.files.cache import cache_dir

DEBIAN = "https://deb.debian.org/debian"
ARM = [
    *("libc6", "libgcc-s1", "libstdc++6", "zlib1g", "libexpat1", "libffi8", "libbz2-1.0", "liblzma5", "libcrypt1"),
    *("libuuid1", "libsqlite3-0", "libssl3", "python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib"),
]
WHEELS = ["ai-edge-litert", "numpy", "ml_dtypes", "flatbuffers", "backports.strenum", "tqdm"]
PLATFORMS = ("manylinux_2_27_aarch64", "manylinux_2_28_aarch64", "manylinux2014_aarch64", "manylinux_2_17_aarch64")
THERE = """
import json, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
reference = np.load(sys.argv[1])
inputs = {name[6:]: reference[name] for name in reference if name.startswith("input/")}
made = {}
for path in sys.argv[3:]:
    runner = Interpreter(path, num_threads=1).get_signature_runner("serving_default")
    count = len(inputs["truncation"])
    each = [runner(**{name: values[i : i + 1] for name, values in inputs.items()})["samples"] for i in range(count)]
    made[path] = np.concatenate(each)
np.savez(sys.argv[2], **made)
import platform
print(platform.machine())
"""


def main(exported: str, out: str | None = None) -> None:
    """Print a table, and write it as JSON."""
    root = prepared()
    folder = Path(exported)
    names = [name for name, (form, _) in FILES.items() if form == "tflite" and (folder / name).is_file()]
    reference = load_reference(folder / "reference.npz")
    with tempfile.TemporaryDirectory() as scratch:
        script, made = Path(scratch) / "there.py", Path(scratch) / "made.npz"
        script.write_text(THERE)
        command = [str(root / "qemu/usr/bin/qemu-aarch64"), "-cpu", "cortex-a76", "-L", str(root / "arm64")]
        command += [str(root / "arm64/usr/bin/python3.11"), str(script), str(folder / "reference.npz"), str(made)]
        environment = {**os.environ, "PYTHONHOME": str(root / "arm64/usr"), "PYTHONPATH": str(root / "wheels")}
        done = subprocess.run(
            [*command, *(str(folder / name) for name in names)], env=environment, capture_output=True, text=True
        )
        if done.returncode:
            raise SystemExit(f"The emulated run failed: {done.stderr[-2000:]}")
        with np.load(made) as arrays:
            there = {name: arrays[str(folder / name)] for name in names}
    found = {"machine": done.stdout.split()[-1], "samples": len(reference.samples), "files": {}}
    for name in names:
        run = open_file(folder / name, reference.inputs)
        here = np.concatenate([run(one) for one in reference.each()])
        found["files"][name] = {
            "from_this_machine": float(np.abs(there[name] - here).max()),
            "mean_from_this_machine": float(np.abs(there[name] - here).mean()),
            "from_keras": float(np.abs(there[name] - reference.samples).max()),
            "equal": bool(np.array_equal(there[name], here)),
        }
        print(name, found["machine"], json.dumps(found["files"][name]))
    if out:
        Path(out).write_text(json.dumps(found, indent=1) + "\n")


def prepared() -> Path:
    """The folder with the emulator, the ARM64 Python and the wheels, fetched where it is missing."""
    root = cache_dir("arm64")
    if not (root / "complete").is_file():
        unpack("bookworm", "arm64", ARM, root / "arm64")
        unpack("trixie", "amd64", ["qemu-user"], root / "qemu")
        with tempfile.TemporaryDirectory() as folder:
            asked = [argument for name in PLATFORMS for argument in ("--platform", name)]
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", folder]
            subprocess.run([*command, "--python-version", "3.11", *asked, *WHEELS], check=True)
            for wheel in Path(folder).glob("*.whl"):
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(root / "wheels")
        (root / "complete").touch()
    return root


def unpack(suite: str, architecture: str, packages: list[str], target: Path) -> None:
    """Fetch packages of a Debian release and unpack them into a folder."""
    index = f"{DEBIAN}/dists/{suite}/main/binary-{architecture}/Packages.xz"
    with urllib.request.urlopen(index) as answer:
        text = lzma.decompress(answer.read()).decode()
    places = dict(re.findall(r"^Package: (\S+)\n(?:.+\n)*?Filename: (\S+)$", text, re.MULTILINE))
    target.mkdir(parents=True, exist_ok=True)
    for package in packages:
        with (
            tempfile.NamedTemporaryFile(suffix=".deb") as file,
            urllib.request.urlopen(f"{DEBIAN}/{places[package]}") as answer,
        ):
            file.write(answer.read())
            file.flush()
            subprocess.run(["dpkg", "-x", file.name, str(target)], check=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
