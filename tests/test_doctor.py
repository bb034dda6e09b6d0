"""What the doctor finds in images, and what it recommends."""

import signal

import numpy as np
import pytest

from ganzoo.commands.doctor import check_installation, equal_neighbours, examine, mirror_ratio, recommend
from ganzoo.commands.texts import diagnosis as text
from ganzoo.data.images.duplicates import twins
from ganzoo.errors import DataError, Interrupted, WeightsError
from ganzoo.recipes import entries
from ganzoo.runs import callbacks
from ganzoo.weights import preset_files
from ganzoo.zoo.create import create as create_gan

ENTRY = "image/dcgan_32"


@pytest.fixture(scope="module")
def noise():
    small = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3)).astype("uint8")
    return small.repeat(8, axis=1).repeat(8, axis=2)


def test_duplicates_are_counted(noise):
    assert twins(noise) == []
    close = np.clip(noise[:10].astype(int) + np.random.default_rng(1).integers(-3, 4, (10, 64, 64, 3)), 0, 255)
    groups = twins(np.concatenate([noise, noise[:5], close.astype("uint8")]))
    assert sum(len(group) - 1 for group in groups) == 15
    found = examine(
        np.concatenate([noise, noise[:5], close.astype("uint8"), np.full((2, 64, 64, 3), 9, "uint8")]), trial=0
    )
    assert (found["exact_duplicates"], found["near_empty"], found["count"]) == (6, 2, 77)
    assert any("Leave out the duplicates" in reason for reason in found["reasons"])


def test_equal_neighbours_by_hand():
    image = np.zeros((1, 2, 4, 3), "uint8")
    image[0, 0, :, 1] = [1, 1, 2, 2]  # two of three neighbours equal; in the other row all
    assert equal_neighbours(image) == pytest.approx(5 / 6)


def test_a_flip_is_told_from_a_harm():
    # Bright to the left in all images: no mirror image is like any of them.
    gradient = np.linspace(255, 0, 64)[None, None, :, None] * np.ones((50, 64, 1, 3))
    noise = np.random.default_rng(0).uniform(0, 30, (50, 64, 64, 3))
    one_sided = np.clip(gradient + noise, 0, 255).astype("uint8")
    assert mirror_ratio(one_sided) > 2
    assert mirror_ratio(np.concatenate([one_sided, one_sided[:, :, ::-1]])) < 1.1


def probed(*losses):
    names = ("efficientnet_lite0", "efficientnet_lite2")
    return {name: {"accuracy": 1.0, "log_loss": loss} for name, loss in zip(names, losses, strict=True)}


PHOTOGRAPHS = {"kind": "photographs"}
SMALL = {"count": 1_000, "median_side": 28}


@pytest.mark.parametrize(
    ("facts", "parts"),
    [
        ({"count": 100}, ["finetune image/projected_mobile_64", "--how freeze_d", "[translation, cutout]"]),
        ({"count": 100, "kind": "photographs"}, ["[colour, translation, cutout]"]),
        ({"count": 9_000}, ["finetune image/projected_mobile_64", "--minutes 30"]),
        (
            {"count": 9_000, "kind": "photographs"},
            ["ganzoo train image/projected_mobile_64", "--minutes 30"],
        ),
        ({"count": 200, "median_side": 28, "classes": {"a": 80, "b": 90}}, ["finetune image/dcgan_32"]),
        ({"count": 200, "median_side": 28}, ["--minutes 10 --set"]),  # and not --how freeze_d
        (PHOTOGRAPHS | {"probe": probed(0.2, 0.1)}, ["model.backbone=efficientnet_lite2"]),
        (PHOTOGRAPHS | {"probe": probed(0.1, 0.09)}, ["ganzoo train"]),
        (PHOTOGRAPHS | {"probe": probed(0.1, 0.2)}, ["ganzoo train"]),
        ({"probe": probed(0.2, 0.1)}, ["finetune"]),
        ({"count": 9_000, "median_side": 28}, ["ganzoo train image/dcgan_32"]),
        # 300,000 samples are this recipe's: 10 minutes, of which a tenth
        (SMALL | {"samples_per_second": 500.0}, ["pretrain variational --for image/dcgan_32", "--minutes 1 "]),
        (
            SMALL | {"samples_per_second": 500.0, "probe": probed(0.2, 0.1)},
            ["pretrain variational", "--init generator="],
        ),
        (SMALL | {"samples_per_second": 100.0}, ["ganzoo train image/dcgan_32", "--minutes 50"]),
        (
            {"median_side": 28, "classes": {"a": 80, "b": 90}},
            ["ganzoo finetune image/wgan_gp_32", "--set model.classes=null"],
        ),
        ({"median_side": 28, "classes": dict.fromkeys("abcdefghij", 90)}, ["ganzoo finetune image/wgan_gp_32"]),
        ({"median_side": 28, "classes": {"a": 80, "b": 9}}, ["ganzoo train image/dcgan_32"]),
        ({"mirrored": True}, ["--set data.flip=true"]),
        # 200,000 samples are the recipe's: 200,000 / 50 = 4,000 s
        (PHOTOGRAPHS | {"samples_per_second": 50.0}, ["--run runs/mine --minutes 67"]),
        ({"count": 100, "samples_per_second": 50.0}, ["--run runs/mine --minutes 10"]),
    ],
)
def test_recommendations(facts, parts):
    plain = {
        "count": 5_000, "median_side": 64, "classes": {}, "exact_duplicates": 0, "near_duplicates": 0, "near_empty": 0,
        "mirrored": False, "kind": "drawings", "probe": {},
    }  # fmt: skip
    found = recommend(plain | facts, "images")
    assert all(part in found["command"] for part in parts)
    assert "--data images" in found["command"] and any(reason.startswith("At ") for reason in found["reasons"])
    assert ("ganzoo pretrain" in found["command"]) == any("pretrain" in part for part in parts)
    assert ("model.backbone" in found["command"]) == any("model.backbone" in part for part in parts)
    unused = len((plain | facts)["classes"]) > 1 and "image/wgan_gp_32" not in found["command"]
    assert any("classes are not used" in reason for reason in found["reasons"]) == unused


