"""A zip of images, read in place: nothing is unpacked to the disk."""

import io
import struct
import zipfile
import zlib
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ganzoo.data.images.decode import LARGE, LARGE_FILE, looks_like_image, name_content
from ganzoo.data.images.image_file import ImageFile
from ganzoo.data.images.image_files import Progress, read_image_files
from ganzoo.data.images.image_folder import ignored, open_regular
from ganzoo.data.images.layout import common_folder
from ganzoo.data.images.limits import MAX_LABEL_FILE, read_at_most
from ganzoo.data.images.options import ImageOptions
from ganzoo.data.images.pixels import Unreadable
from ganzoo.data.sample_set import SampleSet
from ganzoo.errors import DataError
from ganzoo.printing import printable

MAX_MEMBER = 256 * 2**20  # bytes of one unpacked image file
MAX_MEMBERS = 5_000_000
_DIRECTORY_ENTRY = 46  # bytes of the shortest entry in a zip's directory
_MOST_PACKED = 1_100  # deflate packs by 1,032 at most
_ENCRYPTED = 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class _Large(io.BytesIO):
    """An unpacked member that holds the lock for large images until it is closed: only one is in memory at a time."""

    def close(self) -> None:
        if not self.closed:
            LARGE.release()
        super().close()


def _open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, any_kind: bool = False) -> BinaryIO:
    """A member unpacked in memory; unless `any_kind`, only what is an image by its first bytes."""
    if member.file_size <= LARGE_FILE:
        return io.BytesIO(_unpack(archive, member, any_kind))
    LARGE.acquire()
    try:
        return _Large(_unpack(archive, member, any_kind))
    except BaseException:
        LARGE.release()
        raise


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, any_kind: bool) -> bytes:
    limit = MAX_LABEL_FILE if any_kind else MAX_MEMBER
    if member.file_size > limit:
        raise Unreadable(f"unpacks to {member.file_size:,} bytes (limit {limit:,})")
    if member.compress_type not in _METHODS:
        name = zipfile.compressor_names.get(member.compress_type, member.compress_type)
        raise Unreadable(f"packed by an unsupported method ({name}; stored and deflate are read)")
    try:
        with archive.open(member) as packed:
            # What is no image by its first bytes is never unpacked whole.
            head = packed.read(1024)
            if head and not any_kind and not looks_like_image(head):
                raise Unreadable(f"not an image ({name_content(head)})")
            rest = read_at_most(packed, limit + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise Unreadable(f"corrupt inside the zip ({error})") from error
    except NotImplementedError as error:
        raise Unreadable(f"packed by an unsupported method ({error})") from error
    if len(head) + len(rest) > limit:
        raise Unreadable(f"unpacks to more than {limit:,} bytes")
    return head + rest


def _check_directory(file: BinaryIO, path: Path) -> None:
    """Refuse a zip whose directory says that it has more members than memory should be taken for."""
    size = file.seek(0, 2)
    file.seek(max(0, size - 65_557))
    tail = file.read()
    file.seek(0)
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 22:
        return  # no zip, or a cut one: `zipfile` says so
    length = struct.unpack_from("<I", tail, end + 12)[0]
    wide = tail.rfind(b"PK\6\6", 0, end)
    if length == 0xFFFFFFFF and wide >= 0 and len(tail) >= wide + 48:
        length = struct.unpack_from("<Q", tail, wide + 40)[0]
    if min(length, size) > MAX_MEMBERS * _DIRECTORY_ENTRY:
        raise DataError(f"The zip {path} lists more than {MAX_MEMBERS:,} files. Unpack it and give the folder.")


def _members(archive: zipfile.ZipFile, path: Path, size: int) -> dict[str, zipfile.ZipInfo]:
    """The members by their paths, without those that are passed over."""
    members = {}
    for member in archive.infolist():
        parts = [part for part in member.filename.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        if not member.is_dir() and parts and not any(ignored(part) for part in parts):
            members["/".join(parts)] = member
    if any(member.flag_bits & _ENCRYPTED for member in members.values()):
        raise DataError(f"The zip {path} is encrypted. Unpack it with its password and give the folder.")
    total = sum(member.file_size for member in members.values())
    if total > _MOST_PACKED * size:
        raise DataError(
            f"The zip {path} claims to unpack to {total:,} bytes, which {size:,} packed bytes cannot hold. It is "
            "damaged, or made to fill the memory."
        )
    return members


def _folders(archive: zipfile.ZipFile) -> list[str]:
    """The paths of the folders that a zip lists, without those that are passed over."""
    paths = (member.filename.replace("\\", "/").strip("/") for member in archive.infolist() if member.is_dir())
    return [path for path in paths if path and not any(ignored(part) for part in path.split("/"))]


def read_zip(path: str | Path, options: ImageOptions, progress: Progress | None = None) -> SampleSet:
    """All images in a zip, in the order of their paths; for classes and parts see `ganzoo.data.images.layout`.

    Raises:
        DataError: the zip is broken, encrypted or a bomb, or holds no readable image.
    """
    path = Path(path)
    try:
        file = open_regular(str(path))
    except OSError as error:
        raise DataError(f"The zip {path} cannot be read: {error.strerror or error}.") from error
    with file:
        found = path.stat()
        _check_directory(file, path)
        try:
            archive = zipfile.ZipFile(file)
        # A broken directory may make it raise nearly anything.
        except Exception as error:
            raise DataError(
                f"The zip {path} cannot be read: {printable(error)}. It may be cut off; download or pack it again, or "
                "give the folder."
            ) from error
        with archive:
            members = _members(archive, path, found.st_size)
            shared = common_folder(list(members))
            files = [
                ImageFile(
                    name[len(shared) :],
                    partial(_open_member, archive, member),
                    (member.file_size, member.CRC, found.st_size, found.st_mtime_ns),
                    partial(_open_member, archive, member, True),
                )
                for name, member in sorted(members.items())
            ]
            folders = [path[len(shared) :] for path in _folders(archive) if path.startswith(shared)]
            return read_image_files(files, options, f"the zip {path.resolve()}", (), progress, folders)
