"""What `evaluate` takes, which classes it compares, and that one feature network serves all commands."""

import json
import logging

import numpy as np
import pytest

import ganzoo
from ganzoo import presets, recipe_files
from ganzoo.cache import cache_dir
from ganzoo.data import SampleSet
from ganzoo.errors import EvaluationError
from ganzoo.export import export_generator
from ganzoo.registry import get_entry
from ganzoo.runs.class_names import generated_classes, labels_for

TINY = get_entry("image/dcgan_32").raw["tiny"]
CONDITIONAL = get_entry("image/wgan_gp_32").raw["tiny"]  # 3 classes


def images(count, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3)).astype("uint8")
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def labelled(*names):
    labels = np.arange(9, dtype=np.int32) % len(names)
    return SampleSet(images(9), labels, names)


@pytest.fixture
def trained(tmp_path):
    """A GAN with classes and the folder of the run that it comes from."""
    gan = ganzoo.create("image/wgan_gp_32", **recipe_files.merge(CONDITIONAL, {"evaluation": {"networks": []}}))
    gan.recipe = gan.recipe.model_copy(update={"weights": None})
    (tmp_path / "data.json").write_text(json.dumps({"class_counts": {"cat": 4, "dog": 5, "owl": 6}}))
    return gan, tmp_path


def test_classes_are_matched_by_name_not_by_number(trained, caplog):
    gan, run = trained
    assert generated_classes(gan, run) == ("cat", "dog", "owl") == generated_classes(gan, run / "best")
    assert generated_classes(gan) == ()
    np.testing.assert_array_equal(labels_for(gan, labelled("owl", "cat", "dog"), run), [2, 0, 1] * 3)
    assert not caplog.text
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(labels_for(gan, labelled("owl", "dog"), run)[:2], [2, 1])
    assert "lack 1 of the generator's 3 classes: 'cat'" in caplog.text


def test_classes_that_the_generator_does_not_make_are_refused(trained):
    gan, run = trained
    with pytest.raises(EvaluationError, match=r"Expected: 'cat', 'dog', 'owl'. .* does not make 'bird'"):
        labels_for(gan, labelled("bird", "cat", "dog"), run)
    with pytest.raises(EvaluationError, match=r"Expected: 3 classes, 'cat', 'dog', 'owl'. Received: 2 classes, '0'"):
        labels_for(gan, labelled("0", "1"), run)
    with pytest.raises(EvaluationError, match=r"Expected: 3 classes \(their names are not known\). Received: 2"):
        labels_for(gan, labelled("cat", "dog"))


def test_unknown_names_are_matched_by_order_with_a_warning(trained, caplog):
    gan, run = trained
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(labels_for(gan, labelled("a", "b", "c")), [0, 1, 2] * 3)
        np.testing.assert_array_equal(labels_for(gan, labelled("0", "1", "2"), run), [0, 1, 2] * 3)
        assert labels_for(gan, SampleSet(images(9)), run) is None
    assert (
        "classes of the generator are not known" in caplog.text and "classes of the data are not known" in caplog.text
    )
    assert "each of the generator's 3 classes is generated equally often" in caplog.text
    assert labels_for(ganzoo.create("image/dcgan_32", **TINY), labelled("a", "b")) is None


def test_published_weights_know_the_names_of_their_classes():
    assert generated_classes(presets.load("image/wgan_gp_32")) == tuple("0123456789")


def test_a_gan_object_is_scored_as_its_run_is(trained):
    gan, _ = trained
    card = ganzoo.evaluate(gan, (images(60), np.arange(60) % 3), samples=20)
    assert card.protocol["samples"] == 20 and card.protocol["reals"] == 60 and not card.networks
    with pytest.raises(EvaluationError, match=r"Expected: a GAN, .* Received: ndarray"):
        ganzoo.evaluate(images(3), images(60))
    with pytest.raises(EvaluationError, match="their names are not known"):
        ganzoo.evaluate(gan, (images(60), np.arange(60) % 2))


@pytest.mark.heavy
def test_the_feature_network_is_fitted_once_for_all_commands(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    np.save(tmp_path / "data.npy", images(80))
    data, run = str(tmp_path / "data.npy"), tmp_path / "run"
    changes = {"evaluation": {"check_networks": ["self_supervised"], "networks": ["self_supervised"]}}
    ganzoo.train("image/dcgan_32", data, run, samples=16, overrides=recipe_files.merge(TINY, changes))
    fitted = list(cache_dir("networks").iterdir())
    cards = [ganzoo.evaluate(str(run), data, seed=seed) for seed in (0, 1)]
    ganzoo.evaluate(presets.load(str(run)), data)
    export_generator(str(run), tmp_path / "out", ["tflite"], ["float16"])
    assert len(fitted) == 1 and list(cache_dir("networks").iterdir()) == fitted
    versions = {card.protocol["networks"]["self_supervised"]["version"] for card in cards}
    assert len(versions) == 1 and cards[0].networks[0].scores != cards[1].networks[0].scores
