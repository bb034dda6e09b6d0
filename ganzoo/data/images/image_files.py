"""From many image files to one sample set: decoded once, in threads, in a fixed order, and cached on disk."""

import contextlib
import hashlib
import json
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ganzoo.data.images.decode import LARGE, Decoded, decode_image
from ganzoo.data.images.image_file import ImageFile
from ganzoo.data.images.labels import class_notes, numbered
from ganzoo.data.images.layout import arrange
from ganzoo.data.images.limits import check_memory, workers
from ganzoo.data.images.options import ImageOptions
from ganzoo.data.images.pixels import Scales, Unreadable, Values, decide, describe_scale
from ganzoo.data.sample_set import Original, Problem, SampleSet
from ganzoo.errors import DataError, GanzooError
from ganzoo.files.cache import cache_dir
from ganzoo.files.reading import MOST_LINES, FileProblem, parse_json, read_bytes
from ganzoo.files.writing import atomic_write, atomic_write_bytes
from ganzoo.printing import printable

READER_VERSION = 2  # to be raised whenever the same file would give other pixels or another reason
MEMORY_MAPPED_FROM = 2**30
_CHUNK = 256

log = logging.getLogger("ganzoo")

Progress = Callable[[int, int], None]


def _attempt(file: ImageFile, options: ImageOptions, scales: Scales) -> Decoded:
    """Decodes one file; raises `Unreadable` whatever goes wrong."""
    try:
        with file.open() as opened:
            return decode_image(opened, file.path, options, scales)
    except Unreadable:
        raise
    except PermissionError as error:
        raise Unreadable("no permission to read it", passing=True) from error
    except MemoryError as error:
        raise Unreadable("out of memory while it was read", passing=True) from error
    except OSError as error:
        raise Unreadable(f"cannot be opened ({error.strerror or error})", passing=True) from error
    # A reader of archives may raise nearly anything on broken files.
    except Exception as error:
        raise Unreadable(f"cannot be opened ({error or type(error).__name__})") from error


def _try(file: ImageFile, options: ImageOptions, scales: Scales | None = None) -> Decoded | tuple[Problem, bool]:
    """The decoded file, or why it cannot be decoded and whether that may pass; a second attempt is made alone."""
    scales = scales or Scales()
    try:
        return _attempt(file, options, scales)
    except Unreadable as error:
        if not error.passing:
            return Problem(file.path, str(error)), False
    try:
        with LARGE:
            return _attempt(file, options, scales)
    except Unreadable as error:
        return Problem(file.path, str(error)), error.passing


@contextlib.contextmanager
def _bombs_are_errors() -> Iterator[None]:
    from PIL import Image

    Image.init()  # loads the plug-ins here rather than in many threads at once
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


@dataclass
class _Pass:
    """What one pass over all files found."""

    files: list[ImageFile] = field(default_factory=list)
    originals: list[Original] = field(default_factory=list)
    values: list[Values] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    profiles: Counter = field(default_factory=Counter)
    passing: int = 0
    animated: int = 0
    enlarged: int = 0

    def add(self, file: ImageFile, result: Decoded | tuple[Problem, bool]) -> bool:
        """Takes a result; whether it has pixels."""
        if not isinstance(result, Decoded):
            self.problems.append(result[0])
            self.passing += result[1]
            return False
        self.files.append(file)
        self.originals.append(result.original)
        self.values.append(result.values)
        self.profiles[result.profile] += bool(result.profile)
        self.animated += result.animated
        self.enlarged += result.enlarged
        return True


