"""Progress: what a line holds at a width, and what is shown in a terminal, in a notebook and in a log."""

import logging
import os
import pty
import re
import subprocess
import sys
import time

import pytest

from ganzoo import progress


def running(label="Training", done=0.42, left=65.0, speed=1234.0, details=()):
    task = progress.Task(label, 1.0, "samples")
    task.to(done)
    task.state(left, speed, details)
    return task


LOSSES = [f"loss_{index} 0.123" for index in range(20)]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("label", ["Training", "Measuring the speed and the memory of generator_float16.tflite"])
def test_what_matters_is_always_visible(width, label):
    line = running(label, details=LOSSES).text(width)
    assert len(line) <= width
    assert all(part in line for part in (" 42%", "1:05 left", "1,234 samples/s"))


def test_details_come_as_far_as_the_width_allows():
    assert running(details=LOSSES).text(80).endswith("1,234 samples/s  loss_0 0.123")
    assert running(details=LOSSES).text(200).count("loss_") == 10
    assert "━" * 5 + "─" * 7 in running().text(80)
    assert running().text(80, ascii_only=True).isascii()


def test_the_speed_is_that_of_the_last_half_minute(monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    task = progress.Task("Reading", 1000, "images")
    # The first ten seconds, in which all is prepared, do not count.
    for now in (10.0, 20.0):  # noqa: B007
        task(100)
    assert task.speed == 10.0 and task.left == 80.0
    assert task.plain() == "Reading: 20%, 1:20 left, 10 images/s"


def test_a_task_of_unknown_length_shows_its_time(monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    task = progress.Task("Converting")
    now = 3723.0
    assert task.text(80) == "Converting  1:02:03 so far"


def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch, caplog):
    monkeypatch.setattr(progress, "INTERVAL", 0.05)
    caplog.set_level(logging.INFO, "ganzoo")
    with progress.task("Scoring", 4) as advance, progress.task("Fitting", 2) as inner:
        advance(), advance()
        inner()
        time.sleep(0.2)
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("Scoring: 50%") for line in lines)
    assert any(line.startswith("Fitting: 50%") for line in lines)
    assert re.fullmatch(r"Scoring: done in 0\.\d s\.", lines[-1])
    assert progress._tasks == [] and progress._view is None


def test_nothing_is_shown_where_it_is_not_wanted(monkeypatch, caplog):
    monkeypatch.setattr(progress, "INTERVAL", 0.02)
    caplog.set_level(logging.INFO, "ganzoo")
    with progress.shown(False), progress.task("Scoring", 4) as advance:
        advance()
        time.sleep(0.1)
    with progress.shown(False), progress.shown(None), progress.task("Scoring", 4) as advance:  # None is as outside
        advance()
        time.sleep(0.1)
    assert not caplog.records


def test_each_counts_the_items(monkeypatch):
    shares = [progress._tasks[-1].share for _ in progress.each("abcd", "Reading")]
    assert shares == [0.0, 0.25, 0.5, 0.75]


def test_an_error_passes_and_nothing_stays():
    with pytest.raises(ValueError, match="no"), progress.task("Scoring", 4):
        raise ValueError("no")
    assert progress._tasks == [] and progress._view is None


def in_a_terminal(code, columns=80, encoding="utf-8"):
    """What a Python program writes to a terminal of so many columns."""
    own, its = pty.openpty()
    environment = os.environ | {"COLUMNS": str(columns), "LINES": "24", "TERM": "xterm", "PYTHONIOENCODING": encoding}
    process = subprocess.Popen([sys.executable, "-c", code], stdin=its, stdout=its, stderr=its, env=environment)
    os.close(its)
    written = b""
    while True:
        try:
            part = os.read(own, 65536)
        except OSError:  # the end, on Linux
            break
        if not part:
            break
        written += part
    assert process.wait(60) == 0, written
    os.close(own)
    return written.decode(encoding)


CODE = """
import logging, sys, time
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
from ganzoo import progress
progress._KEPT = 0
with progress.task("Training", 1000, "samples") as advance:
    for _ in range(5):
        advance(100)
        time.sleep(0.15)
    with progress.task("Fitting the feature network \u65e5", 10) as inner:
        inner(3)
        time.sleep(1.5)
print("finished")
"""


def test_in_a_terminal_lines_are_drawn_and_taken_away():
    written = in_a_terminal(CODE)
    assert "50%" in written and "samples/s" in written and "Fitting the feature network \u65e5" in written
    assert re.search(r"Training: done in \d\.\d s\.", written) and "finished" in written
    assert written.rstrip().endswith("finished") and "\x1b[?25h" in written  # the cursor is there again


NOISY = """
import sys, time
from ganzoo.startup import no_output, no_stderr
from ganzoo import progress
before = sys.stderr, sys.stdout
with progress.task("Exporting", 2) as advance:
    time.sleep(1.0)
    with no_output():
        print("chatter 1"); print("chatter 2", file=sys.stderr)
    with no_stderr():
        print("chatter 3", file=sys.stderr)
        time.sleep(0.5)
    print("seen 1", file=sys.stderr)
    print("seen 2")
assert (sys.stderr, sys.stdout) == before
print("seen 3", file=sys.stderr)
"""


def test_the_chatter_of_libraries_is_not_seen_and_messages_are():
    written = in_a_terminal(NOISY)
    assert "chatter" not in written and "Exporting" in written
    assert [re.search(rf"^[^\n]*seen {index}\r?$", written, re.M) is not None for index in (1, 2, 3)] == [True] * 3


def test_a_terminal_that_knows_ascii_alone_gets_it():
    written = in_a_terminal(CODE, encoding="ascii")
    assert written.isascii() and "\\u65e5" in written and "######------" in written


def test_the_losses_of_both_networks_fit_into_80_columns():
    from ganzoo.runs.callbacks import _losses

    logs = {"fake_logits": -1.0, "discriminator_loss": 0.1391, "penalty_loss": 0.5, "generator_loss": 4.35}
    line = running(speed=12_345, details=[*_losses(logs), "1,234,567 seen"]).text(80)
    assert line.endswith("12,345 samples/s  loss D 0.139  G 4.350")
    assert _losses(logs) == ["loss D 0.139", "G 4.350", "penalty 0.500", "fake_logits -1.000"]


@pytest.mark.heavy
def test_the_demonstration_shows_no_progress_where_it_is_not_wanted(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(progress, "INTERVAL", 0.1)
    caplog.set_level(logging.INFO, "ganzoo")
    from ganzoo.commands.demo import demo

    assert demo(tmp_path / "run", minutes=0.02, progress=False)["samples"]
    assert any("Step 6 of 6" in record.getMessage() for record in caplog.records)
    assert not [record.getMessage() for record in caplog.records if record.name == "ganzoo.progress"]
