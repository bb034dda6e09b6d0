"""What `evaluate` takes, which classes it compares, and that one feature network serves all commands."""

import json
import logging
import shutil

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import ganzoo
from ganzoo.cli import main
from ganzoo.data.sample_set import SampleSet
from ganzoo.errors import DataError, EvaluationError
from ganzoo.export import export_generator, quality
from ganzoo.files.cache import cache_dir
from ganzoo.recipes import entries, yaml_files
from ganzoo.recipes.entries import get_entry
from ganzoo.runs.class_names import generated_classes, labels_for
from ganzoo.runs.evaluate import read_reals, with_control
from ganzoo.weights import preset_files
from ganzoo.zoo.load import class_names, load

TINY = get_entry("image/dcgan_32").raw["tiny"]
CONDITIONAL = get_entry("image/wgan_gp_32").raw["tiny"]  # 3 classes


def images(count, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3)).astype("uint8")
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def labelled(*names):
    labels = np.arange(9, dtype=np.int32) % len(names)
    return SampleSet(images(9), labels, names)


@pytest.fixture(scope="module")
def gan():
    made = ganzoo.create("image/wgan_gp_32", **yaml_files.merge(CONDITIONAL, {"evaluation": {"networks": []}}))
    made.recipe = made.recipe.model_copy(update={"weights": None})
    return made


@pytest.fixture
def named(gan, monkeypatch):
    """A GAN that knows the names of its classes."""
    monkeypatch.setattr(gan, "class_names", ("cat", "dog", "owl"))
    return gan


def test_classes_are_matched_by_name_not_by_number(named, caplog):
    np.testing.assert_array_equal(labels_for(named, labelled("owl", "cat", "dog")), [2, 0, 1] * 3)
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(labels_for(named, labelled("owl", "dog"))[:2], [2, 1])
    assert "lack 1 of the generator's 3 classes: 'cat'" in caplog.text


def test_classes_that_the_generator_does_not_make_are_refused(gan, named, monkeypatch):
    with pytest.raises(EvaluationError, match=r"Expected: 'cat', 'dog', 'owl'. .* does not make 'bird'"):
        labels_for(named, labelled("bird", "cat", "dog"))
    with pytest.raises(EvaluationError, match=r"Expected: 3 classes, 'cat', 'dog', 'owl'. Received: 2 classes, '0'"):
        labels_for(named, labelled("0", "1"))
    monkeypatch.setattr(gan, "class_names", ())
    with pytest.raises(EvaluationError, match=r"Expected: 3 classes \(their names are not known\). Received: 2"):
        labels_for(gan, labelled("cat", "dog"))


@pytest.mark.parametrize("own", [(), ("0", "1", "2")])
def test_a_generator_of_arrays_has_no_names(gan, own, monkeypatch, caplog):
    monkeypatch.setattr(gan, "class_names", own)
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(labels_for(gan, labelled("cat", "dog", "owl")), [0, 1, 2] * 3)
    assert "classes of the generator are not known: the generator's 3 classes are matched" in caplog.text
    with pytest.raises(EvaluationError, match=r"Expected: 3 classes \(their names are not known\). Received: 2"):
        labels_for(gan, labelled("cat", "dog"))


def test_unknown_names_of_the_data_are_matched_by_order_with_a_warning(named, caplog):
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(labels_for(named, labelled("0", "1", "2")), [0, 1, 2] * 3)
        assert labels_for(named, SampleSet(images(9))) is None
    assert "classes of the data are not known: the generator's 3 classes, 'cat', 'dog', 'owl'," in caplog.text
    assert "each of the generator's 3 classes is generated equally often" in caplog.text
    assert labels_for(ganzoo.create("image/dcgan_32", **TINY), labelled("a", "b")) is None


