"""Files and folders that are written whole or not at all, and what killed processes leave of them."""

import contextlib
import errno
import functools
import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ganzoo.errors import GanzooError, StorageError
from ganzoo.files.processes import is_alive, this_host
from ganzoo.printing import printable

log = logging.getLogger("ganzoo")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OLD = 24 * 3600.0  # seconds after which a temporary file of an unknown process belongs to nobody
# Names of temporary files: today's say which process of which machine writes them, earlier ones do not.
_TEMPORARY = re.compile(r"\.(?:.*\.)?ganzoo-([0-9a-f]{8})-([0-9]+)-[0-9a-f]{32}(?:\.[^.]*)?")
# Other programs have such hidden names, too, so that earlier ones count only in ganzoo's own folders.
_EARLIER = re.compile(r"\.[^.].*\.[0-9a-f]{32}\.(?:html|json|jsonl|npy|safetensors|u8|yaml)")
_EARLIER_EXPORT = re.compile(r"\.export-[0-9a-f]{32}")


def only_own(folder: str | Path, own: Callable[[str], bool] | None = None) -> None:
    """Refuse a folder that holds other files than a command writes itself, so that it mixes with nothing.

    Args:
        folder: may be missing or empty.
        own: whether a file name is one that this command writes; by default none is.

    Raises:
        StorageError: there are other files; names one.
    """
    folder = Path(folder)
    with storage_errors(folder):
        names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if foreign := [name for name in names if not name.startswith(".") and not (own and own(name))]:
        raise StorageError(
            f"{folder} holds other files, such as {printable(foreign[0], 60)}, among which the new ones would be hard "
            "to tell. Name a new or an empty folder."
        )


def temporary_name(stem: str = "", suffix: str = "") -> str:
    """A hidden file name that no other process uses; it says which process writes it, for `remove_leftovers`."""
    return f".{stem}{'.' if stem else ''}ganzoo-{this_host()}-{os.getpid()}-{uuid.uuid4().hex}{suffix}"


def remove_leftovers(folder: str | Path, earlier: bool = False) -> list[Path]:
    """Remove the temporary files and folders that killed processes left in `folder`; those of a live process stay.

    Where the process cannot be judged (another machine, or an earlier version wrote the file), a file goes once it has
    not changed for a day.

    Args:
        folder: may hold files of other programs, which stay.
        earlier: also remove files whose names are as earlier versions of ganzoo wrote them. These names do not say
            which program wrote them, so give it only for folders in which ganzoo alone writes.

    Returns:
        What was removed.
    """
    removed = []
    for path in list(Path(folder).iterdir()) if Path(folder).is_dir() else []:
        with contextlib.suppress(OSError):
            if _is_leftover(path, earlier):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                removed.append(path)
    return removed


def _is_leftover(path: Path, earlier: bool) -> bool:
    named = _TEMPORARY.fullmatch(path.name)
    if named is None:
        folder, name = path.is_dir() and not path.is_symlink(), path.name
        if not (_EARLIER_EXPORT.fullmatch(name) if folder else earlier and _EARLIER.fullmatch(name)):
            return False
    # A directory changes when what is in it does, if only at its first level.
    changed = max(one.lstat().st_mtime for one in (path, *(path.iterdir() if path.is_dir() else ())))
    if named and named[1] == this_host():
        return not is_alive(int(named[2]), changed)
    return time.time() - changed > _OLD


@functools.cache
def clean_once(folder: Path, earlier: bool) -> None:
    """Remove leftovers from a folder, once in a process."""
    remove_leftovers(folder, earlier)


