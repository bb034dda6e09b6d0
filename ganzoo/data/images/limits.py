"""Limits that are checked before memory is taken: a file's claims about itself are never believed."""

import os
from pathlib import Path
from typing import BinaryIO

from ganzoo.errors import DataError

MAX_FILE = 2**30  # bytes of one image file
MAX_LABEL_FILE = 128 * 2**20  # bytes of a file of labels
MAX_CLASSES = 65_536
_SHARE = 0.8  # of the memory that is free
_UNKNOWN = 8 * 2**30  # bytes, where the system does not say how much is free
_CHUNK = 2**20


def available_memory() -> int:
    """Bytes that can be taken now: what the system and the control group of a container leave."""
    found = _UNKNOWN
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found = int(line.split()[1]) * 1024
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            found = min(found, int(limit) - int(Path("/sys/fs/cgroup/memory.current").read_text()))
    except (OSError, ValueError, IndexError):
        pass
    return max(found, 0)


def check_memory(size: int, what: str) -> None:
    """Refuse to take `size` bytes for `what` where that is more than 80% of the free memory.

    Raises:
        DataError: it is more.
    """
    free = int(_SHARE * available_memory())
    if size > free:
        raise DataError(
            f"{what} needs {size / 1e9:,.1f} GB of memory, but {free / 1e9:,.1f} GB can be used. Give fewer or smaller "
            "images, a folder of image files (their pixels are kept on disk), or a .npy file of uint8."
        )


def read_at_most(file: BinaryIO, limit: int) -> bytes:
    """The rest of `file`, at most `limit` bytes, read in parts: memory is taken only for what is there."""
    parts, missing = [], limit
    while missing > 0:
        part = file.read(min(_CHUNK, missing))
        if not part:
            break
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def read_whole(file: BinaryIO, limit: int, what: str) -> bytes:
    """All of `file`.

    Raises:
        DataError: it has more than `limit` bytes.
    """
    data = read_at_most(file, limit + 1)
    if len(data) > limit:
        raise DataError(f"{what} has more than {limit / 2**20:,.0f} MiB, which is the limit. Split it or remove it.")
    return data


def workers() -> int:
    """How many threads decode: Pillow releases Python's lock while it decodes and resizes."""
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
