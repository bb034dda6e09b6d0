"""From many image files to one sample set: decoded once, in threads, in a fixed order, and cached on disk."""

import contextlib
import hashlib
import json
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ganzoo.cache import atomic_write, atomic_write_bytes, cache_dir
from ganzoo.data.decode import Decoded, Unreadable, decode_image
from ganzoo.data.options import ImageOptions
from ganzoo.data.sample_set import Original, Problem, SampleSet
from ganzoo.errors import DataError

READER_VERSION = 1  # to be raised whenever the same file would give other pixels or another reason
MEMORY_MAPPED_FROM = 2**30
_CHUNK = 256

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImageFile:
    """A candidate: its path inside the data, how it is opened, and what changes when its content does."""

    path: str
    open: Callable[[], BinaryIO]
    key: tuple = ()


def workers() -> int:
    """How many threads decode: Pillow lets go of Python's lock while it decodes and resizes."""
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _try(file: ImageFile, options: ImageOptions) -> Decoded | Problem:
    try:
        with file.open() as opened:
            return decode_image(opened, file.path, options)
    except Unreadable as error:
        return Problem(file.path, str(error))
    except PermissionError:
        return Problem(file.path, "no permission to read it")
    except OSError as error:
        return Problem(file.path, f"cannot be opened ({error.strerror or error})")


@contextlib.contextmanager
def _bombs_are_errors() -> Iterator[None]:
    from PIL import Image

    Image.init()  # loads the plug-ins here rather than in many threads at once
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _decode_all(files: Sequence[ImageFile], options: ImageOptions, out: BinaryIO, progress: Progress | None) -> dict:
    """Writes the pixels of all readable `files` to `out`, in order, and returns what else there is to know."""
    originals, problems, animated, enlarged = [], [], 0, 0
    with _bombs_are_errors(), ThreadPoolExecutor(workers()) as pool:
        for start in range(0, len(files), _CHUNK):
            for result in pool.map(lambda file: _try(file, options), files[start : start + _CHUNK]):
                if isinstance(result, Problem):
                    problems.append(result)
                    continue
                out.write(result.pixels.tobytes())
                originals.append(result.original)
                animated += result.animated
                enlarged += result.enlarged
            if progress is not None:
                progress(min(start + _CHUNK, len(files)), len(files))
    return {"originals": originals, "problems": problems, "animated": animated, "enlarged": enlarged}


def cached_pixels(key: object, shape: tuple[int, ...], produce: Callable[[BinaryIO], dict]) -> tuple[np.ndarray, dict]:
    """The uint8 array (N, *shape) that `produce` writes to a file, and the JSON-able dict that it returns.

    Both are kept in the cache folder under the hash of `key`; from 1 GiB on the array is memory-mapped. Where the
    cache cannot be written (a read-only home, a full disk) the work is done without it.
    """
    name = hashlib.sha256(json.dumps([READER_VERSION, key, shape], default=str).encode()).hexdigest()[:32]
    information: dict = {}

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            information.update(produce(file))

    try:
        folder = cache_dir("data")
        pixels, facts = folder / f"{name}.u8", folder / f"{name}.json"
        found = _read_cached(pixels, facts, shape)
        if found is not None:
            return found
        atomic_write(pixels, write)
        information["bytes"] = pixels.stat().st_size
        atomic_write_bytes(facts, json.dumps(information).encode())
        found = _read_cached(pixels, facts, shape)
        if found is not None:
            return found
    except OSError:
        information.clear()
    with tempfile.TemporaryFile() as file:
        information.update(produce(file))
        file.seek(0)
        data = np.frombuffer(file.read(), np.uint8)
    return data.reshape(-1, *shape), json.loads(json.dumps(information))


def _read_cached(pixels: Path, facts: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, dict] | None:
    try:
        information = json.loads(facts.read_bytes())
        if pixels.stat().st_size != information["bytes"]:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if information["bytes"] >= MEMORY_MAPPED_FROM:
        data = np.memmap(pixels, np.uint8, mode="r")
    else:
        data = np.fromfile(pixels, np.uint8)
    return data.reshape(-1, *shape), information


