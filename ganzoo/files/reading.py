"""Text, JSON and arrays from files that anyone may have made: sizes, forms and values are checked."""

import contextlib
import json
import math
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ganzoo.errors import GanzooError

if TYPE_CHECKING:
    import zipfile


_LONGEST_ARRAY_HEADER = 65_536  # bytes, of a numpy array in a file
_MOST_PACKED = 1_100  # deflate packs by 1,032 at most

MOST_TEXT = 16 << 20  # bytes of a text that is read as a whole
MOST_LINES = 512 << 20  # of one that has an object a line
MOST_IMAGE = 256 << 20  # of a PNG file that ganzoo wrote
MOST_ARRAYS = 1 << 30
MOST_NESTED = 64
FIX = "Remove it, or replace it by an undamaged copy."


class FileProblem(Exception):
    """Why a file is not read. `guard` turns it into an error of the project's own."""


@contextlib.contextmanager
def guard(path: str | Path, error: type[GanzooError] = GanzooError, fix: str = FIX) -> Iterator[None]:
    """A context in which a file is read: whatever broken content raises in it leaves as `error`, naming the file.

    Args:
        path: the file, for the text.
        error: the class of the error.
        fix: what the user can do, whole sentences.
    """
    try:
        yield
    except GanzooError:
        raise
    except Exception as found:
        raise error(f"{path} {_reason(found)}. {fix}") from None


def _reason(found: Exception) -> str:
    if isinstance(found, FileNotFoundError):
        return "does not exist"
    if isinstance(found, FileProblem):
        return str(found)
    if isinstance(found, OSError):
        return f"cannot be read ({found.strerror or found})"
    if isinstance(found, MemoryError):
        return "needs more memory than there is"
    if isinstance(found, RecursionError):
        return "is damaged (nested too deeply)"
    first = (str(found).splitlines() or [""])[0]
    return f"is damaged ({first or type(found).__name__:.300})"


