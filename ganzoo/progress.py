"""Progress of long work: bars in a terminal or a notebook, otherwise a line in the log every 25 seconds.

    from ganzoo import progress

    with progress.task("Fitting the feature network", total=300) as advance:
        for step in range(300):
            ...
            advance()

Tasks may be nested: each has a line of its own. Nothing is shown inside `with progress.shown(False)`.
"""

import contextlib
import logging
import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar

log = logging.getLogger("ganzoo.progress")

INTERVAL = 25.0  # seconds between two lines where there is no terminal
_BAR = 12  # characters
_WINDOW = 30.0  # seconds over which the speed is measured
_SHORT = 0.3  # seconds; a shorter task is not drawn
_KEPT = 2.0  # seconds; a shorter task leaves no line behind

_wanted: ContextVar[bool | None] = ContextVar("ganzoo_progress", default=None)
_lock = threading.RLock()
_tasks: list["Task"] = []  # the running ones, the outermost first
_view: "_View | None" = None  # where they are shown

Item = TypeVar("Item")


class Task:
    """One piece of long work. Call it to advance it.

    Attributes:
        label: what is done, such as "Reading images".
        total: how many units there are; None where that is not known.
        unit: what the speed counts, such as "samples"; the speed is left out where it is empty.
        done: how many units are done.
        kept: whether a line that says how long it took stays when it is done.
    """

    def __init__(self, label: str, total: float | None = None, unit: str = ""):
        self.label, self.total, self.unit = label, total, unit
        self.done, self.kept = 0.0, True
        self.started = time.monotonic()
        self._left: float | None = None
        self._speed: float | None = None
        self._details: Sequence[str] = ()
        self._history: deque[tuple[float, float]] = deque()

    def __call__(self, amount: float = 1) -> None:
        """Count `amount` more units as done."""
        self.to(self.done + amount)

    def to(self, done: float, total: float | None = None) -> None:
        """Set how many units are done, and how many there are."""
        now = time.monotonic()
        self.done = done
        self.total = total if total is not None else self.total
        self._history.append((now, done))
        while len(self._history) > 2 and now - self._history[1][0] > _WINDOW:
            self._history.popleft()
        if self._view_is_due(now):
            _view.update()

    def state(self, left: float | None, speed: float | None, details: Sequence[str] = ()) -> None:
        """Set the seconds left, the units per second, and what else is shown as far as the width allows."""
        self._left, self._speed, self._details = left, speed, details

    def _view_is_due(self, now: float) -> bool:
        return _view is not None and now >= _view.due

    @property
    def elapsed(self) -> float:
        """Seconds since the task started."""
        return time.monotonic() - self.started

    @property
    def share(self) -> float | None:
        """The share that is done, 0 to 1; None where the total is not known."""
        return None if not self.total else min(max(self.done / self.total, 0.0), 1.0)

    @property
    def speed(self) -> float | None:
        """Units per second over the last half minute; None where it is not known yet."""
        if self._speed is not None or len(self._history) < 2:
            return self._speed
        (first, before), (last, now) = self._history[0], self._history[-1]
        return (now - before) / (last - first) if last > first else None

    @property
    def left(self) -> float | None:
        """Seconds that are left; None where they are not known yet."""
        if self._left is not None or not self.total:
            return self._left
        return max(self.total - self.done, 0.0) / self.speed if self.speed else None

    def text(self, width: int, bar: bool = True, ascii_only: bool = False) -> str:
        """One line of at most `width` characters: label, bar, percentage, time left, speed, then the details that fit.

        Percentage, time left and speed are always whole; the bar and the label are shortened for them.
        """
        needed = self._needed()
        fixed = "  ".join(needed)
        label = self.label
        length = _BAR if bar and self.share is not None else 0
        room = width - len(fixed) - 2
        if len(label) + 2 + length > room:
            length = max(room - len(label) - 2, 0)
            length = length if length >= 5 else 0
        if len(label) > room:
            dots = "..." if ascii_only else "…"
            label = label[: max(room - len(dots), 0)] + dots if room > len(dots) + 3 else ""
        drawn = _drawn(self.share or 0.0, length, ascii_only) if length else ""
        line = "  ".join(part for part in (label, drawn, fixed) if part)
        for detail in self._details:
            if len(line) + 2 + len(detail) > width:
                break
            line += f"  {detail}"
        return line[:width]

    def plain(self) -> str:
        """The same as a line for a log."""
        return f"{self.label}: {', '.join([part.strip() for part in self._needed()] + list(self._details))}"

    def _needed(self) -> list[str]:
        if self.share is None:
            return [f"{clock(self.elapsed)} so far"]
        needed = [f"{int(100 * self.share):3d}%", f"{clock(self.left)} left"]
        if self.unit:
            needed.append(f"{_number(self.speed)} {self.unit}/s")
        return needed