@contextlib.contextmanager
def storage_errors(path: str | Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is written into a `StorageError`: a full disk, no permission, a bad device.

    Libraries have errors of their own for a full disk (safetensors, TensorFlow), which name the system's.
    """
    try:
        yield
    except GanzooError:
        raise
    except Exception as error:
        if not isinstance(error, OSError) and _system_error(error) is None:
            raise
        raise _storage_error(Path(path), error) from None


def _system_error(error: Exception) -> int | None:
    """The number of the system's error behind an error; None where it has none."""
    if isinstance(getattr(error, "errno", None), int):
        return error.errno
    text = str(error)
    if found := re.search(r"\(os error (\d+)\)", text):  # as Rust writes it
        return int(found[1])
    if re.search(r"\d+ requested and \d+ written", text):  # as numpy writes it
        return errno.ENOSPC
    return next((number for number in _FULL if os.strerror(number) in text), None)


def _storage_error(path: Path, error: Exception) -> StorageError:
    number = _system_error(error)
    folder = next((one for one in path.absolute().parents if one.is_dir()), Path("/"))
    free = shutil.disk_usage(folder).free
    if number in _FULL or (number is None and free < 2**20):
        limit = "It reached a limit on the size of files" if number == errno.EFBIG else "The disk is full"
        text = (
            f"{path} cannot be written. {limit} ({free / 1e6:,.0f} MB are free). Files that were written before are "
            "complete. Free some space, then run the same command again."
        )
    else:
        reason = os.strerror(number) if number else str(error)
        text = f"{path} cannot be written: {reason}. Files that were written before are complete. Name another folder."
    found = StorageError(text)
    found.errno = number
    return found


def atomic_write(path: str | Path, writer: Callable[[Path], None]) -> Path:
    """Let `writer(temporary_path)` write a file, then move it to `path` in one step, so that no reader sees half of it.

    The temporary file is next to `path` and has the same suffix. If `writer` raises, `path` stays as it was.

    Raises:
        StorageError: the disk is full, or `path` cannot be written for another reason.
    """
    path = Path(path)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(temporary_name(path.stem, path.suffix))
        try:
            writer(temporary)
            with open(temporary, "rb+") as written:
                os.fsync(written.fileno())
            # Some writers make files for their owner alone; a finished file is as readable as any other.
            mask = os.umask(0)
            os.umask(mask)
            os.chmod(temporary, 0o666 & ~mask)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    return path


def atomic_write_bytes(path: str | Path, content: bytes) -> Path:
    """Write `content` to `path`, whole or not at all."""
    return atomic_write(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: str | Path, text: str) -> Path:
    """Write a UTF-8 file, whole or not at all."""
    return atomic_write_bytes(path, text.encode())


def write_json(path: str | Path, content: Any, indent: int | None = 1) -> Path:
    """Write a JSON file, whole or not at all."""
    return write_text(path, json.dumps(content, indent=indent))


def write_objects(path: str | Path, objects: list[dict[str, Any]]) -> Path:
    """Write a JSONL file anew, whole or not at all."""
    return write_text(path, "".join(f"{json.dumps(one)}\n" for one in objects))


def append_object(path: str | Path, content: Mapping[str, Any]) -> None:
    """Add one object to a JSONL file as its last line.

    A last line that a killed process left torn is removed first. If the line cannot be written whole, the file is as
    it was before.

    Raises:
        StorageError: the disk is full, or `path` cannot be written for another reason.
    """
    line = f"{json.dumps(dict(content))}\n".encode()
    with storage_errors(path), open(path, "ab+", buffering=0) as file:
        end = _whole_lines(file)
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(end)
            raise


def _whole_lines(file: Any) -> int:
    """Cut a torn last line off a file of lines; its size then. A last line that only lacks its end is completed."""
    end = file.seek(0, os.SEEK_END)
    start, tail = end, b""
    while start > 0 and b"\n" not in tail:
        step = min(start, 2**16)
        start = file.seek(start - step)
        tail = file.read(step) + tail
    last = tail.rpartition(b"\n")[2]
    if last:
        try:
            json.loads(last)
            end += file.write(b"\n")
        except (ValueError, RecursionError):
            end -= len(last)
            file.truncate(end)
    return end


def write_array(path: str | Path, array: Any) -> Path:
    """Write one array as `.npy`, whole or not at all."""
    import numpy as np

    return atomic_write(path, lambda temporary: np.save(temporary, array, allow_pickle=False))


def keep(path: Path, write: Callable[[], Any]) -> None:
    """Write what can be computed again; where that fails (a full disk), log it and go on."""
    try:
        write()
    except StorageError as error:
        log.warning("%s It is computed again next time.", error)