def open_regular(path: str | Path, most: float = math.inf) -> BinaryIO:
    """A regular file of at most `most` bytes, opened to be read. It never waits, as opening a named pipe would.

    Raises:
        FileProblem: it is not a regular file (a folder, a device, a pipe, a socket), or it is larger.
        OSError: it cannot be opened.
    """
    if os.path.isdir(path):  # which Windows reports as a missing permission
        raise FileProblem("is a folder, no file")
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        facts = os.fstat(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise FileProblem("is not a regular file")
        if facts.st_size > most:
            raise FileProblem(f"has {facts.st_size:,} bytes; at most {most:,} are read")
    except BaseException:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def read_bytes(path: str | Path, most: int = MOST_TEXT, start: int = 0) -> bytes:
    """The bytes of a regular file of at most `most` bytes, from its byte `start` on; errors as `open_regular`."""
    with open_regular(path, most) as file:
        file.seek(start)
        content = file.read(most + 1)
    if len(content) > most:  # such as a file that grows, or one of /proc
        raise FileProblem(f"has more than {most:,} bytes, which are read at most")
    return content


def read_text(path: str | Path, error: type[GanzooError] = GanzooError, most: int = MOST_TEXT) -> str:
    """The text of a UTF-8 file of at most `most` bytes; raises `error` where it is missing, larger or no such text."""
    with guard(path, error):
        try:
            return read_bytes(path, most).decode("utf-8-sig")
        except UnicodeDecodeError as found:
            raise FileProblem(f"is damaged (no UTF-8 text: {found.reason} at byte {found.start})") from None


def check_plain(value: Any) -> None:
    """Refuse values that text formats can express and that nothing here expects.

    Allowed are texts, numbers, booleans, null, lists and mappings whose keys are texts, nested at most `MOST_NESTED`
    deep. Integers have at most 64 bits, as in every format that they may be written to, and texts are Unicode.

    Raises:
        FileProblem: says which value is wrong.
    """
    level = [value]
    for _ in range(MOST_NESTED):
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                for key in one:
                    if not isinstance(key, str):
                        raise FileProblem(f"has the key {key!r:.80}, which is not text. Write it in quotes")
                    _check_text(key)
                below.extend(one.values())
            elif isinstance(one, list):
                below.extend(one)
            elif isinstance(one, str):
                _check_text(one)
            elif isinstance(one, int):
                if one.bit_length() > 63:
                    raise FileProblem(f"holds an integer of {one.bit_length()} bits; at most 63 are expected")
            elif one is not None and not isinstance(one, float):
                raise FileProblem(f"holds a {type(one).__name__} ({one!r:.80}). Write it as text, in quotes")
        if not below:
            return
        level = below
    raise FileProblem(f"is damaged (nested more than {MOST_NESTED} deep)")


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode("utf-8", "surrogateescape")  # names of files may be any bytes
        except UnicodeEncodeError:
            raise FileProblem(f"holds a text that is not Unicode ({text!r:.80})") from None


def parse_json(content: str | bytes, plain: bool = True) -> Any:
    """The value of a JSON text, checked by `check_plain` unless `plain` is false.

    Raises:
        FileProblem, ValueError: it is no JSON, or no plain value. `guard` names the file.
    """
    try:
        value = json.loads(content)
    except RecursionError:
        raise FileProblem("is damaged (nested too deeply)") from None
    if plain:
        check_plain(value)
    return value


def read_json(path: str | Path, form: type = object, error: type[GanzooError] = GanzooError, fix: str = FIX) -> Any:
    """What a JSON file holds; raises `error` naming it where it is no JSON, or not of the `form` (dict, list)."""
    with guard(path, error, fix):
        found = parse_json(read_bytes(path).decode())
        if not isinstance(found, form):
            raise FileProblem(f"is damaged (no {form.__name__})")
        return found


def read_objects(path: Path, *numbers: str, unread: list[str] | None = None, start: int = 0) -> list[dict[str, Any]]:
    """The objects of a JSONL file, from its byte `start` on; none where it is missing.

    Lines that are no objects are left out (a killed process may have torn them), and objects in which one of `numbers`
    is no number. `unread` receives how many lines are no objects, without a torn last one: a run may be writing it.
    """
    found, broken = [], 0
    content = b""
    if Path(path).exists():
        with guard(path):
            content = read_bytes(path, MOST_LINES, start)
    lines = content.decode(errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            value = parse_json(line)
        except (ValueError, RecursionError, FileProblem):
            value = None
        if not isinstance(value, dict):
            broken += number < len(lines)
        elif all(is_number(value.get(name)) for name in numbers):
            found.append(value)
    if broken and unread is not None:
        unread.append(f"{path.name}: lines that are not JSON objects: {broken}")
    return found


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that a float can hold."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def read_npz(path: str | Path, most: int = MOST_ARRAYS) -> dict[str, Any]:
    """The arrays of an `.npz` file, without pickles; the sizes that it claims are checked before memory is taken.

    Raises:
        FileProblem, OSError, ValueError and what zipfile raises: it is missing, damaged, or its arrays take more than
            `most` bytes. `guard` names the file.
    """
    import zipfile

    found: dict[str, Any] = {}
    with open_regular(path, most) as file, zipfile.ZipFile(file) as archive:

        def check(size: int, name: str) -> None:
            if sum(array.nbytes for array in found.values()) + size > most:
                raise ValueError(f"{name} claims {size:,} bytes; at most {most:,} are read")

        for member in archive.infolist():
            found[member.filename.removesuffix(".npy")] = read_member(archive, member, check)
    return found


def read_member(archive: "zipfile.ZipFile", member: "zipfile.ZipInfo", check: Callable[[int, str], None]) -> Any:
    """One array of an `.npz` file, without pickles.

    Args:
        archive: the file.
        member: of it.
        check: is called with the bytes that the array takes and its name in quotes, before memory is taken; it raises
            where these are too many.

    Raises:
        ValueError and what zipfile raises: it is no array, holds objects, or claims more than there is.
    """
    import numpy as np

    name = f"'{member.filename.removesuffix('.npy'):.80}'"
    if member.file_size > max(_MOST_PACKED * member.compress_size, 1024):
        raise ValueError(f"{name} claims {member.file_size:,} bytes, more than {member.compress_size:,} can hold")
    with archive.open(member) as packed:
        version = np.lib.format.read_magic(packed)
        first = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, columns, kind = read(packed, max_header_size=_LONGEST_ARRAY_HEADER)
        if kind.hasobject:
            raise ValueError(f"{name} holds Python objects, which could run code")
        size = math.prod(shape) * kind.itemsize
        if size > member.file_size:
            raise ValueError(f"{name} claims {size:,} bytes, {member.file_size:,} are there")
        check(size, name)
        content = np.empty(size, np.uint8)
        for start in range(0, size, 2**20):
            part = packed.read(min(2**20, size - start))
            if len(part) != min(2**20, size - start):
                raise ValueError(f"{name} is cut off: it claims {size:,} bytes, {start + len(part):,} are there")
            content[start : start + len(part)] = np.frombuffer(part, np.uint8)
    flat = content.view(kind) if kind.itemsize else np.zeros(math.prod(shape), kind)
    return flat.reshape(shape, order="F" if columns else "C")