class _View(Protocol):
    """Where tasks are shown."""

    due: float

    def update(self) -> None:
        """Show the running tasks as they are now."""

    def finished(self, task: Task, inner: bool, failed: bool) -> None:
        """A task has ended; `inner`: inside another one."""

    def close(self) -> None:
        """Show nothing any longer."""


class _Terminal:
    """Lines at the bottom of the terminal; whatever is printed or logged meanwhile appears above them."""

    due = float("inf")  # it refreshes itself

    def __init__(self) -> None:
        self._live: Any = None
        self._ended = threading.Event()
        self._encoding = sys.stderr.encoding or "ascii"
        self._ascii = not self._encoding.lower().replace("-", "").startswith("utf")
        # A copy of the file: the bar is still drawn while standard error is closed to keep a library quiet.
        self._file = open(  # noqa: SIM115
            os.dup(sys.stderr.fileno()), "w", encoding=self._encoding, errors="backslashreplace"
        )
        self._above()
        threading.Thread(target=self._start, name="ganzoo-progress", daemon=True).start()

    def _above(self) -> None:
        """Let what is printed meanwhile appear above the lines.

        It is done here, in the thread of the task: what replaces standard error inside it then restores this.
        """
        from rich.console import Console
        from rich.file_proxy import FileProxy

        self._console = Console(file=self._file, force_terminal=True)
        self._streams = {"stderr": (sys.stderr, FileProxy(self._console, sys.stderr))}
        if sys.stdout.isatty():
            self._streams["stdout"] = (sys.stdout, FileProxy(self._console, sys.stdout))
        for name, (_, above) in self._streams.items():
            setattr(sys, name, above)

    def _start(self) -> None:
        if self._ended.wait(_SHORT):  # it was over before anything was to be drawn
            return
        from rich.live import Live

        with _lock:
            if self._ended.is_set():
                return
            self._live = Live(
                console=self._console,
                get_renderable=self._lines,
                refresh_per_second=4,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _lines(self) -> Any:
        from rich.text import Text

        width = self._console.width
        running = list(_tasks)
        running = running[:1] + [task for task in running[1:] if task.elapsed >= _SHORT]
        lines = [task.text(width, ascii_only=self._ascii) for task in running]
        return Text("\n".join(lines), no_wrap=True, overflow="crop")

    def update(self) -> None:
        if self._live:
            self._live.refresh()

    def finished(self, task: Task, inner: bool, failed: bool) -> None:
        if self._live and task.kept and not inner and not failed and task.elapsed >= _KEPT:
            self._console.print(f"{task.label}: done in {duration(task.elapsed)}.", markup=False, highlight=False)

    def close(self) -> None:
        self._ended.set()
        if self._live:
            self._live.stop()
        for name, (before, above) in self._streams.items():
            above.flush()
            if getattr(sys, name) is above:
                setattr(sys, name, before)
        self._file.close()


class _Notebook:
    """Lines of text below the cell, written again at most four times a second."""

    def __init__(self) -> None:
        from IPython.display import display

        self.due = 0.0
        self._handle = display(self._shown(), display_id=True)

    def _shown(self) -> Any:
        from IPython.display import Pretty

        return Pretty("\n".join(task.text(100) for task in list(_tasks)))

    def update(self) -> None:
        self.due = time.monotonic() + 0.25
        self._handle.update(self._shown())

    def finished(self, task: Task, inner: bool, failed: bool) -> None:
        if not inner:
            self.update()

    def close(self) -> None:
        pass


class _Log:
    """A line in the log for the innermost task and the outermost one, every `INTERVAL` seconds."""

    due = float("inf")

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._always = bool(_wanted.get())
        # In a thread of its own: a line also comes while one step takes minutes.
        self._thread = threading.Thread(target=self._write, name="ganzoo-progress", daemon=True)
        self._thread.start()

    def _write(self) -> None:
        while not self._ended.wait(INTERVAL):
            running = list(_tasks)
            for task in running[:1] + running[1:][-1:]:
                self._line(task.plain())

    def update(self) -> None:
        pass

    def finished(self, task: Task, inner: bool, failed: bool) -> None:
        if task.kept and not failed and task.elapsed >= INTERVAL:
            self._line(f"{task.label}: done in {duration(task.elapsed)}.")

    def close(self) -> None:
        self._ended.set()

    def _line(self, text: str) -> None:
        if self._always and not log.isEnabledFor(logging.INFO):
            print(text, file=sys.stderr, flush=True)
        else:
            log.info("%s", text)


@contextlib.contextmanager
def task(label: str, total: float | None = None, unit: str = "") -> Iterator[Task]:
    """Show a piece of long work for the time of a `with` block.

    Args:
        label: what is done, such as "Reading images"; a few words without a full stop.
        total: how many units there are; None where that is not known: then the time so far is shown.
        unit: what the speed counts, such as "samples"; without it no speed is shown.

    Yields:
        The task: call it, with a number of units if it is not one, to advance it.
    """
    global _view
    made = Task(label, total, unit)
    if _wanted.get() is False:
        yield made
        return
    with _lock:
        _tasks.append(made)
        if _view is None:
            _view = _make_view()
        elif isinstance(_view, _Terminal | _Notebook):
            _view.update()
    failed = True
    try:
        yield made
        failed = False
    finally:
        with _lock:
            view = _view
            inner = _tasks[0] is not made
            view.finished(made, inner, failed)
            _tasks.remove(made)
            if not _tasks:
                _view = None
                view.close()
            elif isinstance(view, _Terminal | _Notebook):
                view.update()


def each(items: Iterable[Item], label: str, total: float | None = None, unit: str = "") -> Iterator[Item]:
    """The items one after another, shown as a task; `total` is their number where they have a length."""
    total = len(items) if total is None and hasattr(items, "__len__") else total
    with task(label, total, unit) as advance:
        for item in items:
            yield item
            advance()


@contextlib.contextmanager
def shown(wanted: bool | None) -> Iterator[None]:
    """Decide for a `with` block whether progress is shown.

    Args:
        wanted: False: no. None (the default everywhere): as around this block; at the outermost, bars in a terminal or
            a notebook, otherwise lines in the log "ganzoo". True: the same, and the lines go to standard error where
            that log is not shown.
    """
    token = _wanted.set(_wanted.get() if wanted is None else wanted)
    try:
        yield
    finally:
        _wanted.reset(token)


def _make_view() -> _View:
    if _in_notebook():
        return _Notebook()
    return _Terminal() if _is_terminal() else _Log()


def _is_terminal() -> bool:
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and sys.stderr.fileno() >= 0
    except (OSError, ValueError, AttributeError):
        return False


def _in_notebook() -> bool:
    shell = sys.modules.get("IPython")
    kernel = shell.get_ipython() if shell else None
    return kernel is not None and type(kernel).__name__ == "ZMQInteractiveShell"


def clock(seconds: float | None) -> str:
    """Seconds as `1:05` or `2:01:05`, and `-:--` where they are not known."""
    if seconds is None or seconds != seconds or seconds > 1e8:
        return "-:--"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def duration(seconds: float) -> str:
    """Seconds as words with a unit: `5.2 s`, `43 s`, `12 min`, `1.6 h`."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def width() -> int:
    """The terminal's columns; 80 where there is none."""
    return shutil.get_terminal_size((80, 24)).columns


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 9.95 else f"{value:.2g}"


def _drawn(share: float, length: int, ascii_only: bool) -> str:
    full = round(share * length)
    return "#" * full + "-" * (length - full) if ascii_only else "━" * full + "─" * (length - full)
