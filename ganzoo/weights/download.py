"""Files from the network: fetched once, checked by sha256, whole or not at all."""

import hashlib
import http.client
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from ganzoo.errors import WeightsError
from ganzoo.files.tensors import MOST_WEIGHTS
from ganzoo.files.writing import atomic_write
from ganzoo.progress import task

_TIMEOUT = 30  # seconds without an answer
_CHUNK = 1 << 20


def download(address: str, sha256: str, path: str | Path) -> Path:
    """Fetch a file of weights.

    Args:
        address: `https://...`.
        sha256: of the whole file, 64 hexadecimal digits.
        path: where it is written, if its sha256 is right.

    Returns:
        `path`.

    Raises:
        WeightsError: there is no network or no such file, the connection breaks off, or the content is another one.
        StorageError: the disk is full or cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)

    def write(temporary: Path) -> None:
        digest = hashlib.sha256()
        with temporary.open("wb") as out:
            for chunk in _chunks(address):
                digest.update(chunk)
                out.write(chunk)
        if digest.hexdigest() != sha256:
            raise WeightsError(
                f"{address} is another file than expected and was refused: its sha256 is {digest.hexdigest()}, not "
                f"{sha256}."
            )

    return atomic_write(path, write)


def _chunks(address: str) -> Iterator[bytes]:
    """The content, piece by piece, with its progress."""
    received, expected = 0, None
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:
            length = answer.headers.get("Content-Length") or ""
            expected = int(length) if length.isdigit() else None
            with task(
                f"Fetching {address.rpartition('/')[2]}", None if expected is None else expected / 1e6, "MB"
            ) as advance:
                while chunk := answer.read(_CHUNK):
                    received += len(chunk)
                    if received > MOST_WEIGHTS:
                        raise WeightsError(f"{address} is larger than any file of weights and was refused.")
                    yield chunk
                    advance(len(chunk) / 1e6)
    except (OSError, http.client.HTTPException) as error:
        raise WeightsError(f"{address} cannot be fetched ({error}).") from None
    if expected is not None and received < expected:
        raise WeightsError(f"{address} broke off after {received:,} of {expected:,} bytes. Try again.")
