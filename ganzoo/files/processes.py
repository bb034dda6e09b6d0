"""Which process of which machine wrote something, and whether it is still there."""

import functools
import hashlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

_LATER = 2.0  # seconds by which a process starts after a file was written that it cannot have written
_TICKS_FIELD = 19  # of /proc/PID/stat, counted after the command's name


@functools.cache
def this_host() -> str:
    """Eight hexadecimal digits that stand for this machine's name."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def start_of(pid: int) -> str | None:
    """When a process began, as a text to compare: two processes of one number have different ones.

    Returns:
        None where there is no such process, an empty text where the system does not say when it began.
    """
    if sys.platform == "win32":
        return "" if _exists_on_windows(pid) else None
    if Path("/proc/self/stat").exists():
        ticks = _ticks(pid)
        return None if ticks is None else f"{_boot()}/{ticks}"
    try:
        os.kill(pid, 0)
    except PermissionError:
        pass
    except (OSError, OverflowError):
        return None
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip()


def is_alive(pid: int, written: float) -> bool:
    """Whether the process of this number exists and can have written a file at the time `written` (Unix seconds)."""
    if start_of(pid) is None:
        return False
    if not Path("/proc/uptime").exists():
        return True
    ticks, now = _ticks(pid), float(Path("/proc/uptime").read_text().split()[0])
    if ticks is None:
        return False
    began = time.time() - now + ticks / os.sysconf("SC_CLK_TCK")
    return began <= written + _LATER


def _ticks(pid: int) -> int | None:
    """Clock ticks from the start of the machine to that of a process; None where there is none, or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the command's name may hold spaces and brackets
    return None if fields[0] in ("Z", "X") else int(fields[_TICKS_FIELD])


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _exists_on_windows(pid: int) -> bool:
    import ctypes

    kernel = ctypes.windll.kernel32
    handle = kernel.OpenProcess(0x1000, False, pid)  # PROCESS_QUERY_LIMITED_INFORMATION
    if not handle:
        return False
    code = ctypes.c_ulong()
    kernel.GetExitCodeProcess(handle, ctypes.byref(code))
    kernel.CloseHandle(handle)
    return code.value == 259  # STILL_ACTIVE