def _decode_all(files: Sequence[ImageFile], options: ImageOptions, out: BinaryIO, progress: Progress | None) -> dict:
    """Writes the pixels of all readable `files` to `out`, in order, and returns what else there is to know.

    What values mean is decided after the first pass over all files. Where that is not what was guessed at first, those
    files are decoded once more.
    """
    found, first = _Pass(), Scales()
    with _bombs_are_errors(), ThreadPoolExecutor(workers()) as pool:
        for start in range(0, len(files), _CHUNK):
            chunk = files[start : start + _CHUNK]
            for file, result in zip(chunk, pool.map(lambda f: _try(f, options, first), chunk), strict=True):
                if found.add(file, result):
                    out.write(result.pixels.tobytes())
            if progress is not None:
                progress(min(start + _CHUNK, len(files)), len(files))
        decided = decide(found.values)
        again = [
            index
            for index, values in enumerate(found.values)
            if values.tagged is None and decided.get(values.kind, 0) != first.full.get(values.kind, 0)
        ]
        if again:
            final = Scales({**first.full, **decided})
            _decode_again(found, again, final, options, (out, pool))
    return {
        "originals": found.originals,
        "problems": found.problems,
        "passing": found.passing,
        "animated": found.animated,
        "enlarged": found.enlarged,
        "assumed": _assumptions(found.values, decided),
        "profiles": {name: count for name, count in found.profiles.most_common() if name},
    }


def _decode_again(
    found: _Pass, again: Sequence[int], scales: Scales, options: ImageOptions, to: tuple[BinaryIO, ThreadPoolExecutor]
) -> None:
    """Decodes the files with the indices `again` by other scales; replaces their pixels in the file in `to`."""
    out, pool = to
    size = int(np.prod(options.shape))
    for start in range(0, len(again), _CHUNK):
        chunk = again[start : start + _CHUNK]
        for index, result in zip(chunk, pool.map(lambda i: _try(found.files[i], options, scales), chunk), strict=True):
            if not isinstance(result, Decoded):
                raise DataError(
                    f"{printable(found.files[index].path)} was read once, but not a second time: {result[0].reason}. "
                    "Was it changed? Try again, or remove it."
                )
            out.seek(index * size)
            out.write(result.pixels.tobytes())
    out.seek(0, 2)


def _assumptions(found: Sequence[Values], decided: dict[str, float]) -> list[str]:
    """What was assumed of the values, in words."""
    groups: dict[tuple[str, float], list[float]] = {}
    for values in found:
        if values.kind:
            full = values.tagged or decided[values.kind]
            groups.setdefault((values.kind, full), []).append(values.high)
    texts = (describe_scale(kind, full, max(highs), len(highs)) for (kind, full), highs in sorted(groups.items()))
    return [text for text in texts if text]


