"""One process at a time trains in a run directory."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganzoo.errors import TrainingError
from ganzoo.files.processes import start_of
from ganzoo.files.writing import storage_errors

LOCK = "run.lock"


@contextlib.contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of a run directory for a `with` block: the file `run.lock`, which names process and machine.

    A lock whose process has ended on this machine is taken over. (A process number that another process has by now is
    recognised by the time at which the process began.) The kernel's file locks are used as well, where they exist.

    Raises:
        TrainingError: another process trains there, or one of another machine may.
    """
    path = run / LOCK
    file = _take(path, run)
    try:
        with storage_errors(path):
            file.truncate(0)
            file.write(json.dumps(_this_process()).encode())
            file.flush()
        yield
    finally:
        try:
            path.unlink()
        except PermissionError:  # on Windows an open file cannot be removed
            file.close()
            with contextlib.suppress(OSError):
                path.unlink()
        except FileNotFoundError:
            pass
        file.close()


def _take(path: Path, run: Path) -> Any:
    """The open lock file, with no living owner but this process."""
    while True:
        with storage_errors(path):
            file = open(path, "ab+")  # noqa: SIM115
        free = _kernel_lock(file)
        # Its owner may have removed it between the two steps.
        if free and not (path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat())):
            file.close()
            continue
        file.seek(0)
        owner = _owner(file.read(2**16))
        if free is False or _lives(owner):
            file.close()
            raise TrainingError(_refusal(run, path, owner))
        return file


def _kernel_lock(file: Any) -> bool | None:
    """Lock the file: False where another process holds it, None where the system has no such locks."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _this_process() -> dict[str, Any]:
    pid = os.getpid()
    return {"pid": pid, "host": socket.gethostname(), "began": start_of(pid), "since": time.strftime("%Y-%m-%d %H:%M")}


def _owner(content: bytes) -> dict[str, Any]:
    """What a lock file says; empty where it says nothing (its process was killed before it wrote)."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    whole = isinstance(found, dict) and isinstance(found.get("pid"), int) and isinstance(found.get("host"), str)
    return found if whole else {}


def _lives(owner: dict[str, Any]) -> bool:
    """Whether the owner of a lock may still train: it exists, or it is of another machine."""
    if not owner:
        return False
    if owner["host"] != socket.gethostname():
        return True
    began = start_of(owner["pid"])
    return began is not None and began == owner.get("began")


def _refusal(run: Path, path: Path, owner: dict[str, Any]) -> str:
    if not owner:
        return f"Another process trains in {run}. Wait for its end, or name another run directory."
    since = f" since {owner['since']}" if owner.get("since") else ""
    who = "this process" if owner["pid"] == os.getpid() else f"process {owner['pid']}"
    if owner["host"] == socket.gethostname():
        return (
            f"{who[0].upper()}{who[1:]} trains in {run}{since}. Two trainings would overwrite each other's files. Wait "
            "for its end, stop it, or name another run directory."
        )
    return (
        f"Process {owner['pid']} of the machine {owner['host']} trains in {run}{since}. Wait for its end, or name "
        f"another run directory. If it no longer runs there, remove {path}."
    )
