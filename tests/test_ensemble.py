"""ImageNet networks in the discriminator: as its trunk, or joining it while it trains."""

import json
import re

import keras
import numpy as np
import pytest

from ganzoo import backbones
from ganzoo.backbones import libraries
from ganzoo.backbones.catalogue import LITE_SIDES
from ganzoo.backbones.features import cross_validated, probe
from ganzoo.discriminators.ensemble import NEVER
from ganzoo.errors import DataError, GanzooError, RecipeError, WeightsError
from ganzoo.recipes import entries, yaml_files
from ganzoo.runs.train import train
from ganzoo.weights import preset_files
from ganzoo.weights.variables import named_variables
from ganzoo.zoo.create import create
from ganzoo.zoo.load import load
from ganzoo.zoo.transfer import transfer

ENTRY = "image/projected_mobile_64"
PLAIN = {
    "model": {"projected_weight": 0.0, "matching_weight": 0.0, "backbone_weights": "random", "ensemble_levels": [4, 8]},
    "training": {"snapshot_every": 24},
}
ENSEMBLE = {
    "model": {
        "ensemble": ["efficientnet_lite0", "keras_cv/mobilenet_v3_small"],
        "ensemble_from": 16,
        "ensemble_most": 1,
    }
}


def tiny_recipe(*changes):
    tree = entries.get_entry(ENTRY).raw["tiny"]
    for change in (PLAIN, *changes):
        tree = yaml_files.merge(tree, change)
    return tree


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3)).astype("uint8")


@pytest.mark.heavy
def test_the_most_telling_network_joins_and_only_that_is_trained(tmp_path, images, caplog):
    recipe = tiny_recipe(ENSEMBLE)
    train(ENTRY, images, tmp_path / "whole", samples=32, overrides=recipe)
    assert "will join" not in caplog.text
    events = [json.loads(line) for line in (tmp_path / "whole/events.jsonl").read_text().splitlines()]
    joins = [event for event in events if "joins the discriminator" in event["text"]]
    assert [event["samples"] for event in joins] == [16]
    told = {name: float(loss) for name, loss in re.findall(r"(\S+) [\d.]+%, log loss ([\d.e+-]+)", joins[0]["text"])}
    assert set(told) == set(ENSEMBLE["model"]["ensemble"])
    joined = joins[0]["text"].split()[0]
    assert told[joined] == min(told.values())
    keras.utils.set_random_seed(0)
    untrained = {
        f"discriminator/{name}": np.array(variable)
        for name, variable in named_variables(create(str(tmp_path / "whole")).discriminator).items()
    }
    whole = preset_files.read_weights(str(tmp_path / "whole"))
    for index, name in enumerate(ENSEMBLE["model"]["ensemble"]):
        heads = [key for key in untrained if key.startswith(f"discriminator/head_ensemble_{index}_")]
        changed = [not np.array_equal(untrained[key], whole[key]) for key in heads]
        assert all(changed) if name == joined else not any(changed)
    # A run that was cut off after the joining ends with the same weights.
    train(ENTRY, images, tmp_path / "cut", samples=24, overrides=recipe)
    train(ENTRY, images, tmp_path / "cut", samples=32)
    resumed = preset_files.read_weights(str(tmp_path / "cut"))
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)


def test_a_network_that_has_not_joined_does_not_lower_the_lead():
    import tensorflow as tf

    alone, beside = (create(ENTRY, **tiny_recipe(*change)) for change in ((), (ENSEMBLE,)))
    logits = [tf.constant([[2.0], [4.0]])]
    assert alone._mean_of_heads(logits).numpy() == pytest.approx([2.0, 4.0])
    idle = [tf.zeros((2, 4, 4, 1))] * (len(beside.head_weights()) - 1)
    assert len(idle) == 4 and beside._mean_of_heads(logits + idle).numpy() == pytest.approx([2.0, 4.0])
    beside.ensemble.join("efficientnet_lite0", 0)
    assert beside._mean_of_heads(logits + idle).numpy() == pytest.approx([1.0, 2.0])


def test_the_heads_of_a_network_begin_with_a_first_step_when_it_joins(tiny, reals):
    gan = create(ENTRY, **tiny_recipe({"model": {"ensemble": ["efficientnet_lite0"]}}))
    gan.compile()
    gan._can_join = True
    gan.fit(reals(gan, 2).repeat(8), verbose=0)
    gan.ensemble.join("efficientnet_lite0", gan.sample_count)
    before = gan.state()
    gan.fit(reals(gan, 1), verbose=0)
    after, rate = gan.state(), gan.recipe.optimizers["discriminator"].learning_rate
    heads = [key for key in before if key.startswith("discriminator/head_ensemble_0_") and key.endswith("kernel")]
    moved = [np.abs(after[key] - before[key]).mean() / rate for key in heads]
    assert len(moved) >= 4 and np.mean(moved) == pytest.approx(1.0, rel=0.25)


