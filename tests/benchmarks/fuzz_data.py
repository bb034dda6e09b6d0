"""Mutated data files: each must be read, or end in `DataError`, within bounded memory and time.

    python tests/benchmarks/fuzz_data.py [COUNT] [SEED]

Prints how many were accepted, how many ended in a clear error, and every other end with the file that caused it.
"""

import collections
import io
import json
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from ganzoo.data.images import ImageOptions, load_images
from ganzoo.data.images.description import describe_data
from ganzoo.errors import DataError

MEMORY = 3 * 2**30  # bytes of address space
SECONDS = 20
PIXELS = np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), np.uint8)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def packed(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def arrays(save, *args, **kwargs) -> bytes:
    file = io.BytesIO()
    save(file, *args, **kwargs)
    return file.getvalue()


def seeds() -> dict[str, bytes]:
    """Whole files of every kind; what lies in a folder has the folder in its name."""
    colour = Image.fromarray(PIXELS[0])
    deep = Image.fromarray(PIXELS[0, :, :, 0].astype(np.uint16) * 16)
    png = encoded(colour, "PNG")
    found = {
        "f/a.png": png,
        "f/deep.png": encoded(deep, "PNG"),
        "f/a.jpg": encoded(colour, "JPEG"),
        "f/a.gif": encoded(colour.quantize(), "GIF", save_all=True, append_images=[colour.quantize()]),
        "f/a.webp": encoded(colour, "WEBP"),
        "f/a.bmp": encoded(colour, "BMP"),
        "f/a.tif": encoded(colour, "TIFF", compression="tiff_lzw"),
        "f/deep.tif": encoded(deep, "TIFF"),
        "f/float.tif": encoded(Image.fromarray(PIXELS[0, :, :, 0].astype(np.float32)), "TIFF"),
        "a.npy": arrays(np.save, PIXELS),
        "float.npy": arrays(np.save, PIXELS.astype(np.float32) / 255),
        "a.npz": arrays(np.savez_compressed, images=PIXELS, labels=np.arange(6)),
        "train-images-idx3-ubyte": struct.pack(">HBB3I", 0, 8, 3, 6, 24, 24) + PIXELS[..., 0].tobytes(),
        "a.zip": packed({f"{name}/{i}.png": png for name in "ab" for i in range(3)}),
    }
    labels = json.dumps({"labels": [["a.png", 1], ["b/b.png", 0]]}).encode()
    for name, text in {
        "dataset.json": labels,
        "labels.csv": b"file,label\na.png,cat\nb/b.png,dog\n",
        "metadata.jsonl": b'{"file_name": "a.png", "label": "cat"}\n{"file_name": "b/b.png", "label": 3}\n',
    }.items():
        found[f"f/{name}"] = text
        found[f"{name}.zip"] = packed({"a.png": png, "b/b.png": png, name: text})
    return found


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """`data` with one to four changes: bits, bytes, numbers of 32 bits, pieces cut out, doubled or put in."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        at = int(rng.integers(0, max(len(out), 1)))
        at = at if rng.random() < 0.5 else at % 64  # headers are short
        kind = rng.integers(0, 7)
        if not out:
            break
        if kind == 0:
            out[at % len(out)] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            out[at % len(out)] = int(rng.integers(0, 256))
        elif kind == 2:
            number = int(rng.choice([0, 1, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1]))
            out[at : at + 4] = struct.pack(rng.choice(["<I", ">I"]), number)
        elif kind == 3:
            del out[at:]
        elif kind == 4:
            del out[at : at + int(rng.integers(1, 64))]
        elif kind == 5:
            out[at:at] = out[at : at + int(rng.integers(1, 64))] * int(rng.integers(1, 20))
        else:
            out[at:at] = rng.bytes(int(rng.integers(1, 16)))
    return bytes(out)


def attempt(folder: Path, name: str, data: bytes) -> str:
    """How reading ends: "accepted", "clear error", or something else in words."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    if name.startswith("f/"):
        path = path.parent
        (path / "a.png").exists() or (path / "a.png").write_bytes(seeds()["f/a.png"])
        (path / "b").mkdir(exist_ok=True)
        (path / "b" / "b.png").write_bytes(seeds()["f/a.png"])

    def late(*_):
        raise TimeoutError(f"over {SECONDS} s")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    try:
        describe_data(load_images(path, ImageOptions(16, labelled=True)), ImageOptions(16, labelled=True)).table()
        return "accepted"
    except DataError as error:
        return "clear error" if "TimeoutError" not in str(error) else str(error)
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)


def main(count: int = 500, seed: int = 0) -> int:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    rng, outcomes, slowest = np.random.default_rng(seed), collections.Counter(), 0.0
    names = sorted(seeds())
    for index in range(count):
        name = names[index % len(names)]
        data = mutated(seeds()[name], rng)
        with tempfile.TemporaryDirectory() as folder:
            started = time.monotonic()
            outcome = attempt(Path(folder), name, data)
            slowest = max(slowest, time.monotonic() - started)
        outcomes[outcome if outcome in ("accepted", "clear error") else "other"] += 1
        if outcome not in ("accepted", "clear error"):
            kept = Path(tempfile.gettempdir()) / f"fuzz_data_{seed}_{index}_{Path(name).name}"
            kept.write_bytes(data)
            print(f"{name}: {outcome} (kept as {kept})")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count} files: {dict(outcomes)}; slowest {slowest:.1f} s, peak {peak:.0f} MiB")
    return outcomes["other"]


if __name__ == "__main__":
    import os

    os.environ["GANZOO_CACHE"] = cache = tempfile.mkdtemp()
    failed = main(*(int(argument) for argument in sys.argv[1:3]))
    shutil.rmtree(cache)
    sys.exit(bool(failed))
