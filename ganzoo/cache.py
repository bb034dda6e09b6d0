"""Where ganzoo keeps what it can compute again, and how files are written: whole or not at all, with a checksum."""

import contextlib
import errno
import functools
import hashlib
import json
import logging
import math
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ganzoo.errors import GanzooError, StorageError, WeightsError
from ganzoo.runs.processes import is_alive, this_host

log = logging.getLogger("ganzoo")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OLD = 24 * 3600.0  # seconds after which a temporary file of an unknown process belongs to nobody
# Names of temporary files: today's say which process of which machine writes them, earlier ones do not.
_TEMPORARY = re.compile(r"\.(?:.*\.)?ganzoo-([0-9a-f]{8})-([0-9]+)-[0-9a-f]{32}(?:\.[^.]*)?")
_EARLIER = re.compile(r"\.(?:.*\.|export-)[0-9a-f]{32}(?:\.[^.]*)?")
_DIGEST, _NO_DIGEST = "ganzoo_sha256", "0" * 64
_MARK = "ganzoo_format"  # a second sign of a file with a checksum: damage to one of the two is found by the other
_LONGEST_HEADER = 100_000_000  # what the safetensors format allows


def cache_dir(kind: str) -> Path:
    """The folder for cached files of one `kind` ("features", "networks"), made if it is missing.

    It is under `$GANZOO_CACHE` where that is set, else under `~/.cache/ganzoo`. Everything in it may be deleted.
    """
    root = os.environ.get("GANZOO_CACHE") or "~/.cache/ganzoo"
    folder = Path(root).expanduser() / kind
    folder.mkdir(parents=True, exist_ok=True)
    _clean_once(folder)
    return folder


def temporary_name(stem: str = "", suffix: str = "") -> str:
    """A hidden file name that no other process uses; it says which process writes it, for `remove_leftovers`."""
    return f".{stem}{'.' if stem else ''}ganzoo-{this_host()}-{os.getpid()}-{uuid.uuid4().hex}{suffix}"


def remove_leftovers(folder: str | Path) -> list[Path]:
    """Remove the temporary files and folders that killed processes left in `folder`; those of a live process stay.

    Where the process cannot be judged (another machine, or an earlier version wrote the file), a file goes once it has
    not changed for a day.

    Returns:
        What was removed.
    """
    removed = []
    for path in list(Path(folder).iterdir()) if Path(folder).is_dir() else []:
        with contextlib.suppress(OSError):
            if _is_leftover(path):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
                removed.append(path)
    return removed


def _is_leftover(path: Path) -> bool:
    named = _TEMPORARY.fullmatch(path.name)
    if named is None and not _EARLIER.fullmatch(path.name):
        return False
    # A directory changes when what is in it does, if only at its first level.
    changed = max(one.lstat().st_mtime for one in (path, *(path.iterdir() if path.is_dir() else ())))
    if named and named[1] == this_host():
        return not is_alive(int(named[2]), changed)
    return time.time() - changed > _OLD


@functools.cache
def _clean_once(folder: Path) -> None:
    remove_leftovers(folder)


@contextlib.contextmanager
def storage_errors(path: str | Path) -> Iterator[None]:
    """Turn what goes wrong while `path` is written into a `StorageError`: a full disk, no permission, a bad device."""
    from safetensors import SafetensorError

    try:
        yield
    except StorageError:
        raise
    except (OSError, SafetensorError) as error:
        raise _storage_error(Path(path), error) from None


def _storage_error(path: Path, error: Exception) -> StorageError:
    number = getattr(error, "errno", None)
    if number is None and (found := re.search(r"os error (\d+)", str(error))):  # as Rust writes it
        number = int(found[1])
    if number is None and re.search(r"\d+ requested and \d+ written", str(error)):  # as numpy writes it
        number = errno.ENOSPC
    folder = next((one for one in path.absolute().parents if one.is_dir()), Path("/"))
    free = shutil.disk_usage(folder).free
    if number in _FULL or (number is None and free < 2**20):
        limit = "It reached a limit on the size of files" if number == errno.EFBIG else "The disk is full"
        text = (
            f"{path} cannot be written. {limit} ({free / 1e6:,.0f} MB are free). What was written before is whole. "
            "Free some space, then run the same command again."
        )
    else:
        reason = os.strerror(number) if number else str(error)
        text = f"{path} cannot be written: {reason}. Files that were written before are whole. Name another folder."
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
        _clean_once(path.parent.absolute())
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


