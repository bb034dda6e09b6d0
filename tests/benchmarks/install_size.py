"""How much an installation downloads, and how much space its packages take once they are unpacked.

    python tests/benchmarks/install_size.py [WHEELS]

Gets ganzoo and its dependencies as wheels with pip (or reads those in the folder WHEELS), and writes
`install_size.json` next to this script, in bytes: `download` (all wheels but ganzoo's own), `unpacked` (the sizes of
their files), `packages` (unpacked, by name), `headers` (TensorFlow's C++ headers) and `shipped` (ganzoo's networks,
features and digits). The bytecode that Python writes for itself is not counted.
"""

import json
import platform
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

TOP = Path(__file__).parents[2]
OUT = Path(__file__).with_suffix(".json")


def unpacked(wheel: Path, inside: str = "") -> int:
    """Bytes of a wheel's files, of those in a folder inside it."""
    with zipfile.ZipFile(wheel) as opened:
        return sum(file.file_size for file in opened.infolist() if file.filename.startswith(inside))


def measure(folder: Path) -> dict:
    """The sizes of the wheels in a folder."""
    wheels = {path.name.split("-")[0].lower().replace("_", "-"): path for path in sorted(folder.glob("*.whl"))}
    packages = {name: unpacked(path) for name, path in wheels.items()}
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "download": sum(path.stat().st_size for name, path in wheels.items() if name != "ganzoo"),
        "unpacked": sum(packages.values()),
        "headers": unpacked(wheels["tensorflow"], "tensorflow/include/"),
        "shipped": unpacked(wheels["ganzoo"], "ganzoo/zoo_configs/"),
        "packages": dict(sorted(packages.items(), key=lambda item: -item[1])),
    }


def main(wheels: str | None = None) -> None:
    """Get the wheels, measure, write."""
    with tempfile.TemporaryDirectory() as temporary:
        if wheels is None:
            pip = [sys.executable, "-m", "pip", "--quiet", "wheel", "--no-cache-dir"]
            subprocess.run([*pip, "--wheel-dir", temporary, str(TOP)], check=True)
        found = measure(Path(wheels or temporary))
    OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(*sys.argv[1:])
