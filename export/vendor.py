"""Fetches Google's LiteRT.js from the npm registry for the web page: `python -m ganzoo.export.vendor FOLDER`.

The packages (Apache-2.0) are pinned and checked by their sha512. Of the runtime's variants those for a page without
cross-origin isolation are kept, with and without relaxed SIMD; the browser takes the one that it can run.
"""

import base64
import hashlib
import io
import os
import shutil
import sys
import tarfile
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from ganzoo.errors import ExportError
from ganzoo.files.cache import cache_dir
from ganzoo.files.writing import temporary_name

VERSION = "2.5.3"
_TIMEOUT = 60.0  # seconds without an answer
_MOST = 64 << 20  # bytes of a package
PACKAGES: Mapping[str, tuple[str, tuple[str, ...]]] = {  # folder: sha512, the files that are kept
    "core": (
        "PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ==",
        (
            "dist/index.js",
            "wasm/litert_wasm_internal.js",
            "wasm/litert_wasm_internal.wasm",
            "wasm/litert_wasm_compat_internal.js",
            "wasm/litert_wasm_compat_internal.wasm",
        ),
    ),
    "wasm-utils": (
        "4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
        ("dist/index.js",),
    ),
}


def vendored() -> Path:
    """The folder with LiteRT.js in the cache, fetched where it is missing.

    Raises:
        ExportError: the registry cannot be reached, or gives other files.
    """
    folder = cache_dir("litertjs") / VERSION
    if not all((folder / name).is_file() for name in files()):
        fetch(folder)
    return folder


def files() -> list[str]:
    """The files of the folder, as the page asks for them."""
    return [f"{package}/{_place(name)}" for package, (_, names) in PACKAGES.items() for name in names]


def fetch(folder: Path) -> None:
    """Fetch all packages into a folder, whole or not at all."""
    staged = folder.with_name(temporary_name(folder.name))
    try:
        for package, (sha512, names) in PACKAGES.items():
            content = _download(f"https://registry.npmjs.org/@litertjs/{package}/-/{package}-{VERSION}.tgz", sha512)
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
                for name in names:
                    target = staged / package / _place(name)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(archive.extractfile(f"package/{name}").read())
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(staged, folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _download(address: str, sha512: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:
            content = answer.read(_MOST)
    except OSError as error:
        raise ExportError(
            f"LiteRT.js, which the page runs on, cannot be fetched from {address} ({error}). It is needed once: try "
            "again with a network, or copy the folder ~/.cache/ganzoo/litertjs from a machine that has it."
        ) from None
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != sha512:
        raise ExportError(f"{address} is not the package that is expected (sha512). It is refused.")
    return content


def _place(name: str) -> str:
    return name.removeprefix("dist/")


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
