"""Guards against collapse."""

import itertools
import json

import numpy as np
import pytest

from ganzoo.data.sample_set import SampleSet
from ganzoo.domains.image import small_features
from ganzoo.errors import RecipeError, TrainingError
from ganzoo.recipes import entries, yaml_files
from ganzoo.recipes.schema import Guards
from ganzoo.runs.callbacks import Clock
from ganzoo.runs.collapse_guard import LEAD, PATIENCE, Guard, measure, signs
from ganzoo.runs.train import train

ENTRY = "image/dcgan_32"
TINY = entries.get_entry(ENTRY).raw["tiny"]


def look(spread=1.0, coverage=0.8, lead=2.0, recall=0.5):
    return {"spread": spread, "coverage": coverage, "recall": recall, "lead": lead}


@pytest.mark.parametrize(
    ("now", "earlier", "expected"),
    [
        (look(), [look()], []),
        (look(spread=0.05), [], []),  # the beginning
        (look(spread=0.05), [look(spread=0.05)] * PATIENCE, ["spread"]),
        (look(spread=0.3), [look(spread=0.9)], ["spread"]),
        (look(spread=0.3), [look(spread=0.5)], []),
        (look(coverage=0.1), [look(coverage=0.5)], ["coverage"]),
        (look(coverage=0.05), [look(coverage=0.15)], []),
        (look(recall=0.2), [look(recall=0.5)], ["recall"]),
        (look(recall=0.05), [look(recall=0.15)], []),
        (look(lead=LEAD + 1), [look()], []),
        (look(lead=LEAD + 1), [look(lead=LEAD + 1)], ["lead"]),
        (look(lead=5.0, coverage=0.3), [look(lead=5.0, coverage=0.3)] * 9, ["lead"]),  # smaller, but it lasts
        (look(lead=5.0, coverage=0.3), [look(lead=5.0, coverage=0.3)] * 8, []),
        (
            look(lead=5.0, coverage=0.3),
            [look(lead=lead, coverage=0.3) for lead in [6.0] * 5 + [5.0] * 4],
            [],
        ),  # it falls
        (look(lead=5.0, coverage=0.3), [look(lead=lead, coverage=0.3) for lead in [3.0] * 5 + [4.0] * 4], []),
        (look(lead=5.0, coverage=0.6), [look(lead=5.0, coverage=0.6)] * 9, []),
        (look(lead=7.0, coverage=0.7), [look(lead=7.5, coverage=0.7)] * 9, ["lead"]),
        (look(lead=7.0, coverage=0.85), [look(lead=7.5, coverage=0.85)] * 9, []),
        (look(spread=0.1, coverage=0.0, lead=99.0), [look(lead=50.0)], ["spread", "coverage", "lead"]),
    ],
)
def test_signs(now, earlier, expected):
    assert signs(now, earlier) == expected


def test_a_run_that_begins_with_given_weights_is_looked_at_before_its_first_step(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    changes = yaml_files.merge(TINY, {"guards": {"every": 16}, "evaluation": {"every": 0}})
    train(ENTRY, images, tmp_path / "first", samples=32, overrides=changes)
    train(
        ENTRY,
        images,
        tmp_path / "next",
        samples=32,
        overrides=changes,
        init={"generator": f"{tmp_path}/first:generator"},
    )
    seen = {}
    for run in ("first", "next"):
        lines = [json.loads(line) for line in (tmp_path / run / "guards.jsonl").read_text().splitlines()]
        seen[run] = [line["samples"] for line in lines]
        assert all(line["lead"] is not None for line in lines if line["samples"])
    assert seen == {"first": [16, 32], "next": [0, 16, 32]}


def test_a_lead_that_is_unknown_is_no_sign():
    assert signs(look(lead=None), [look(lead=5.0, coverage=0.3)] * 20) == []
    assert signs({**look(lead=9.0), "coverage": None}, [look(lead=9.0)] * 20) == []


def test_measures_of_known_clouds():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 4)).astype("float32")
    same = measure(real, rng.normal(size=(300, 4)).astype("float32"))
    assert same["spread"] == pytest.approx(1.0, abs=0.1) and same["coverage"] > 0.9 and same["recall"] > 0.9
    half = measure(real, 0.5 * real)
    assert half["spread"] == pytest.approx(0.5, rel=1e-4)
    point = measure(real, np.zeros((300, 4), "float32"))
    assert point["spread"] == 0.0 and point["coverage"] < 0.2 and point["recall"] < 0.1


def test_small_features_are_the_means_of_cells():
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype("uint8")
    means = images.reshape(3, 8, 4, 8, 4, 3).mean(axis=(2, 4)) / 255
    np.testing.assert_allclose(small_features(images), means.reshape(3, -1), rtol=1e-5)
    assert small_features(images[:, :28, :28]).shape == (3, 192)
    np.testing.assert_allclose(small_features(images[:, :5, :6]), images[:, :5, :6].reshape(3, -1) / 255, rtol=1e-6)


