"""Weights as safetensors files with a checksum."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ganzoo.errors import WeightsError
from ganzoo.files.reading import FIX, guard, open_regular
from ganzoo.files.writing import atomic_write

_DIGEST, _NO_DIGEST = "ganzoo_sha256", "0" * 64
_MARK = "ganzoo_format"  # a second sign of a file with a checksum: damage to one of the two is found by the other
_LONGEST_HEADER = 100_000_000  # what the safetensors format allows
MOST_WEIGHTS = 8 << 30


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
        raise WeightsError(f"{path} is damaged: its content does not have the checksum that is written in it. {FIX}")
    return True


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