def test_the_probes_regression_is_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    kinds = np.repeat([1.0, 0.0], [53, 41])
    features = random.normal(size=(94, 200)).astype("float32") * random.uniform(0.01, 9, 200).astype("float32")
    features[:, 0] += 2 * kinds * features[:, 0].std()
    features[:, 1] = 3.0  # a dead channel
    theirs = make_pipeline(StandardScaler(), linear_model.LogisticRegression(C=0.01, max_iter=2_000, tol=1e-8))
    wanted = cross_val_predict(theirs, features, kinds, cv=5, method="predict_proba")[:, 1]
    np.testing.assert_allclose(cross_validated(features, kinds), wanted, atol=1e-3)


def test_the_probe_finds_what_differs_and_nothing_where_nothing_does(images):
    network = backbones.create("efficientnet_lite0", (16, 16, 3), levels=(8, 16), input_size=64)
    other = np.random.default_rng(1).integers(0, 256, images.shape).astype("uint8")
    sure, blind = probe(network, images, other // 4), probe(network, images, other)
    assert sure.accuracy > 0.95 and blind.accuracy < 0.75
    assert sure.log_loss < 0.3 < 0.6 < blind.log_loss
    with pytest.raises(DataError, match="20 images of each kind"):
        probe(network, images[:5], other)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_networks_that_have_not_joined_count_for_nothing(tiny, precision):
    import tensorflow as tf

    gan = tiny(ENTRY, **yaml_files.merge(PLAIN, ENSEMBLE), **{"training.precision": precision})
    images = tf.constant(np.random.default_rng(0).uniform(-1, 1, (4, 16, 16, 3)).astype("float32"))
    seen = gan.observe(images, {})
    assert (
        np.all(seen["ensemble_0_4"].numpy() == 0)
        and seen["ensemble_0_4"].shape[1:] == gan.ensemble.members[0].shapes[4]
    )
    assert [float(w) for w in gan.head_weights()] == [1.0, *[0.0] * 4]
    gan.ensemble.join("keras_cv/mobilenet_v3_small", 0)
    seen = tf.function(gan.observe)(images, {})["ensemble_1_4"]
    np.testing.assert_allclose(seen, tf.cast(gan.ensemble.members[1].maps(images)[4], tf.float32), rtol=1e-3, atol=1e-3)
    assert [float(w) for w in gan.head_weights()] == [1.0, 0.0, 0.0, 0.5, 0.5]
    assert np.array_equal(np.array(gan.joined), [NEVER, 0])
    assert list(gan.ensemble.candidates()) == ["efficientnet_lite0"] and not gan.ensemble.due(10**9)


@pytest.mark.parametrize(
    "share", [pytest.param(None, marks=pytest.mark.heavy), 0.5, pytest.param(1.0, marks=pytest.mark.heavy)]
)
def test_a_trunk_of_imagenet_is_trained_wholly_partly_or_not(tmp_path, images, share):
    freeze = [] if share is None else [{"part": "discriminator.trunk", "share": share}]
    model = {"trunk": "efficientnet_lite0", "backbone_weights": "default"}
    recipe = tiny_recipe({"model": model, "freeze": freeze})
    train(ENTRY, images, tmp_path / "run", samples=16, overrides=recipe)
    trained = preset_files.read_weights(str(tmp_path / "run"))
    trunk = {name: array for name, array in trained.items() if name.startswith("discriminator/trunk/")}
    source = create(ENTRY, **recipe)
    kept = [
        np.array_equal(trunk[f"discriminator/trunk/{name}"], variable)
        for name, variable in named_variables(source.part("discriminator.trunk")).items()
    ]
    assert sum(kept) == len(kept) if share == 1.0 else 0 < sum(kept) < len(kept) if share else sum(kept) == 0
    sources = load(str(tmp_path / "run")).pretrained_sources()
    assert [source["backbone"] for source in sources] == ["efficientnet_lite0"]
    # What began from it remembers, through a resume and a preset.
    plain = tiny_recipe()
    init = {"generator": f"{tmp_path / 'run'}:generator"}
    train(ENTRY, images, tmp_path / "next", samples=8, overrides=plain, init=init)
    train(ENTRY, images, tmp_path / "next", samples=16)
    assert load(str(tmp_path / "next")).pretrained_sources() == sources


@pytest.mark.parametrize("name", LITE_SIDES)
def test_a_trunk_of_imagenet_begins_as_that_network(tiny, name):
    model = {"trunk": name, "backbone_weights": "default"}
    gan = tiny(ENTRY, **yaml_files.merge(PLAIN, {"model": model}))
    images = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype("float32")
    expected = backbones.create(name, (16, 16, 3), (8,), input_size=32, bottlenecks=True)(images)[0]
    np.testing.assert_allclose(gan.part("discriminator.trunk")(images, training=True), expected, atol=1e-4)


def test_imagenet_weights_go_into_a_trunk_by_name(tiny):
    gan = tiny(ENTRY, **yaml_files.merge(PLAIN, {"model": {"trunk": "efficientnet_lite0"}}))
    fresh = [np.array(weight) for weight in gan.part("discriminator.trunk").weights]
    report = transfer("imagenet/efficientnet_lite0:trunk", "discriminator.trunk", gan)
    assert len(report.loaded) == len(fresh) and not report.mismatched and not report.skipped
    with pytest.raises(WeightsError, match=r"--set model\.trunk=efficientnet_lite0"):
        transfer("imagenet/efficientnet_lite0:trunk", "discriminator.trunk", tiny("image/dcgan_32"))
    images = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype("float32")
    expected = backbones.create("efficientnet_lite0", (16, 16, 3), (8,), input_size=32, bottlenecks=True)(images)[0]
    np.testing.assert_allclose(gan.part("discriminator.trunk")(images, training=True), expected, atol=1e-4)
    assert [source["backbone"] for source in gan.pretrained_sources()] == ["efficientnet_lite0"]


@pytest.mark.heavy
def test_a_fine_tuned_trunk_is_frozen_under_small_heads(tiny, reals, tmp_path):
    """A classifier that was trained on the data judges, frozen, as any backbone does."""
    trunk = {"model": {"trunk": "efficientnet_lite0"}}
    source = tiny(ENTRY, **yaml_files.merge(PLAIN, trunk))
    for weight in source.part("discriminator.trunk").trainable_weights[:4]:
        weight.assign(weight * 1.5)  # as if trained
    preset_files.save(source, tmp_path)
    heads = {"projected_weight": 1.0, "matching_weight": 0.0, "backbone_weights": f"{tmp_path}:discriminator.trunk"}
    gan = tiny(ENTRY, model=heads)
    images = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype("float32")
    expected = source.part("discriminator.trunk")(images, training=False)
    np.testing.assert_allclose(gan.frozen.network(images)[-1], expected, atol=1e-4)
    before = [np.array(weight) for weight in gan.frozen.network.weights]
    gan.fit(reals(gan, 1), verbose=0)
    assert all(np.array_equal(one, two) for one, two in zip(before, gan.frozen.network.weights, strict=True))
    for wrong, message in (
        ({"levels": [4, 8, 16]}, r"ends below the levels \[4, 8, 16\]"),
        ({"backbone": "efficientnet_lite1"}, "is not a trunk of 'efficientnet_lite1'"),
        ({"backbone_weights": f"{tmp_path}:generator"}, "takes the trunk of a run"),
        ({"backbone_weights": f"{tmp_path}/no:trunk"}, "There is no run directory of that name"),
    ):
        with pytest.raises(GanzooError, match=message):
            tiny(ENTRY, model=heads | wrong)


@pytest.mark.heavy
@pytest.mark.parametrize(
    "name",
    [
        "keras_cv/efficientnetv2_b0",
        "keras_cv/resnet18_v2",
        "keras_cv/mobilenet_v3_small",
        "keras_cv/csp_darknet_tiny",
        "keras.applications/MobileNetV2",
    ],
)
def test_any_classifier_is_a_trunk_with_weights_from_a_file(tiny, reals, tmp_path, name):
    """The weights are made up; those of the libraries come from a network."""
    with backbones._fresh_names():
        whole, _ = libraries.without_top(backbones.backbone_info(name), (32, 32, 3), None)
    whole.save_weights(tmp_path / "whole.weights.h5")
    model = {"trunk": name, "backbone_weights": str(tmp_path / "whole.weights.h5")}
    gan = tiny(ENTRY, **yaml_files.merge(PLAIN, {"model": model}))
    images = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16, 3)).astype("float32")
    frozen = backbones.create(name, (16, 16, 3), (8,), tmp_path / "whole.weights.h5", input_size=32, bottlenecks=True)
    np.testing.assert_allclose(gan.part("discriminator.trunk")(images, training=False), frozen(images)[0], atol=1e-3)
    before = [np.array(weight) for weight in gan.part("discriminator.trunk").trainable_weights]
    gan.fit(reals(gan, 1), verbose=0)
    after = gan.part("discriminator.trunk").trainable_weights
    assert sum(not np.array_equal(one, other) for one, other in zip(before, after, strict=True)) > 0.9 * len(before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plain_weight": 0.0, "projected_weight": 1.0}, "plain_weight is 0"),
        ({"ensemble": ["efficientnet_lite0"] * 2}, "names a backbone twice"),
        ({"backbone_weights": "weights.h5"}, "is a file for one network"),
        (
            {"ensemble": [], "trunk": "efficientnet_lite0", "backbone_size": 48},
            r"model\.backbone_size .* one of \(8, 16",
        ),
    ],
)
def test_impossible_ensembles_are_refused(change, message):
    with pytest.raises(RecipeError, match=message):
        create(ENTRY, **tiny_recipe(ENSEMBLE, {"model": change}))


def test_a_plain_fit_says_that_no_network_will_join(tiny, caplog):
    gan = tiny(ENTRY, **yaml_files.merge(PLAIN, ENSEMBLE))
    with pytest.raises(DataError):  # before any step
        gan.fit(np.zeros((8, 5, 5, 3), "uint8"), verbose=0)
    assert "No network of model.ensemble will join" in caplog.text


def test_an_ensemble_needs_reals_to_measure_on(tmp_path, images):
    with pytest.raises(DataError, match="20 real samples or more"):
        train(ENTRY, images[:10], tmp_path, samples=16, overrides=tiny_recipe(ENSEMBLE))