def test_some_digits_are_matched_with_the_digits_of_the_generator(gan, monkeypatch, caplog):
    monkeypatch.setattr(gan, "class_names", ("0", "1", "2"))
    np.testing.assert_array_equal(labels_for(gan, labelled("0", "1")), [0, 1, 0, 1, 0, 1, 0, 1, 0])
    assert "lack 1 of the generator's 3 classes: '2'" in caplog.text


def test_published_weights_know_the_names_of_their_classes():
    loaded = load("image/wgan_gp_32")
    assert generated_classes(loaded) == loaded.class_names == tuple("0123456789")


def test_a_loaded_gan_knows_the_names_of_its_classes_and_copies_of_its_preset_do(gan, named, tmp_path, monkeypatch):
    run = tmp_path / "run"
    preset_files.save(gan, run / "preset")
    preset_files.save(gan, tmp_path / "copy")
    monkeypatch.setattr(gan, "class_names", ())
    preset_files.save(gan, run / "best")  # as earlier versions wrote it
    (run / "data.json").write_text(json.dumps({"class_counts": {"cat": 4, "dog": 5, "yak": 6}}))
    names = {where: load(str(tmp_path / where)).class_names for where in ("run", "copy", "run/best")}
    assert names["run"] == names["copy"] == ("cat", "dog", "owl") and names["run/best"] == ("cat", "dog", "yak")
    saved = tmp_path / "gan.keras"
    loaded = load(str(tmp_path / "copy"))
    loaded.save(saved)
    assert keras.saving.load_model(saved).class_names == generated_classes(loaded) == ("cat", "dog", "owl")


def test_the_names_of_a_teacher_are_those_of_what_learned_from_it_alone(gan, named, tmp_path, monkeypatch):
    preset_files.save(gan, tmp_path / "teacher" / "preset")
    monkeypatch.setattr(gan, "class_names", ())
    taught = {"teacher": str(tmp_path / "teacher"), "alone": True}
    recipe = entries.get_entry("image/wgan_gp_32").recipe(**yaml_files.merge(CONDITIONAL, {"distillation": taught}))
    monkeypatch.setattr(gan, "recipe", recipe.model_copy(update={"weights": None}))
    preset_files.save(gan, tmp_path / "run" / "preset")
    (tmp_path / "run" / "data.json").write_text(json.dumps({"class_counts": {"0": 4, "1": 5, "2": 6}}))
    assert class_names(gan, tmp_path / "run") == ("cat", "dog", "owl")
    shutil.rmtree(tmp_path / "teacher")
    assert class_names(gan, tmp_path / "run") == ("0", "1", "2")


def test_names_in_a_preset_are_safe_to_print(gan, tmp_path, monkeypatch):
    monkeypatch.setattr(gan, "class_names", ("a\x1b[2J", "b", "b"))
    preset_files.save(gan, tmp_path)
    assert class_names(gan, tmp_path) == ("a\\x1b[2J", "b", "b (2)")
    monkeypatch.setattr(gan, "class_names", ("one", "too few"))
    preset_files.save(gan, tmp_path)
    assert class_names(gan, tmp_path) == ()


def test_a_gan_object_is_scored_as_its_run_is(gan):
    card = ganzoo.evaluate(gan, (images(60), np.arange(60) % 3), samples=20)
    assert card.protocol["samples"] == 20 and card.protocol["reals"] == 60 and not card.networks
    with pytest.raises(EvaluationError, match=r"Expected: a GAN, .* Received: ndarray"):
        ganzoo.evaluate(images(3), images(60))
    with pytest.raises(EvaluationError, match="their names are not known"):
        ganzoo.evaluate(gan, (images(60), np.arange(60) % 2))


