"""A folder of images: flat, nested, or with one sub-folder for each class."""

import errno
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ganzoo.data.images.decode import EXTENSIONS
from ganzoo.data.images.image_file import ImageFile
from ganzoo.data.images.image_files import Progress, read_image_files
from ganzoo.data.images.options import ImageOptions
from ganzoo.data.sample_set import Problem, SampleSet
from ganzoo.errors import DataError
from ganzoo.files import reading

_IGNORED = frozenset(("__MACOSX", "Thumbs.db", "desktop.ini"))
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISFIFO, "a named pipe (FIFO), never opened"),
    (stat.S_ISSOCK, "a socket, never opened"),
    (stat.S_ISCHR, "a device, never opened"),
    (stat.S_ISBLK, "a device, never opened"),
)


def ignored(name: str) -> bool:
    """Whether a file or folder of this name is passed over in silence: hidden ones, and what systems leave behind."""
    return name.startswith(".") or name in _IGNORED


def open_regular(path: str) -> BinaryIO:
    """Opens a regular file for reading; should a pipe or device have taken its place, raises OSError at once."""
    try:
        return reading.open_regular(path)  # images and archives have limits of their own
    except reading.FileProblem:
        raise OSError("no regular file any more") from None


def find_files(folder: Path) -> tuple[list[ImageFile], list[Problem], list[str]]:
    """All regular files below `folder`, sorted by their relative paths, what could not be read, and all sub-folders.

    Links to files and folders are followed. A folder is read once: a link to one that has been read, such as a link
    that closes a loop, is a problem; so is a link to a folder that holds `folder`, such as `/`. Real folders come
    before linked ones, so that a file keeps its own path.
    """
    files: list[ImageFile] = []
    problems: list[Problem] = []
    folders: list[str] = []
    around = {_identity(parent.stat()) for parent in folder.resolve().parents}
    seen = {_identity(folder.stat())}
    walk, linked = [(str(folder), "")], []
    while walk or linked:
        if not walk:
            linked.sort()
            name, path = linked.pop(0)
            identity = _identity(os.stat(path))
            if identity in seen:
                problems.append(Problem(name, "a link to a folder that is read already"))
                continue
            if identity in around:
                problems.append(Problem(name, "a link to a folder that holds these images, not followed"))
                continue
            seen.add(identity)
            walk.append((path, name))
        path, name = walk.pop()
        try:
            entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            problems.append(Problem(name or ".", f"a folder that cannot be listed ({error.strerror})"))
            continue
        if name:
            folders.append(name)
        for entry in entries:
            if ignored(entry.name):
                continue
            inner = f"{name}/{entry.name}" if name else entry.name
            try:
                found = entry.stat()
            except OSError as error:
                problems.append(Problem(inner, _broken_link(entry, error)))
                continue
            if stat.S_ISDIR(found.st_mode):
                if entry.is_symlink():
                    linked.append((inner, entry.path))
                elif _identity(found) not in seen:
                    seen.add(_identity(found))
                    walk.append((entry.path, inner))
                if Path(entry.name).suffix.lower() in EXTENSIONS:
                    problems.append(Problem(inner, "a folder with the name of a file; the files in it are read"))
            elif stat.S_ISREG(found.st_mode):
                key = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
                files.append(ImageFile(inner, partial(open_regular, entry.path), key))
            else:
                reason = next((text for test, text in _KINDS if test(found.st_mode)), "no regular file")
                problems.append(Problem(inner, reason))
    return sorted(files, key=lambda file: file.path), problems, folders


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _broken_link(entry: os.DirEntry, error: OSError) -> str:
    if entry.is_symlink():
        if error.errno == errno.ELOOP:
            return "a link that leads back to itself"
        return "a dangling link" if isinstance(error, FileNotFoundError) else f"a broken link ({error.strerror})"
    return f"cannot be looked at ({error.strerror})"


def read_image_folder(folder: str | Path, options: ImageOptions, progress: Progress | None = None) -> SampleSet:
    """All images below `folder`, in the order of their relative paths; for classes and parts see
    `ganzoo.data.images.layout`.

    Hidden files and `__MACOSX` are passed over; whatever else cannot be read is skipped and listed.

    Raises:
        DataError: the folder cannot be listed, or holds no readable image.
    """
    folder = Path(folder)
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise DataError(f"The folder {folder} cannot be listed: {error.strerror}.") from error
    files, problems, folders = find_files(folder)
    return read_image_files(files, options, f"the folder {folder.resolve()}", problems, progress, folders)
