"""Where ganzoo keeps what it can compute again, and how files are written: whole or not at all, with a checksum."""

import atexit
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
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ganzoo.errors import GanzooError, StorageError, WeightsError
from ganzoo.runs.printing import printable
from ganzoo.runs.processes import is_alive, this_host

if TYPE_CHECKING:
    import zipfile

log = logging.getLogger("ganzoo")

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_OLD = 24 * 3600.0  # seconds after which a temporary file of an unknown process belongs to nobody
# Names of temporary files: today's say which process of which machine writes them, earlier ones do not.
_TEMPORARY = re.compile(r"\.(?:.*\.)?ganzoo-([0-9a-f]{8})-([0-9]+)-[0-9a-f]{32}(?:\.[^.]*)?")
# Other programs have such hidden names, too, so that earlier ones count only in ganzoo's own folders.
_EARLIER = re.compile(r"\.[^.].*\.[0-9a-f]{32}\.(?:html|json|jsonl|npy|safetensors|u8|yaml)")
_EARLIER_EXPORT = re.compile(r"\.export-[0-9a-f]{32}")
_DIGEST, _NO_DIGEST = "ganzoo_sha256", "0" * 64
_MARK = "ganzoo_format"  # a second sign of a file with a checksum: damage to one of the two is found by the other
_LONGEST_HEADER = 100_000_000  # what the safetensors format allows

_LONGEST_ARRAY_HEADER = 65_536  # bytes, of a numpy array in a file
_MOST_PACKED = 1_100  # deflate packs by 1,032 at most

MOST_TEXT = 16 << 20  # bytes of a text that is read as a whole
MOST_LINES = 512 << 20  # of one that has an object a line
MOST_IMAGE = 256 << 20  # of a PNG file that ganzoo wrote
MOST_WEIGHTS = 8 << 30
MOST_ARRAYS = 1 << 30
MOST_NESTED = 64
_FIX = "Remove it, or replace it by an undamaged copy."


def cache_dir(kind: str) -> Path:
    """The folder for cached files of one `kind` ("features", "networks"), made if it is missing.

    It is under `$GANZOO_CACHE` where that is set, else under `~/.cache/ganzoo`. Everything in it may be deleted. Where
    it cannot be made, a temporary folder takes its place until the process ends, and a warning says so once.

    Raises:
        StorageError: neither of the two can be made.
    """
    root = os.environ.get("GANZOO_CACHE") or "~/.cache/ganzoo"
    try:
        folder = Path(root).expanduser() / kind
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        folder = _temporary_cache(root, str(getattr(error, "strerror", None) or error)) / kind
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
    _clean_once(folder, bool(kind))
    return folder


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


@functools.cache
def _temporary_cache(root: str, reason: str) -> Path:
    with storage_errors(root):
        folder = Path(tempfile.mkdtemp(prefix="ganzoo-cache-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    log.warning(
        "The cache folder %s cannot be used: %s. What it would keep is in %s until this process ends, and is computed "
        "again next time. Set GANZOO_CACHE to a folder that can be written.",
        root,
        reason,
        folder,
    )
    return folder


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
def _clean_once(folder: Path, earlier: bool) -> None:
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
        log.warning("%s It is computed again next time.", error)


def file_digest(path: str | Path, most: int = MOST_WEIGHTS) -> str:
    """The SHA-256 of a regular file of at most `most` bytes, 64 hexadecimal digits.

    Raises:
        WeightsError: it is missing, larger, or cannot be read.
    """
    with guard(path, WeightsError), open_regular(path, most) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_checksum(path: str | Path) -> bool:
    """Whether a safetensors file says what its checksum is.

    Raises:
        WeightsError: it does, but its content is another: the file is damaged.
        FileProblem, OSError: it cannot be read, or has more than `MOST_WEIGHTS` bytes.
    """
    with open_regular(path, MOST_WEIGHTS) as file:
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
        raise WeightsError(f"{path} is damaged: its content does not have the checksum that is written in it. {_FIX}")
    return True


class FileProblem(Exception):
    """Why a file is not read. `guard` turns it into an error of the project's own."""


@contextlib.contextmanager
def guard(path: str | Path, error: type[GanzooError] = GanzooError, fix: str = _FIX) -> Iterator[None]:
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


def read_json(path: str | Path, form: type = object, error: type[GanzooError] = GanzooError, fix: str = _FIX) -> Any:
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


def read_safetensors(path: Path) -> dict[str, Any]:
    """All arrays of a file of at most `MOST_WEIGHTS` bytes; raises `WeightsError` where it is missing or broken.

    No array takes more memory than the file has bytes: what the header claims is compared with its size first.
    """
    return read_checked(path)[0]


def read_checked(path: Path) -> tuple[dict[str, Any], bool]:
    """What `read_safetensors` gives, and whether the file has a checksum (which then is that of its content)."""
    from safetensors import safe_open

    with guard(path, WeightsError, "Train or download it again."):
        checked = _has_checksum(path)
        with safe_open(path, "numpy") as file:
            try:
                return {name: file.get_tensor(name) for name in file.keys()}, checked  # noqa: SIM118
            except (AttributeError, TypeError, KeyError) as error:
                raise WeightsError(
                    f"{path} holds weights of a type that numpy lacks ({error}). Convert it to float32."
                ) from None


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
