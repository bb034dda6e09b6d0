"""The folder in which what can be computed again is kept."""

import atexit
import errno
import functools
import logging
import os
import shutil
import tempfile
from pathlib import Path

from ganzoo.files.writing import clean_once, storage_errors

log = logging.getLogger("ganzoo")


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
    clean_once(folder, bool(kind))
    return folder


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