def test_a_guard_warns_acts_and_a_resumed_run_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr("ganzoo.runs.collapse_guard.PATIENCE", 2)  # an untrained tiny generator's samples are alike
    data = np.random.default_rng(0).integers(0, 2, (40, 1, 1, 3)).astype("uint8") * np.full(
        (40, 32, 32, 3), 255, "uint8"
    )
    guards = {"every": 8, "samples": 20, "act": ["augment", "slow_discriminator"]}
    changes = {"guards": guards, "augment": {"policy": ["translation"], "probability": 0.2}}
    tiny = yaml_files.merge(TINY, changes)
    train(ENTRY, data, tmp_path / "whole", samples=64, overrides=tiny)
    train(ENTRY, data, tmp_path / "broken", samples=32, overrides=tiny)
    train(ENTRY, data, tmp_path / "broken", samples=64, overrides=tiny)
    looks = [json.loads(line) for line in (tmp_path / "whole/guards.jsonl").read_text().splitlines()]
    assert [one["samples"] for one in looks] == list(range(8, 65, 8))
    warned = [one["samples"] for one in looks if one["signs"]]
    assert warned and warned[0] == 24
    events = (tmp_path / "whole/events.jsonl").read_text()
    assert "The samples are alike" in events and "lowered the discriminator's learning rate to 0.0001" in events
    assert "raised the probability of augmentation to 0.30" in events
    from safetensors.numpy import load_file

    one, other = (load_file(tmp_path / run / "checkpoints/000000064.safetensors") for run in ("whole", "broken"))
    acts = [look["samples"] for look in looks if look.get("acted")]
    assert acts == [one for one in (24, 48) if one in warned]  # again after three looks, while the sign lasts
    assert float(one["augment_probability"]) == pytest.approx(0.2 + 0.1 * len(acts))
    assert all(np.array_equal(value, other[key]) for key, value in one.items() if key != "run/seconds")
    assert "checks, " in (tmp_path / "whole/report.html").read_text()