@pytest.mark.heavy
def test_a_probe_tells_fakes_from_reals(tmp_path, noise, monkeypatch):
    from ganzoo import backbones

    gan = create_gan(ENTRY, **entries.get_entry(ENTRY).raw["tiny"])
    preset_files.save(gan, tmp_path)
    create, another = backbones.create, "keras_cv/mobilenet_v3_small"  # whose weights are on the network alone
    monkeypatch.setattr(
        backbones,
        "create",
        lambda name, *a, **k: create(name, *a, **k, **({"weights": None} if name == another else {})),
    )
    found = examine(noise, str(tmp_path), trial=0, also=[another])
    assert found["probe"]["efficientnet_lite0"]["accuracy"] > 0.95 and another in found["probe"]
    assert f"{found['entry']}, 64 x 64 pixels" in text(found) and found["resolution"] == 64
    with pytest.raises(WeightsError, match="keras_cv/mobilenet_v3_smal"):
        examine(noise, str(tmp_path), trial=0, also=["keras_cv/mobilenet_v3_smal"])


@pytest.mark.heavy
def test_an_interrupted_trial_does_not_promise_a_state_that_is_deleted(noise, monkeypatch, caplog):
    caplog.set_level("INFO", "ganzoo")
    original = callbacks.Limits.on_train_batch_end

    def signalled(self, batch, logs=None):
        original(self, batch, logs)
        if self.model.step_count == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(callbacks.Limits, "on_train_batch_end", signalled)
    with pytest.raises(Interrupted, match="during the trial training, of which nothing is kept"):
        examine(noise[:, ::2, ::2], trial=30)
    assert "SIGINT" in caplog.text and "saved" not in caplog.text and "written" not in caplog.text


@pytest.mark.heavy
def test_a_trial_measures_speed_and_backbones(noise):
    found = examine(noise[:, ::2, ::2], trial=0.5)
    assert found["entry"] == ENTRY and found["samples_per_second"] > 0
    assert found["probe"]["efficientnet_lite0"]["accuracy"] > 0.95
    assert any("samples a second" in reason for reason in found["reasons"])


def test_a_part_of_the_data_is_examined_and_recommended(noise, tmp_path):
    np.savez(tmp_path / "parts.npz", train_images=noise[:40, ::2, ::2], val_images=noise[40:, ::2, ::2])
    found = examine(str(tmp_path / "parts.npz"), trial=0, split="val")
    assert found["count"] == 20 and found["command"].endswith(" --set data.split=val")
    plain = examine(str(tmp_path / "parts.npz"), trial=0)
    assert plain["count"] == 40 and "data.split" not in plain["command"]
    with pytest.raises(DataError, match="no images of the part 'test'"):
        examine(str(tmp_path / "parts.npz"), trial=0, split="test")


@pytest.mark.heavy
def test_the_shortest_trial_has_a_speed(noise):
    found = examine(noise[:40, ::2, ::2], trial=0.01)  # less than a tenth of a second of training
    assert found["samples_per_second"] > 0


def test_the_installation_is_reported():
    found = check_installation()
    assert found["backbone_weights"]["efficientnet_lite0"] and found["versions"]["tensorflow"]
    assert "Ready." in text(found) and "efficientnet_lite0" in text(found)
    assert max(len(line) for line in text({**found, "missing": []}).splitlines()) <= 80


def test_a_long_command_is_broken_so_that_it_can_be_copied():
    import shlex

    from ganzoo.commands.texts import _broken

    command = "ganzoo finetune image/projected_mobile_64 --data 'my images' --run runs/mine --minutes 10 " + (
        '--how freeze_d --set "augment.policy=[translation, cutout]" --set data.flip=true'
    )
    text = _broken(command)
    assert max(map(len, text.splitlines())) <= 80
    assert shlex.split(text.replace("\\\n", "")) == shlex.split(command)
