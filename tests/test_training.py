"""Runs: guards, refusals, limits, a killed process."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ganzoo.errors import DataError, TrainingError
from ganzoo.recipes import entries, yaml_files
from ganzoo.runs.finetune import finetune
from ganzoo.runs.train import train
from ganzoo.zoo.load import load

ENTRY = "image/dcgan_32"
TINY = entries.get_entry(ENTRY).raw["tiny"]


def images(count=40, size=32):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype("uint8")


def test_an_estimate_holds_all_that_is_not_done_in_each_step(tiny):
    assert tiny("image/dcgan_32").period() == 1
    lazy = [{"name": "r1", "weight": 1.0, "every": 8}]
    assert tiny("image/dcgan_32", regularizers=lazy, model={"discriminator_norm": "none"}).period() == 8
    late = {"matching_every": 5, "matching_weight": 1.0}
    assert tiny("image/projected_mobile_64", model=late, regularizers=[]).period() == 5
    assert tiny("image/projected_mobile_64", model=late | {"matching_weight": 0.0}, regularizers=[]).period() == 1


def test_a_run_directory_holds_what_the_design_says(tmp_path):
    result = train(ENTRY, images(), tmp_path / "run", samples=64, overrides=TINY)
    run = tmp_path / "run"
    assert result["finished"] and result["samples"] == 64
    assert {p.name for p in run.iterdir()} >= {
        "recipe.yaml", "metrics.jsonl", "samples", "checkpoints", "preset", "report.html", "data.json", "tensorboard",
    }  # fmt: skip
    assert {p.name for p in (run / "samples").iterdir()} == {
        "000000000.png", "000000032.png", "000000064.png", "reals.png",
    }  # fmt: skip
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["samples"] for line in lines] == list(range(8, 65, 8))
    again = train(ENTRY, images(), run, samples=64, overrides=TINY)
    assert again["samples"] == 64


def test_the_best_weights_are_kept_beside_the_last(tmp_path):
    run = tmp_path / "run"
    looks = {"evaluation": {"every": 64, "every_samples": 20}}
    data = np.full((40, 32, 32, 3), 250, "uint8")
    train(ENTRY, data, run, samples=192, overrides={**TINY, **looks, "optimizers.generator.learning_rate": 1e-9})
    checks = [json.loads(line) for line in (run / "checks.jsonl").read_text().splitlines()]
    assert [check["samples"] for check in checks] == [64, 128, 192]
    assert [check["best"] for check in checks] == [
        all(check["score"] < earlier["score"] for earlier in checks[:index]) for index, check in enumerate(checks)
    ]
    best = min(checks, key=lambda check: check["score"])
    gan = load(str(run / "best"))
    fakes = gan.generate(20, seed=gan.recipe.seed)
    assert gan.domain.quick_score(data[:20], fakes) == pytest.approx(best["score"], rel=1e-4)
    assert f"after {best['samples']} samples" in (run / "report.html").read_text()


def test_minutes_are_a_limit(tmp_path):
    result = train(ENTRY, images(), tmp_path / "run", minutes=0.01, overrides=TINY)
    assert result["finished"] and result["samples"] >= 8


def test_a_run_whose_time_is_over_is_not_trained_on(tmp_path):
    # The last checkpoint was written at the very step at which the time ended.
    changes = yaml_files.merge(TINY, {"training": {"snapshot_every": 8, "clock": "processor"}})
    first, again = (train(ENTRY, images(), tmp_path / "run", minutes=0.01, overrides=changes) for _ in range(2))
    assert first["samples"] == again["samples"]


def test_resume_refuses_other_recipes_and_other_data(tmp_path):
    train(ENTRY, images(), tmp_path / "run", samples=16, overrides=TINY)
    with pytest.raises(TrainingError, match=r"objective \(non_saturating and hinge\)"):
        train(ENTRY, images(), tmp_path / "run", samples=32, overrides={**TINY, "objective": "hinge"})
    with pytest.raises(TrainingError, match="data differ"):
        train(ENTRY, images(41), tmp_path / "run", samples=32)
    with pytest.raises(TrainingError, match="is a run of image/dcgan_32"):
        train("image/wgan_gp_32", images(), tmp_path / "run", samples=32)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("precious")
    with pytest.raises(TrainingError, match="is not a run directory"):
        train(ENTRY, images(), tmp_path / "other", samples=32)


def test_what_is_not_finite_never_reaches_the_weights(tiny, reals):
    import tensorflow as tf

    gan = tiny(ENTRY)
    gan.fit(reals(gan, 2), verbose=0)
    before = gan.state()
    bad = np.zeros((8, 32, 32, 3), "float32")
    bad[3, 4, 5, 0] = np.nan
    with pytest.raises(TrainingError, match="a sample is not finite") as refusal:
        gan.fit(tf.data.Dataset.from_tensors(bad), verbose=0)
    assert "Find the step of your data" in str(refusal.value) and "earning rates" not in str(refusal.value)
    after = gan.state()
    assert all(np.array_equal(before[key], after[key]) for key in before)


def test_a_diverging_run_stops_with_a_whole_checkpoint(tmp_path):
    run = tmp_path / "run"
    train(ENTRY, images(), run, samples=16, overrides=TINY)
    last = sorted((run / "checkpoints").iterdir())[-1]
    state = load_file(last)
    (rate,) = [name for name in state if name.startswith("optimizers/discriminator") and "learning_rate" in name]
    save_file({**state, rate: np.array(1e30, "float32")}, last)
    with pytest.raises(TrainingError, match="is not finite"):
        train(ENTRY, images(), run, samples=10_000)
    assert "not finite" in (tmp_path / "run" / "events.jsonl").read_text()
    assert (tmp_path / "run" / "report.html").is_file()
    last = sorted((tmp_path / "run" / "checkpoints").iterdir())[-1]
    state = load_file(last)
    assert int(state["samples_seen"]) >= 16 and all(np.isfinite(array).all() for array in state.values())


def test_finetune_takes_overrides_over_the_source(tmp_path):
    train(ENTRY, images(), tmp_path / "first", samples=8, overrides=TINY)
    finetune(str(tmp_path / "first"), images(), tmp_path / "second", samples=8, overrides={"data.flip": True})
    assert entries.get_entry(str(tmp_path / "second")).recipe().data.flip


def test_a_lost_preset_is_written_again(tmp_path):
    run = tmp_path / "run"
    train(ENTRY, images(), run, samples=16, overrides=TINY)
    expected = load(str(run)).generate(2)
    for path in (run / "preset").iterdir():
        path.unlink()
    train(ENTRY, images(), run, samples=16, overrides=TINY)
    again = load(str(run))
    assert again.sample_count == 16 and np.array_equal(again.generate(2), expected)


def test_shapes_and_tuples_are_refused_in_words(tiny):
    import tensorflow as tf

    gan = tiny(ENTRY)
    with pytest.raises(DataError, match=r"makes samples of shape .*the data have"):
        gan.fit(tf.data.Dataset.from_tensors(np.zeros((8, 16, 16, 3), "uint8")), verbose=0)
    with pytest.raises(DataError, match="a tuple of 2"):
        gan.fit(tf.data.Dataset.from_tensors((np.zeros((8, 32, 32, 3), "uint8"), np.zeros(8))), verbose=0)


def test_classes_come_from_the_data(tmp_path):
    name = "image/wgan_gp_32"
    tiny = {**entries.get_entry(name).raw["tiny"]}
    tiny["model"] = {**tiny["model"], "classes": None}
    train(name, (images(), np.arange(40) % 5), tmp_path / "five", samples=8, overrides=tiny)
    assert entries.get_entry(str(tmp_path / "five")).recipe().model.classes == 5
    train(name, images(), tmp_path / "none", samples=8, overrides=tiny)
    assert entries.get_entry(str(tmp_path / "none")).recipe().model.classes == 0


def test_finetune_starts_from_a_run(tmp_path):
    train(ENTRY, images(), tmp_path / "first", samples=16, overrides=TINY)
    finetune(str(tmp_path / "first"), images(50), tmp_path / "second", samples=8)
    report = json.loads((tmp_path / "second" / "transfer.json").read_text())
    assert {entry["target"] for entry in report} == {"generator", "discriminator"}
    first, second = tmp_path / "first" / "samples" / "000000016.png", tmp_path / "second" / "samples" / "000000000.png"
    # The first grid of the second run shows the last of the first: the weights arrived.
    assert first.read_bytes() == second.read_bytes()


def test_a_finetuning_may_leave_out_the_losses_that_its_source_had_beside(tmp_path):
    beside = {"auxiliary": [{"method": "rotation", "weight": 1.0, "stride": 4}]}
    train(ENTRY, images(), tmp_path / "first", samples=8, overrides=yaml_files.merge(TINY, beside))
    for name, changes, groups in (("same", {}, 3), ("without", {"auxiliary": []}, 2)):
        finetune(str(tmp_path / "first"), images(50), tmp_path / name, samples=8, overrides=changes)
        assert len(json.loads((tmp_path / name / "transfer.json").read_text())) == groups


@pytest.mark.heavy
def test_a_run_killed_three_times_equals_an_unbroken_one(tmp_path):
    np.save(tmp_path / "data.npy", images())
    sets = ["model.generator_width=8", "model.discriminator_width=8", "training.snapshot_every=640"]
    command = [
        sys.executable,
        "-m",
        "ganzoo",
        "train",
        ENTRY,
        "--data",
        str(tmp_path / "data.npy"),
        "--samples",
        "16000",
    ]
    command += [part for value in sets for part in ("--set", value)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([*command, "--run", str(tmp_path / "whole")], check=True, env=environment, capture_output=True)
    draw = random.Random(0)
    kills = 0
    while kills < 3:
        process = subprocess.Popen(
            [*command, "--run", str(tmp_path / "killed")], env=environment, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 240
        target = len(list((tmp_path / "killed").glob("samples/0*.png"))) + 3
        while len(list((tmp_path / "killed").glob("samples/0*.png"))) < target and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 0.5))
        assert process.poll() is None, "the run ended before it was killed: give it more samples"
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    subprocess.run([*command, "--run", str(tmp_path / "killed")], check=True, env=environment, capture_output=True)
    from safetensors.numpy import load_file

    whole, killed = (load_file(tmp_path / run / "checkpoints" / "000016000.safetensors") for run in ("whole", "killed"))
    assert all(np.array_equal(whole[key], killed[key]) for key in whole if key != "run/seconds")