def test_evaluate_and_export_read_the_part_that_is_asked_for(gan, tmp_path):
    data = tmp_path / "parts.npz"
    np.savez(
        data,
        train_images=images(60),
        train_labels=np.arange(60) % 3,
        test_images=images(40),
        test_labels=np.arange(40) % 3,
    )
    assert [len(read_reals(gan, str(data), split)) for split in (None, "test", "all")] == [60, 40, 100]
    with pytest.raises(DataError, match="Unknown split 'tset'"):
        read_reals(gan, str(data), "tset")
    card = ganzoo.evaluate(gan, str(data), samples=20, split="test")
    assert card.protocol["reals"] == 40
    assert len(quality.find_reals(gan, None, str(data), "test").images) == 40
    for name in ("evaluate", "export", "doctor"):
        assert any("--split" in option.opts for option in main.commands[name].params)
    preset_files.save(gan, tmp_path / "preset")
    arguments = [str(tmp_path / "preset"), "--data", str(data), "--split", "val"]
    for command in (["evaluate", *arguments], ["export", *arguments, "--out", str(tmp_path / "out")]):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 1 and "no images of the part 'val'" in result.output


def test_the_control_is_beside_the_fitted_network():
    assert with_control(("self_supervised", "squeezenet")) == ("self_supervised", "random", "squeezenet")
    assert with_control(("squeezenet",)) == ("squeezenet",) and with_control(()) == ()
    assert with_control(("random", "self_supervised")) == ("self_supervised", "random")


@pytest.mark.heavy
def test_the_feature_network_is_fitted_once_for_all_commands(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    np.save(tmp_path / "data.npy", images(80))
    data, run = str(tmp_path / "data.npy"), tmp_path / "run"
    changes = {"evaluation": {"check_networks": ["self_supervised"], "networks": ["self_supervised"]}}
    ganzoo.train("image/dcgan_32", data, run, samples=16, overrides=yaml_files.merge(TINY, changes))
    fitted = list(cache_dir("networks").iterdir())
    cards = [ganzoo.evaluate(str(run), data, seed=seed, fits=1) for seed in (0, 1)]
    ganzoo.evaluate(load(str(run)), data, fits=1)
    export_generator(str(run), tmp_path / "out", ["tflite"], ["float16"])
    assert len(fitted) == 1 and list(cache_dir("networks").iterdir()) == fitted
    versions = {card.protocol["networks"]["self_supervised"]["version"] for card in cards}
    assert len(versions) == 1 and cards[0].networks[0].scores != cards[1].networks[0].scores
    assert [network.name for network in cards[0].networks] == ["self_supervised", "random"]
    several = ganzoo.evaluate(str(run), data)
    assert len(list(cache_dir("networks").iterdir())) == 3 == len(several.networks[0].fits)
    assert several.networks[0].fits[0].scores == cards[0].networks[0].scores


@pytest.mark.heavy
def test_a_run_keeps_the_names_of_its_classes_in_its_presets(tmp_path):
    for number, name in enumerate(("cat", "dog", "owl")):
        (tmp_path / "data" / name).mkdir(parents=True)
        for index, image in enumerate(images(20, seed=number)):
            Image.fromarray(image).save(tmp_path / "data" / name / f"{index}.png")
    off = yaml_files.merge(CONDITIONAL, {"evaluation": {"networks": [], "every": 0}})
    arrays = (images(60), np.arange(60) % 3)
    for run, data in (("named", str(tmp_path / "data")), ("numbered", arrays)):
        ganzoo.train("image/wgan_gp_32", data, tmp_path / run, samples=16, overrides=off)
        shutil.copytree(tmp_path / run / "preset", tmp_path / f"{run} copy")
        assert ganzoo.evaluate(str(tmp_path / run), str(tmp_path / "data"), samples=20).protocol["samples"] == 20
    assert ganzoo.load(str(tmp_path / "named copy")).class_names == ("cat", "dog", "owl")
    with pytest.raises(EvaluationError, match=r"Expected: 'cat', 'dog', 'owl'.*does not make 'yak'"):
        labels_for(ganzoo.load(str(tmp_path / "named copy")), labelled("cat", "dog", "yak"))