def test_acts_in_files_of_earlier_versions_are_known(tmp_path):
    lines = [look() | {"samples": 8 * n, "signs": ["lead"]} for n in range(1, 4)]
    lines[1]["mended"] = True
    (tmp_path / "guards.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    guard = Guard(tmp_path, Clock(0.0), Guards(every=8, samples=4), SampleSet(np.zeros((4, 32, 32, 3), np.uint8)))
    assert guard._looks_since_act() == 1


def test_a_guard_says_once_that_it_can_do_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr("ganzoo.runs.collapse_guard.signs", lambda look, earlier: ["lead"])
    monkeypatch.setattr("ganzoo.runs.collapse_guard._RESTS", 1)
    data = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    changes = {
        "guards": {"every": 8, "samples": 20, "act": ["augment"]},
        "augment": {"policy": ["cutout"], "probability": 0.75},
    }
    train(ENTRY, data, tmp_path, samples=48, overrides=yaml_files.merge(TINY, changes))
    texts = [json.loads(line)["text"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    acts = [text for text in texts if text.startswith("The guard")]
    assert [text.rpartition(" ")[2] for text in acts] == ["0.85.", "0.90.", "it."], acts


def test_a_guard_slows_the_discriminator_to_a_sixteenth(tmp_path, monkeypatch):
    monkeypatch.setattr("ganzoo.runs.collapse_guard.signs", lambda look, earlier: ["lead"])
    monkeypatch.setattr("ganzoo.runs.collapse_guard._RESTS", 1)
    data = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    changes = {"guards": {"every": 8, "samples": 20, "act": ["slow_discriminator"]}, "evaluation": {"every": 0}}
    train(ENTRY, data, tmp_path, samples=48, overrides=yaml_files.merge(TINY, changes))
    texts = [json.loads(line)["text"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    acts = [text for text in texts if text.startswith("The guard")]
    assert len(acts) == 5 and "can do no more" in acts[-1] and acts[-2].endswith("to 1.25e-05.")


def spreads_that(change, monkeypatch):
    """Let the spread of the samples change by a factor from look to look."""
    calls = itertools.count()
    told = {"coverage": 0.5, "recall": 0.5}
    monkeypatch.setattr(
        "ganzoo.runs.collapse_guard.measure", lambda real, fake: {"spread": change ** next(calls), **told}
    )


def test_a_resumed_run_goes_back_to_the_same_state(tmp_path, monkeypatch):
    """A state without a warning that came after the checkpoint must not hide the one before."""
    spreads_that(0.9, monkeypatch)
    monkeypatch.setattr(
        "ganzoo.runs.collapse_guard.signs", lambda look, earlier: ["spread"] if look["samples"] == 40 else []
    )
    data = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    changes = {"guards": {"every": 8, "samples": 20, "act": ["go_back"]}, "training": {"snapshot_every": 32}}
    tiny = yaml_files.merge(TINY, changes)
    for run in ("whole", "broken"):
        train(ENTRY, data, tmp_path / run, samples=56, overrides=tiny)
    (tmp_path / "broken/checkpoints/000000056.safetensors").unlink()  # as if killed after 48, where all was well again
    states = sorted(path.name for path in (tmp_path / "broken").glob("good-*"))
    assert states == [f"good-{seen:012d}.safetensors" for seen in (32, 56)]
    train(ENTRY, data, tmp_path / "broken", samples=56, overrides=tiny)
    from safetensors.numpy import load_file

    one, other = (load_file(tmp_path / run / "checkpoints/000000056.safetensors") for run in ("whole", "broken"))
    assert all(np.array_equal(value, other[key]) for key, value in one.items() if key != "run/seconds")
    assert (tmp_path / "broken/events.jsonl").read_text().count("went back") == 1


def test_acts_need_something_to_look_at(tiny, tmp_path):
    import tensorflow as tf

    with pytest.raises(RecipeError, match=r"guards\.every = 0"):
        tiny(ENTRY, guards={"act": ["slow_discriminator"], "every": 0})
    dataset = tf.data.Dataset.from_tensors(np.zeros((8, 32, 32, 3), "uint8")).repeat()
    changes = yaml_files.merge(TINY, {"guards": {"act": ["slow_discriminator"]}})
    with pytest.raises(TrainingError, match="a file or arrays, not a"):
        train(ENTRY, dataset, tmp_path / "run", samples=16, overrides=changes)


def test_what_happens_again_after_a_resume_is_told_once(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "ganzoo.runs.collapse_guard.signs", lambda look, earlier: ["lead"] if look["samples"] >= 24 else []
    )
    data = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    changes = {"guards": {"every": 8, "samples": 20}, "training": {"snapshot_every": 32}}
    tiny = yaml_files.merge(TINY, changes)
    train(ENTRY, data, tmp_path, samples=56, overrides=tiny)
    (tmp_path / "checkpoints/000000056.safetensors").unlink()  # as if killed after the warning at 24, or before 32
    (tmp_path / "checkpoints/000000032.safetensors").unlink()
    train(ENTRY, data, tmp_path, samples=56, overrides=tiny)
    texts = (tmp_path / "events.jsonl").read_text()
    assert texts.count("The discriminator leads") == 1


def test_the_lead_is_the_mean_since_the_last_look(tmp_path):
    data = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    changes = {"guards": {"every": 32, "samples": 20}, "training": {"log_every": 8, "snapshot_every": 32}}
    train(ENTRY, data, tmp_path, samples=64, overrides=yaml_files.merge(TINY, changes))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    leads = [line["real_logits"] - line["fake_logits"] for line in lines]
    looks = [json.loads(line) for line in (tmp_path / "guards.jsonl").read_text().splitlines()]
    assert [one["lead"] for one in looks] == pytest.approx([np.mean(leads[:4]), np.mean(leads[4:])])


def test_acts_without_effect_are_refused(tiny):
    for changes in ({"policy": []}, {"policy": ["cutout"], "probability": 1.0}):
        with pytest.raises(RecipeError, match=r"'augment' raises augment\.probability"):
            tiny(ENTRY, guards={"act": ["augment"]}, augment=changes)


@pytest.mark.parametrize(("sign", "change"), [("spread", 0.9), ("spread", 1.1), ("lead", 0.9)])
def test_a_guard_goes_back_to_what_was_better(sign, change, tmp_path, monkeypatch):
    """Not where the discriminator only leads, nor to a young run whose samples were still more alike."""
    back = sign == "spread" and change < 1
    spreads_that(change, monkeypatch)
    monkeypatch.setattr("ganzoo.runs.collapse_guard.signs", lambda look, earlier: [sign] if len(earlier) == 3 else [])
    data = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    tiny = yaml_files.merge(
        TINY, {"guards": {"every": 8, "samples": 20, "act": ["go_back"]}, "training": {"snapshot_every": 8}}
    )
    train(ENTRY, data, tmp_path, samples=32, overrides=tiny)
    from safetensors.numpy import load_file

    before, after = (load_file(tmp_path / f"checkpoints/0000000{n}.safetensors") for n in (24, 32))
    assert int(after["samples_seen"]) == 32
    keys = [key for key in before if key.startswith(("generator/", "discriminator/"))]
    assert all(np.array_equal(before[key], after[key]) for key in keys) == back
    events = tmp_path / "events.jsonl"
    assert ("went back to the last state without a warning, that of 24 samples" in events.read_text()) == back
