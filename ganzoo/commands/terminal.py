"""What every command has in common: quiet start, exit codes, and output that any terminal can show.

Exit codes: 0 done, 1 a clear error, 2 wrong usage, 130 interrupted, 143 terminated.
"""

import contextlib
import functools
import io
import json
import logging
import os
import re
import signal
import sys
import tempfile
import textwrap
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from ganzoo import progress
from ganzoo.errors import GanzooError
from ganzoo.printing import printable

_NOISY = ("absl", "tensorflow", "jax", "h5py")


def shown(text: str, stream: Any, first: str = "", indent: str = "") -> str:
    """Text as it is written to a stream: safe, wrapped, and with escapes for characters that its encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "ascii"
    text = wrapped(printable(text, None, keep="\n\t"), stream, first, indent)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def wrapped(text: str, stream: Any, first: str = "", indent: str = "") -> str:
    """Text whose lines fit into the stream, where it is a terminal."""
    if not stream.isatty():
        return first + text
    columns = max(progress.width(), 20)
    lines = (first + text).split("\n")
    return "\n".join(
        textwrap.fill(
            line, columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False,
            replace_whitespace=False, drop_whitespace=True,
        )
        if len(line) > columns
        else line
        for line in lines
    )  # fmt: skip


def show(text: str, to_stderr: bool = False, colour: str | None = None) -> None:
    """Print text, wrapped at the width of the terminal; characters that the stream's encoding lacks become escapes."""
    stream = sys.stderr if to_stderr else sys.stdout
    click.secho(shown(text, stream), fg=colour, err=to_stderr)


def print_result(result: Any, as_json: bool, text: str) -> None:
    """Print the result of a command: all of it as JSON, or a text."""
    click.echo(json.dumps(result, indent=1) if as_json else shown(text, sys.stdout))


def table(rows: Sequence[Sequence[Any]], head: Sequence[str] | None = None, indent: str = "") -> str:
    """Rows as aligned columns: numbers to the right, everything else to the left."""
    texts = [[str(cell) for cell in row] for row in ([head] if head else []) + list(rows)]
    if not texts:
        return ""
    widths = [max(len(row[index]) for row in texts) for index in range(len(texts[0]))]
    right = [all(isinstance(row[index], int | float) or _is_number(str(row[index])) for row in rows) for index in
             range(len(widths))]  # fmt: skip
    lines = (
        "  ".join(cell.rjust(size) if to_right else cell.ljust(size) for cell, size, to_right in
                  zip(row, widths, right, strict=True))
        for row in texts
    )  # fmt: skip
    return "\n".join(indent + line.rstrip() for line in lines)


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[-+]?[\d.,]+(e[-+]?\d+)?( ?(%|[kMG]?B|ms|s|dB))?|-|none", text))


class _LogHandler(logging.Handler):
    """Log messages on standard error, as it is at the moment: progress bars stand below them."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            prefix = "Warning: " if record.levelno >= logging.WARNING else ""
            click.echo(shown(record.getMessage(), sys.stderr, prefix, "  " if prefix else ""), file=sys.stderr)
        except Exception:
            self.handleError(record)


def prepare() -> None:
    """Let the streams replace characters that their encoding lacks, and send the log to standard error."""
    for stream in (sys.stdout, sys.stderr):  # for what others print
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    if not any(isinstance(handler, _LogHandler) for handler in root.handlers):
        root.addHandler(_LogHandler())
    for noisy in _NOISY:
        logging.getLogger(noisy).setLevel(logging.ERROR)


def command(tensorflow: bool = True, resumes: bool = False) -> Callable:
    """Makes a function a command: errors become a text and an exit code; TensorFlow is loaded quietly if it is needed.

    Args:
        tensorflow: whether the command needs it.
        resumes: whether the same command continues where an interrupted one stopped: then the user is informed.
    """

    def wrap(function: Callable) -> Callable:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            prepare()
            with _terminable():
                _run(functools.partial(function, *args, **kwargs), tensorflow, resumes)

        return run

    return wrap


def _run(function: Callable[[], None], tensorflow: bool, resumes: bool) -> None:
    try:
        if tensorflow:
            from ganzoo.startup import load_tensorflow

            with progress.task("Loading TensorFlow") as loading:
                loading.kept = False
                load_tensorflow()
        function()
    except (click.ClickException, click.exceptions.Exit):
        raise
    except GanzooError as error:
        _end(f"Error: {error}", 1)
    except (KeyboardInterrupt, click.Abort) as error:
        hint = " The same command continues from the last checkpoint, or from the start." if resumes else ""
        show(f"{str(error) or 'Interrupted.'}{hint}", to_stderr=True)
        sys.exit(130)
    except BrokenPipeError:  # nobody reads any longer
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        _end(f"Error: {error.strerror or error}{where}", 1)
    except Exception as error:
        with tempfile.NamedTemporaryFile(
            "w", prefix="ganzoo-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(traceback.format_exc())
        text = f"Error: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        _end(f"{text}\nThis is a fault of ganzoo. Please report it with the details in {file.name}.", 1)


def _end(text: str, code: int) -> None:
    show(text, to_stderr=True, colour="red")
    sys.exit(code)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends the command with exit code 143, after temporary files are removed."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, frame: Any) -> None:
    show(f"Stopped by {signal.Signals(number).name}.", to_stderr=True)
    sys.exit(128 + number)