def cached_pixels(key: object, shape: tuple[int, ...], produce: Callable[[BinaryIO], dict]) -> tuple[np.ndarray, dict]:
    """The uint8 array (N, *shape) that `produce` writes to a file, and the JSON-able dict that it returns.

    Both are kept in the cache folder under the hash of `key`; from 1 GiB on the array is memory-mapped. Where the
    cache cannot be written (a read-only home, a full disk) the work is done without it. What has `passing` problems (no
    memory, a failing disk) is not kept: the next call tries again.
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
        data = _open_pixels(pixels, shape)
        if information.get("passing"):
            with contextlib.suppress(OSError):  # an open file cannot be removed everywhere
                pixels.unlink()
            return data, json.loads(json.dumps(information))
        information["pixels_sha256"] = _pixels_digest(data)
        information["facts_sha256"] = _facts_digest(information)
        atomic_write_bytes(facts, json.dumps(information).encode())
        return data, json.loads(json.dumps(information))
    except DataError:
        raise
    except (OSError, GanzooError):  # the cache cannot be written
        information.clear()
    with tempfile.TemporaryFile() as file:
        information.update(produce(file))
        check_memory(file.seek(0, 2), "The pixels, for which the cache folder has no room,")
        file.seek(0)
        data = np.frombuffer(file.read(), np.uint8)
    return data.reshape(-1, *shape), json.loads(json.dumps(information))


def _open_pixels(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    mapped = path.stat().st_size >= MEMORY_MAPPED_FROM
    data = np.memmap(path, np.uint8, mode="r") if mapped else np.fromfile(path, np.uint8)
    return data.reshape(-1, *shape)


def _read_cached(pixels: Path, facts: Path, shape: tuple[int, ...]) -> tuple[np.ndarray, dict] | None:
    try:
        information = parse_json(read_bytes(facts, MOST_LINES), plain=False)
        if not pixels.is_file() or pixels.stat().st_size != information["bytes"]:
            return None
        data = _open_pixels(pixels, shape)
        then, now = information["pixels_sha256"], _pixels_digest(data)
        whole = information["facts_sha256"] == _facts_digest(information) and (then == now or None in (then, now))
    except (FileProblem, OSError, ValueError, KeyError, TypeError):
        return None
    if not whole:
        log.warning("The cached pixels %s are damaged, and are made again.", pixels)
    return (data, information) if whole else None


def _facts_digest(information: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in information.items() if key != "facts_sha256"}
    return hashlib.sha256(json.dumps(rest).encode()).hexdigest()


def _pixels_digest(data: np.ndarray) -> str | None:
    """The sha256 of pixels; None where they are memory-mapped: reading them all may take longer than their use."""
    return None if isinstance(data, np.memmap) else hashlib.sha256(data).hexdigest()


def read_image_files(
    files: Sequence[ImageFile],
    options: ImageOptions,
    source: str,
    problems: Sequence[Problem] = (),
    progress: Progress | None = None,
    folders: Sequence[str] = (),
) -> SampleSet:
    """Decodes `files` (sorted by path); which of them, and their classes, `ganzoo.data.images.layout` decides.

    Args:
        files: the candidates.
        options: the wanted form.
        source: what is read, for the log and for errors: "the folder /data/cats".
        problems: what was found unreadable before this.
        progress: is called with (done, all) now and then.
        folders: the paths of all folders around the files, empty ones too, where they are known.

    Raises:
        DataError: not one image can be read, or labels or parts are not what they should be.
    """
    arrangement = arrange(files, options, source, folders)
    files = arrangement.files
    problems = [*problems, *arrangement.problems]
    key = [source, [(file.path, *file.key) for file in files], options.size, options.channels, options.fit]
    key.append(options.colour)
    facts: dict[str, Any] = {"originals": [], "problems": []}
    samples = np.zeros((0, *options.shape), np.uint8)
    if files:
        samples, facts = cached_pixels(key, options.shape, lambda out: _decode_all(files, options, out, progress))
    found = sorted(problems + [Problem(*problem) for problem in facts["problems"]])
    problems = [Problem(printable(problem.path, 4096), printable(problem.reason, 500)) for problem in found]
    if not facts["originals"]:
        raise DataError(_nothing(source, problems))
    labels, names = None, ()
    if arrangement.labels is not None:
        given = [arrangement.labels[path] for path, *_ in facts["originals"]]
        labels, names = numbered(given, arrangement.numbered)
        arrangement.notes += arrangement.class_notes(given)
    return SampleSet(
        samples=samples,
        labels=labels,
        class_names=names,
        problems=problems,
        source=source,
        notes=(*arrangement.notes, *class_notes(labels, names), *_notes(problems, options, facts)),
        originals=tuple(Original(printable(path, 4096), *rest) for path, *rest in facts["originals"]),
    )


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


def _notes(problems: list[Problem], options: ImageOptions, facts: dict) -> tuple[str, ...]:
    notes = list(facts["assumed"])
    for name, count in facts["profiles"].items():
        notes.append(f"{_count(count, 'image')} converted to sRGB from the colour profile '{printable(name)}'")
    if facts["animated"]:
        notes.append(f"{_count(facts['animated'], 'file')} with several images: the first one taken")
    if facts["enlarged"]:
        notes.append(f"{_count(facts['enlarged'], 'image')} smaller than {options.size} px enlarged")
    if problems:
        notes.append(f"{_count(len(problems), 'file')} skipped")
    if facts["passing"]:
        notes.append(f"{_count(facts['passing'], 'file')} of these may be readable at the next start: tried again then")
    return tuple(notes)
