"""Times: minutes are minutes of training, and mean the same in every place."""

import json
import re
import time

import numpy as np
import pytest
import tensorflow as tf

from ganzoo.commands.texts import trained
from ganzoo.recipes import entries
from ganzoo.recipes.yaml_files import merge, nest
from ganzoo.runs import callbacks, checkpoints
from ganzoo.runs.train import train
from ganzoo.zoo.create import create

ENTRY = "image/dcgan_32"


def test_a_clock_stands_still_while_it_is_paused(monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    clock = callbacks.Clock(before=5.0)
    now = 2.0
    with clock.paused():
        now = 3.0
        with clock.paused():
            now = 10.0
            assert clock.seconds() == 7.0
        now = 11.0
    now = 11.5
    assert clock.seconds() == 7.5


def test_minutes_are_those_of_training_in_every_place(tmp_path, monkeypatch, caplog):
    """Images, scores and start-up, which are slow here, count nowhere."""
    slow = 0.4
    caplog.set_level("INFO", "ganzoo")
    grid = callbacks.Snapshots._grid
    monkeypatch.setattr(callbacks.Snapshots, "_grid", lambda self: (time.sleep(slow), grid(self)))
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3)).astype("uint8")
    often = {"training.snapshot_every": 2_000, "evaluation.every": 2_000, "guards.every": 2_000}
    overrides = merge(entries.get_entry(ENTRY).raw["tiny"], nest(often))
    result = train(ENTRY, images, tmp_path / "run", minutes=1.5 / 60, overrides=overrides)
    assert "1.5 s of training are left, without scores and images" in caplog.text
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    grids = len(list((tmp_path / "run/samples").glob("0*.png")))
    assert 1.5 <= result["seconds"] < 1.5 + slow
    assert lines[-1]["seconds"] == pytest.approx(result["seconds"], abs=0.06)
    gan = create(str(tmp_path / "run"))
    gan.compile()
    assert checkpoints.load(gan, tmp_path / "run").seconds == pytest.approx(result["seconds"], abs=0.06)
    assert result["total_seconds"] > result["seconds"] + slow * grids
    counts = np.diff([0, *(line["samples"] for line in lines)])
    timed = sum(count / line["samples_per_second"] for count, line in zip(counts, lines, strict=True))
    assert timed == pytest.approx(result["seconds"], abs=0.1)
    assert f"in {result['seconds']:.1f} s of training" in trained(result)


def test_the_estimate_is_the_speed_of_the_training(tmp_path, caplog):
    """Reading a batch takes the most time here, so that the speed is steady."""
    caplog.set_level("INFO", "ganzoo")
    images = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3)).astype("uint8")

    def slow(batch):
        time.sleep(0.08)
        return batch

    data = tf.data.Dataset.from_tensor_slices(images).batch(8).repeat()
    data = data.map(lambda batch: tf.ensure_shape(tf.numpy_function(slow, [batch], tf.uint8), (8, 32, 32, 3)))
    # Without pauses, in which batches would be read ahead.
    overrides = merge(entries.get_entry(ENTRY).raw["tiny"], nest({"training.snapshot_every": 10_000}))
    result = train(ENTRY, data, tmp_path / "run", samples=160, overrides=overrides)
    found = re.search(
        r"About (\d+) samples per second: (.*) of training are left, .* for about (\S+) samples", caplog.text
    )
    speed = int(found[1])
    assert 0.5 < speed / (160 / result["seconds"]) < 2  # other processes may slow down either
    assert float(found[2].removesuffix(" s")) == pytest.approx(160 / speed, rel=0.05)
    assert int(found[3]) in (159, 160)