def classes_of(paths: Iterable[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """The sorted first parts of `paths` ("cat/1.png" -> "cat"), and for each path the index of its own, int32."""
    parts = [path.split("/", 1)[0] for path in paths]
    names = tuple(sorted(set(parts)))
    index = {name: number for number, name in enumerate(names)}
    return names, np.asarray([index[part] for part in parts], np.int32)


def read_image_files(
    files: Sequence[ImageFile],
    options: ImageOptions,
    source: str,
    problems: Sequence[Problem] = (),
    progress: Progress | None = None,
) -> SampleSet:
    """Decodes `files` (sorted by path; the first part of a path is its class, where `options.labelled`).

    Args:
        files: the candidates.
        options: the wanted form.
        source: what is read, for the log and for errors: "the folder /data/cats".
        problems: what was found unreadable before this.
        progress: is called with (done, all) now and then.

    Raises:
        DataError: not one image can be read.
    """
    files, problems = list(files), list(problems)
    classes = options.labelled and any("/" in file.path for file in files)
    if classes:
        problems += [Problem(file.path, "lies outside the class folders") for file in files if "/" not in file.path]
        files = [file for file in files if "/" in file.path]
    key = [source, [(file.path, *file.key) for file in files], options.size, options.channels, options.fit]
    key.append(options.colour)
    if files:
        samples, facts = cached_pixels(key, options.shape, lambda out: _decode_all(files, options, out, progress))
    else:
        samples, facts = np.zeros((0, *options.shape), np.uint8), {"originals": [], "problems": []}
    found = sorted(problems + [Problem(*problem) for problem in facts["problems"]])
    problems = [problem._replace(path=_as_text(problem.path)) for problem in found]
    originals = tuple(Original(_as_text(path), *rest) for path, *rest in facts["originals"])
    if not originals:
        raise DataError(_nothing(source, problems))
    names, labels = classes_of(original.path for original in originals) if classes else ((), None)
    return SampleSet(
        samples=samples,
        labels=labels,
        class_names=names,
        problems=problems,
        source=source,
        notes=_notes([original.path for original in originals], names, problems, options, facts),
        originals=originals,
    )


def _as_text(path: str) -> str:
    """A path that can be printed: a file's name may be any bytes."""
    return path.encode("utf-8", "backslashreplace").decode("utf-8")


def _nothing(source: str, problems: list[Problem]) -> str:
    allowed = "Give a folder or a zip with PNG, JPEG, WebP, BMP, GIF or TIFF images."
    if not problems:
        return f"There is no image in {source}: it is empty. {allowed}"
    reasons = Counter(problem.reason.split(" (")[0] for problem in problems)
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return (
        f"There is no readable image in {source}: {len(problems)} files were skipped ({counts}). "
        f"The first: {problems[0].path}: {problems[0].reason}. {allowed}"
    )


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" + ("" if number == 1 else "s")


def _notes(
    paths: list[str], names: tuple[str, ...], problems: list[Problem], options: ImageOptions, facts: dict
) -> tuple[str, ...]:
    notes = []
    folders = {path.split("/", 1)[0] for path in paths if "/" in path}
    if names:
        notes.append(
            f"{_count(len(names), 'sub-folder')} read as classes: {', '.join(names[:12])}"
            + (", ..." if len(names) > 12 else "")
        )
    elif options.labelled:
        notes.append("the entry takes classes, but the images lie in no sub-folders: no classes")
    elif folders:
        notes.append(f"{_count(len(folders), 'sub-folder')} read as one set: the entry has no classes")
    if facts["animated"]:
        notes.append(f"{_count(facts['animated'], 'file')} with several images: the first one taken")
    if facts["enlarged"]:
        notes.append(f"{_count(facts['enlarged'], 'image')} smaller than {options.size} px enlarged")
    if problems:
        notes.append(f"{_count(len(problems), 'file')} skipped")
    return tuple(notes)
