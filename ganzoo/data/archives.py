"""A zip of images or of class folders, read where it lies: nothing is unpacked to the disk."""

import io
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ganzoo.data.decode import Unreadable, looks_like_image, name_content
from ganzoo.data.image_files import ImageFile, Progress, read_image_files
from ganzoo.data.image_folder import ignored
from ganzoo.data.options import ImageOptions
from ganzoo.data.sample_set import SampleSet
from ganzoo.errors import DataError

MAX_MEMBER = 256 * 2**20  # bytes of one unpacked image file
_ENCRYPTED = 0x1


def _open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> BinaryIO:
    if member.file_size > MAX_MEMBER:
        raise Unreadable(f"unpacks to {member.file_size:,} bytes (limit {MAX_MEMBER:,})")
    try:
        with archive.open(member) as packed:
            # What is no image by its first bytes is never unpacked whole.
            head = packed.read(1024)
            if head and not looks_like_image(head):
                raise Unreadable(f"not an image ({name_content(head)})")
            rest = packed.read(MAX_MEMBER + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise Unreadable(f"corrupt inside the zip ({error})") from error
    except NotImplementedError as error:
        raise Unreadable(f"packed in a way that is not read ({error})") from error
    if len(head) + len(rest) > MAX_MEMBER:
        raise Unreadable(f"unpacks to more than {MAX_MEMBER:,} bytes")
    return io.BytesIO(head + rest)


def _common_folder(paths: list[str]) -> str:
    """The path of the folders that all `paths` share ("a/b/"), or ""."""
    shared = ""
    while paths:
        first = paths[0][len(shared) :].split("/")
        if len(first) < 2:
            break
        longer = f"{shared}{first[0]}/"
        if not all(path.startswith(longer) for path in paths):
            break
        shared = longer
    return shared


def read_zip(path: str | Path, options: ImageOptions, progress: Progress | None = None) -> SampleSet:
    """All images in a zip, in the order of their paths; folders are treated as those of an image folder.

    Folders around everything (a zip of `images/cat/...` and `images/dog/...`) are no classes.

    Raises:
        DataError: the zip is broken or encrypted, or holds no readable image.
    """
    path = Path(path)
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DataError(
            f"The zip {path} cannot be read: {error}. It may be cut off; fetch or pack it again, or give the folder."
        ) from error
    with archive:
        members = {}
        for member in archive.infolist():
            parts = [part for part in member.filename.replace("\\", "/").split("/") if part not in ("", ".", "..")]
            if not member.is_dir() and not any(ignored(part) for part in parts):
                members["/".join(parts)] = member
        if any(member.flag_bits & _ENCRYPTED for member in members.values()):
            raise DataError(f"The zip {path} is encrypted. Unpack it with its password and give the folder.")
        found = path.stat()
        shared = _common_folder(sorted(members))
        files = [
            ImageFile(
                name[len(shared) :],
                partial(_open_member, archive, member),
                (member.file_size, member.CRC, found.st_size, found.st_mtime_ns),
            )
            for name, member in sorted(members.items())
        ]
        return read_image_files(files, options, f"the zip {path.resolve()}", progress=progress)