def write_arrays(path: str | Path, arrays: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> Path:
    """Write a safetensors file with a checksum of all its bytes, whole or not at all.

    The checksum is in the metadata (`ganzoo_sha256`): the SHA-256 of the file with 64 zeros in its place.

    Args:
        path: the file.
        arrays: by name.
        metadata: texts by name.

    Raises:
        StorageError: the disk is full, or `path` cannot be written for another reason.
    """
    import numpy as np
    from safetensors.numpy import save

    # An array that is not contiguous would be written in the order of its memory, and read back as another one.
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    content = save(plain, {**(metadata or {}), _MARK: "1", _DIGEST: _NO_DIGEST})
    field = f'"{_DIGEST}":"{_NO_DIGEST}"'.encode()
    place = content.index(field) + len(field) - 1 - len(_NO_DIGEST)
    digest = hashlib.sha256(content).hexdigest().encode()

    def write(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            whole = memoryview(content)
            for part in (whole[:place], digest, whole[place + len(digest) :]):
                file.write(part)

    return atomic_write(path, write)


def write_array(path: str | Path, array: Any) -> Path:
    """Write one array as `.npy`, whole or not at all."""
    import numpy as np

    return atomic_write(path, lambda temporary: np.save(temporary, array, allow_pickle=False))


def keep(path: Path, write: Callable[[], Any]) -> None:
    """Write what can be computed again; where that fails (a full disk), log it and go on."""
    try:
        write()
    except StorageError as error:
        log.warning("%s It will be computed again next time.", error)


def has_checksum(path: str | Path) -> bool:
    """Whether a safetensors file says what its checksum is.

    Raises:
        WeightsError: it does, but its content is another: the file is damaged.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(min(size, _LONGEST_HEADER))
        found = re.findall(rf'"{_DIGEST}":"([0-9a-f]{{64}})"'.encode(), header)
        if not found and _MARK.encode() not in header and _DIGEST.encode() not in header:
            return False
        content = hashlib.sha256(size.to_bytes(8, "little"))
        content.update(header.replace(found[0], _NO_DIGEST.encode()) if found else header)
        while part := file.read(2**20):
            content.update(part)
    if len(found) != 1 or content.hexdigest() != found[0].decode():
        raise WeightsError(f"{path} is damaged: its content does not have the checksum that is written in it.")
    return True


def read_json(path: str | Path, form: type = object) -> Any:
    """What a JSON file holds; raises `GanzooError` naming it where it is no JSON, or not of the `form` (dict, list)."""
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise GanzooError(f"{path} is damaged ({error}). Remove it, or put back a whole one.") from None
    if not isinstance(found, form):
        raise GanzooError(f"{path} is damaged (no {form.__name__}). Remove it, or put back a whole one.")
    return found


def read_objects(path: Path, *numbers: str, unread: list[str] | None = None, start: int = 0) -> list[dict[str, Any]]:
    """The objects of a JSONL file, from its byte `start` on; none where it is missing.

    Lines that are no objects are left out (a killed process may have torn them), and objects in which one of `numbers`
    is no number. `unread` is told how many lines are no objects; a torn last one is no news (a run may be writing it).
    """
    found, broken = [], 0
    content = b""
    if path.is_file():
        with path.open("rb") as file:
            file.seek(start)
            content = file.read()
    lines = content.decode(errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            broken += number < len(lines)
        elif all(is_number(value.get(name)) for name in numbers):
            found.append(value)
    if broken and unread is not None:
        unread.append(f"{path.name}: lines that are no JSON objects: {broken}")
    return found


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_safetensors(path: Path) -> dict[str, Any]:
    """All arrays of a file; raises `WeightsError` where it is missing or broken."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        has_checksum(path)
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no readable safetensors file ({error}). Train or download it again.") from None
    except (AttributeError, TypeError, KeyError) as error:
        raise WeightsError(
            f"{path} holds numbers of a type that numpy lacks ({error}). Convert it to float32."
        ) from None
