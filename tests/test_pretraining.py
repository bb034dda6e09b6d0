"""Every pretraining method on every entry that it supports, and what its parts do for a GAN."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from ganzoo import distribution, pretraining
from ganzoo.addons.auxiliary_tasks import AuxiliaryTasks
from ganzoo.core.phases import Batch
from ganzoo.distribution import GlobalRandom
from ganzoo.errors import DataError, RecipeError, TrainingError, WeightsError
from ganzoo.pretraining.rotation import rotation_loss, turned
from ganzoo.pretraining.simclr import _enlarging, contrastive_loss
from ganzoo.recipes import entries, yaml_files
from ganzoo.runs.train import pretrain, train
from ganzoo.weights import preset_files
from ganzoo.zoo.create import create, create_pretraining
from ganzoo.zoo.load import load
from ganzoo.zoo.transfer import TransferReport, transfer

METHODS = sorted(pretraining.list_methods())
ENTRIES = entries.list_entries()
# Each method is trained for one entry, and one method for all of them; the others are built, saved and given on.
TRAINED = {(method, ENTRIES[i % len(ENTRIES)]) for i, method in enumerate(METHODS)}
TRAINED |= {("variational", name) for name in ENTRIES}


def small(method, name, **overrides):
    changes = yaml_files.merge(entries.get_entry(name).raw["tiny"], pretraining.small_form(method))
    if method == "classifier":
        changes = yaml_files.merge(changes, {"pretrain": {"classes": 3}})
    model = create_pretraining(pretraining.recipe(method, name, yaml_files.merge(changes, overrides)))
    model.compile()
    return model


def batches(model, steps):
    size = model.recipe.training.batch_size
    images = np.random.default_rng(0).integers(0, 256, (steps * size, *model.sample_shapes()[0])).astype("uint8")
    data = {"real": images} | {
        name: (np.arange(len(images)) % spec.classes).astype("int32") for name, spec in model.conditions_spec().items()
    }
    return tf.data.Dataset.from_tensor_slices(data).batch(size)


def check_training(model):
    before = {part: [np.array(v) for v in network.trainable_variables] for part, network in model.parts().items()}
    data = batches(model, 2)
    losses = model.fit(data, epochs=2, verbose=0).history["student_loss"]
    assert np.isfinite(losses).all()
    for part, weights in before.items():
        after = model.parts()[part].trainable_variables
        assert all(not np.array_equal(a, b) for a, b in zip(weights, after, strict=True)), part
    shown = model.show({key: np.concatenate([b[key] for b in data.as_numpy_iterator()]) for key in data.element_spec})
    assert shown is None or (shown.dtype == np.uint8 and shown.shape[1:] == model.sample_shapes()[0])


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.heavy_with_backbone
def test_every_method_is_built_trained_saved_and_given_on(method, name, tmp_path):
    model = small(method, name)
    if (method, name) in TRAINED:
        check_training(model)
    preset_files.save(model, tmp_path)
    entry = entries.get_entry(name)
    gan = create(name, **yaml_files.merge(entry.raw["tiny"], {}))
    report = transfer(f"{tmp_path}:trunk", "discriminator.trunk", gan)
    assert report.loaded and not report.skipped and not report.mismatched
    for mine, theirs in zip(gan.part("discriminator.trunk").weights, model.parts()["trunk"].weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    if "decoder" in model.parts():
        transfer(f"{tmp_path}:decoder", "generator", gan)
        for network in (gan.generator, gan.generator_ema):
            for mine, theirs in zip(network.weights, model.parts()["decoder"].weights, strict=True):
                np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("method", METHODS)
def test_unknown_options_are_refused_with_their_path(method):
    with pytest.raises(RecipeError, match=r"Unknown key 'pretrain\.speed'"):
        pretraining.recipe(method, "image/dcgan_32", {"pretrain.speed": 1})


@pytest.mark.parametrize("method", ["classifier", "features", "simclr", "variational"])
def test_two_replicas_equal_one(method):
    def run(strategy):
        keras.utils.set_random_seed(0)
        with distribution.scope(distribution.get_strategy(strategy)):
            model = small(method, "image/dcgan_32")
        model.fit(batches(model, 3), verbose=0)
        return {key: value for key, value in model.state().items() if key.startswith("student/")}

    one, two = run("none"), run("mirrored")
    difference = np.sqrt(sum(np.sum((one[key] - two[key]) ** 2) for key in one))
    assert difference / np.sqrt(sum(np.sum(value**2) for value in one.values())) < 1e-4


@pytest.mark.parametrize("method", ["variational", "features"])
def test_a_resumed_pretraining_equals_an_unbroken_one(method, tmp_path):
    entry = entries.get_entry("image/dcgan_32")
    tiny = yaml_files.merge(entry.raw["tiny"], pretraining.small_form(method))
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    pretrain(method, entry.name, images, tmp_path / "unbroken", samples=64, overrides=tiny)
    pretrain(method, entry.name, images, tmp_path / "broken", samples=32, overrides=tiny)
    pretrain(method, entry.name, images, tmp_path / "broken", samples=64, overrides=tiny)
    idle = yaml_files.merge(tiny, {"training": {"ema_half_life": 5}})  # means nothing here, begun or resumed
    pretrain(method, entry.name, images, tmp_path / "broken", samples=64, overrides=idle)
    whole, broken = (preset_files.read_weights(str(tmp_path / run)) for run in ("unbroken", "broken"))
    assert whole.keys() == broken.keys() and all(np.array_equal(whole[key], broken[key]) for key in whole)
    with pytest.raises(TrainingError, match=f"was started with `pretrain {method}`"):
        train(entry.name, images, tmp_path / "broken", samples=64, overrides=entry.raw["tiny"])
    with pytest.raises(WeightsError, match="is not a GAN but a run of `pretrain"):
        load(str(tmp_path / "broken"))


def test_a_classifier_learns_folders_and_becomes_a_trunk(tmp_path):
    entry = entries.get_entry("image/dcgan_32")
    tiny = yaml_files.merge(entry.raw["tiny"], pretraining.small_form("classifier"))
    bright = np.random.default_rng(0).integers(0, 100, (60, 32, 32, 3)) + 150 * (np.arange(60) % 2)[:, None, None, None]
    data = (bright.astype("uint8"), np.arange(60) % 2)
    result = pretrain("classifier", entry.name, data, tmp_path / "run", samples=640, overrides=tiny)
    assert result["parts"] == ["classifier", "embedding", "trunk"]
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["accuracy"] == 1.0
    gan = create(entry.name, **entry.raw["tiny"])
    assert transfer(f"{tmp_path / 'run'}:trunk", "discriminator.trunk", gan).loaded
    with pytest.raises(DataError, match="two classes or more, but"):
        pretrain("classifier", entry.name, data[0], tmp_path / "other", overrides=tiny)


def test_a_classifier_of_ones_own_teaches_a_generator(tmp_path):
    entry = entries.get_entry("image/dcgan_32")
    tiny = yaml_files.merge(entry.raw["tiny"], pretraining.small_form("features"))
    own = yaml_files.merge(tiny, {"pretrain": {"network": "trunk"}})
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    labelled = (images, np.arange(40) % 2)
    pretrain("classifier", entry.name, labelled, tmp_path / "classes", samples=16, overrides=entry.raw["tiny"])
    init = {"trunk": f"{tmp_path / 'classes'}:trunk"}
    for run, ends in (("whole", (64,)), ("broken", (32, 64))):
        for samples in ends:
            pretrain("features", entry.name, images, tmp_path / run, samples=samples, overrides=own, init=init)
    first, whole, broken = (preset_files.read_weights(str(tmp_path / run)) for run in ("classes", "whole", "broken"))
    assert whole.keys() == broken.keys() and all(np.array_equal(whole[key], broken[key]) for key in whole)
    trunk = [key for key in whole if key.startswith("trunk/")]
    assert trunk and all(np.array_equal(first[key], whole[key]) for key in trunk)
    with pytest.raises(RecipeError, match=r"needs trained weights for it: --init trunk=RUN:trunk"):
        pretrain("features", entry.name, images, tmp_path / "none", samples=16, overrides=own)


def test_a_pretraining_is_no_entry_to_train(tmp_path):
    entry = entries.get_entry("image/dcgan_32")
    tiny = yaml_files.merge(entry.raw["tiny"], pretraining.small_form("variational"))
    images = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    pretrain("variational", entry.name, images, tmp_path / "first", samples=16, overrides=tiny)
    with pytest.raises(TrainingError, match="is a pretraining"):
        train(str(tmp_path / "first"), images, tmp_path / "second", samples=16)
    with pytest.raises(TrainingError, match=r"pretrain\.\* was set"):
        train(entry.name, images, tmp_path / "third", samples=16, overrides={**entry.raw["tiny"], "pretrain.noise": 1})
    pretrain("rotation", str(tmp_path / "first"), images, tmp_path / "fourth", samples=16)
    model = create_pretraining(entries.get_entry(str(tmp_path / "first")).recipe())
    assert type(model).from_config(model.get_config()).get_config() == model.get_config()


@pytest.mark.parametrize("method", ["features", "variational"])
def test_half_precision_trains(method):
    model = small(method, "image/dcgan_32", training={"precision": "mixed_bfloat16"})
    assert np.isfinite(model.fit(batches(model, 2), verbose=0).history["student_loss"]).all()


def test_methods_refuse_what_they_do_not_suit():
    with pytest.raises(RecipeError, match=r"'classifier' does not suit .* set pretrain\.classes"):
        small("classifier", "image/dcgan_32", pretrain={"classes": None})
    with pytest.raises(RecipeError, match=r"'rotation' does not suit .*no part 'discriminator\.trunk'"):
        small("rotation", "image/projected_mobile_64", model={"plain_weight": 0.0})
    with pytest.raises(RecipeError, match="patch = 5 does not divide"):
        small("masked", "image/dcgan_32", pretrain={"patch": 5})
    with pytest.raises(RecipeError, match="Did you mean 'autoencoder'"):
        pretraining.recipe("autoencode", "image/dcgan_32")


def test_contrastive_loss_equals_the_formula():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 5, 3))
    z = np.concatenate([first, second])
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    expected = []
    for i in range(10):
        near = np.exp(z[i] @ z[(i + 5) % 10] / 0.3)
        expected.append(-np.log(near / sum(np.exp(z[i] @ z[k] / 0.3) for k in range(10) if k != i)))
    found = contrastive_loss(tf.constant(first), tf.constant(second), 0.3)
    np.testing.assert_allclose(found, (np.array(expected[:5]) + expected[5:]) / 2, rtol=1e-5)


def test_a_crop_is_enlarged_bilinearly():
    line = np.array([[0.0, 10.0, 20.0, 30.0]], "float32")
    whole = _enlarging(tf.constant([0.0]), tf.constant([1.0]), 4)[0]
    np.testing.assert_allclose(whole, np.eye(4), atol=1e-6)
    right = _enlarging(tf.constant([0.5]), tf.constant([0.5]), 4)[
        0
    ]  # the cells 2 and 3, of whose middles 20 and 30 hold
    np.testing.assert_allclose(line @ np.array(right).T, [[17.5, 22.5, 27.5, 30.0]], atol=1e-5)


@pytest.mark.heavy
@pytest.mark.parametrize("method", ["denoising", "masked", "rotation", "simclr"])
def test_methods_compile_with_xla(method):
    found, losses = [], []
    for compiled in (False, True):
        keras.utils.set_random_seed(0)
        model = small(method, "image/dcgan_32", training={"jit_compile": compiled})
        begun = model.state()
        losses.append(model.fit(batches(model, 3), verbose=0).history["student_loss"][0])
        found.append({key: value for key, value in model.state().items() if key.startswith("student/")})
        assert all(not np.array_equal(begun[key], value) for key, value in found[-1].items() if key.endswith("kernel"))
    assert losses[1] == pytest.approx(losses[0], rel=0.2)
    if method == "rotation":  # the others draw numbers, and XLA draws others
        one, two = found
        difference = np.sqrt(sum(np.sum((one[key] - two[key]) ** 2) for key in one))
        assert difference / np.sqrt(sum(np.sum(value**2) for value in one.values())) < 1e-3


def test_rotation_loss_counts_right_angles():
    images = np.arange(2 * 3 * 3).reshape(2, 3, 3, 1).astype("float32")
    seen = turned(tf.constant(images)).numpy()
    for turns in range(4):
        np.testing.assert_array_equal(seen[2 * turns : 2 * turns + 2, ..., 0], np.rot90(images[..., 0], turns, (1, 2)))
    logits = np.zeros((8, 4), "float32")
    logits[[0, 2, 4, 6], [0, 1, 2, 3]] = 20.0  # the first image's four turns are known, the second's are not
    entropy, right = rotation_loss(tf.constant(logits))
    np.testing.assert_allclose(entropy, [0.0, np.log(4.0)], atol=1e-5)
    np.testing.assert_allclose(right, [1.0, 0.25])


def test_divergence_equals_the_formula():
    model = small("variational", "image/dcgan_32", pretrain={"divergence_weight": 2.0})
    width = model.task.latents_width
    encoded = np.concatenate([np.full((1, width), 0.5), np.full((1, width), np.log(0.25))], axis=1).astype("float32")
    batch = Batch(tf.zeros((1, *model.sample_shapes()[0])), {}, {}, GlobalRandom(0, 0, "test", 1))
    latents, terms = model.task.codes(tf.constant(encoded), batch)
    each = 0.5 * (0.25 + 0.25 - 1.0 - np.log(0.25))
    np.testing.assert_allclose(terms["divergence"], [2.0 * width * each / (32 * 32 * 3)], rtol=1e-5)
    noise = batch.random.normal((width,), "codes")
    np.testing.assert_allclose(latents, 0.5 + 0.5 * noise, rtol=1e-5)


def test_masks_hide_the_same_share_of_every_image():
    model = small("masked", "image/dcgan_32", pretrain={"share": 0.25, "patch": 8})
    mask = model.task._mask(tf.zeros((6, 32, 32, 3)), GlobalRandom(0, 0, "test", 6)).numpy()
    np.testing.assert_array_equal(mask.mean(axis=(1, 2, 3)), np.full(6, 0.25))
    blocks = mask.reshape(6, 4, 8, 4, 8)
    assert (blocks.min(axis=(2, 4)) == blocks.max(axis=(2, 4))).all()
    assert len({m.tobytes() for m in mask}) > 1


@pytest.mark.heavy
def test_few_images_are_shown_too(tmp_path):
    tiny = yaml_files.merge(entries.get_entry("image/dcgan_32").raw["tiny"], pretraining.small_form("autoencoder"))
    data = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype("uint8")
    pretrain("autoencoder", "image/dcgan_32", data, tmp_path / "run", samples=16, overrides=tiny)
    assert list((tmp_path / "run/samples").glob("0*.png"))
    tiny = yaml_files.merge(entries.get_entry("image/dcgan_32").raw["tiny"], pretraining.small_form("features"))
    with pytest.raises(RecipeError, match="fewer than 8 components"):
        pretrain("features", "image/dcgan_32", data[:1], tmp_path / "features", samples=16, overrides=tiny)
    with pytest.raises(RecipeError, match="batch_size must be 2"):
        create_pretraining(pretraining.recipe("simclr", "image/dcgan_32", {"training.batch_size": 1}))


def test_features_have_a_component_for_each_latent_of_the_default_entry():
    """EfficientNet-Lite0's stride 16 has 112 channels, the entry 128 latents."""
    full = entries.get_entry("image/projected_mobile_64").recipe().model.latent_dim
    options = {"pretrain": {"levels": [16, 32], "network_size": 32}, "model": {"latent_dim": full}}
    model = small("features", "image/projected_mobile_64", **options)
    reals = np.random.default_rng(0).integers(0, 256, (300, *model.sample_shapes()[0])).astype("uint8")
    model.adapt(reals)
    assert model.task.codes_of(model.domain.to_unit(tf.constant(reals[:4]))).shape == (4, full)
    options["pretrain"]["levels"] = [8, 16]
    with pytest.raises(RecipeError, match=r"112 channels, fewer than .* 128"):
        small("features", "image/projected_mobile_64", **options).adapt(reals)


def test_what_is_refused_before_the_first_step_may_be_begun_otherwise(tmp_path):
    tiny = yaml_files.merge(entries.get_entry("image/dcgan_32").raw["tiny"], pretraining.small_form("features"))
    data = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3)).astype("uint8")
    with pytest.raises(RecipeError, match="Give more images"):
        pretrain("features", "image/dcgan_32", data[:5], tmp_path, samples=16, overrides=tiny)
    assert pretrain("features", "image/dcgan_32", data, tmp_path, samples=16, overrides=tiny)["samples"] == 16


def test_images_that_are_several_times_in_a_batch_are_told(tmp_path, caplog):
    tiny = yaml_files.merge(entries.get_entry("image/dcgan_32").raw["tiny"], pretraining.small_form("simclr"))
    data = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3)).astype("uint8")
    pretrain("simclr", "image/dcgan_32", data, tmp_path, samples=16, overrides=tiny)
    assert "treats copies as other images: --set training.batch_size=2" in caplog.text


def test_codes_of_features_are_white():
    model = small("features", "image/dcgan_32")
    images = np.random.default_rng(0).integers(0, 256, (64, 1, 1, 3)).astype("uint8")
    images = np.broadcast_to(images, (64, 32, 32, 3)) // np.random.default_rng(1).integers(1, 9, (64, 32, 32, 1))
    model.task.adapt(images.astype("uint8"))
    codes = model.task.codes_of(model.domain.to_unit(images.astype("uint8"))).numpy()
    np.testing.assert_allclose(codes.mean(axis=0), 0.0, atol=1e-2)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(codes.shape[1]), atol=2e-2)
    with pytest.raises(RecipeError, match="have fewer than"):
        model.task.adapt(images[:3].astype("uint8"))


def test_sampled_latents_are_to_be_the_codes_of_what_they_give():
    model = small("features", "image/dcgan_32", pretrain={"sampled_weight": 2.0})
    images = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3)).astype("uint8")
    model.task.adapt(images)
    real = model.domain.to_unit(tf.constant(images[:4]))
    random = GlobalRandom(0, 0, "test", 4)
    _, terms = model.task.loss(Batch(real, {}, {}, random))
    latents = random.normal((model.task.latents_width,), "sampled")
    again = model.task.codes_of(model.task.decode(latents, {})).numpy()
    np.testing.assert_allclose(terms["sampled"], 2.0 * ((again - latents) ** 2).numpy().mean(axis=1), rtol=1e-4)


def test_keys_without_effect_on_a_pretraining_are_told(caplog):
    idle = {"consolidation": 5.0, "guards.act": ["slow_discriminator"], "evaluation.every": 1_000}
    pretraining.recipe("rotation", "image/dcgan_32", idle)
    assert "These keys have no effect on a pretraining: consolidation, evaluation, guards." in caplog.text
    caplog.clear()
    idle = {"augment.policy": ["cutout"], "training.ema_half_life": 5, "training.d_steps": 3}
    assert pretraining.recipe("rotation", "image/dcgan_32", idle).training.d_steps == 1
    assert "have no effect on a pretraining: augment, training.ema_half_life, training.d_steps." in caplog.text
    caplog.clear()
    pretraining.recipe("classifier", "image/dcgan_32", {"augment.policy": ["cutout"]})
    assert not caplog.text


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"pretrain.method": "masked"}, "options of rotation"),
        ({"pretrain": 5}, "options of rotation"),
        ({"training": 5}, "training"),
        ({"pretrain.hiden": 1}, "hiden"),
    ],
)
def test_wrong_keys_of_a_pretraining_are_refused(changes, text):
    with pytest.raises(RecipeError, match=text):
        pretraining.recipe("rotation", "image/dcgan_32", changes)


def test_class_embeddings_go_to_a_conditional_discriminator(tmp_path):
    model = small("classifier", "image/wgan_gp_32")
    model.fit(batches(model, 2), verbose=0)
    preset_files.save(model, tmp_path)
    gan = create("image/wgan_gp_32", **entries.get_entry("image/wgan_gp_32").raw["tiny"])
    report = transfer(f"{tmp_path}:embedding", "discriminator.head", gan, partial=True)
    assert report.loaded == ("classes/embeddings",)
    table = np.array(gan.part("discriminator.head").get_layer("classes").weights[0])
    images = model.domain.to_unit(next(batches(model, 1).as_numpy_iterator())["real"])
    logits = model.parts()["classifier"](images, training=False)
    bias = model.task.heads["classifier"].get_layer("outputs").bias
    np.testing.assert_allclose(model.parts()["trunk"](images) @ table.T + bias, logits, rtol=1e-4, atol=1e-5)


def test_embeddings_of_other_classes_are_told(tmp_path, caplog):
    from ganzoo.runs import lineage

    for run, classes in (("own", ("a", "b")), ("same", ("a", "b")), ("turned", ("b", "a"))):
        (tmp_path / run).mkdir()
        (tmp_path / run / "metrics.jsonl").write_text("")
        (tmp_path / run / "data.json").write_text(json.dumps({"class_counts": dict.fromkeys(classes, 1)}))
    for source, loaded, told in (
        ("same", "classes/embeddings", False),
        ("turned", "logits/kernel", False),
        ("turned", "classes/embeddings", True),
    ):
        report = TransferReport("discriminator.head", f"{tmp_path / source}:embedding", (loaded,))
        lineage._compare_classes(report, tmp_path / source, tmp_path / "own")
        assert ("are those of ['b', 'a'], but these data have ['a', 'b']" in caplog.text) == told


@pytest.mark.parametrize(
    "method", ["simclr", *(pytest.param(name, marks=pytest.mark.heavy) for name in ("rotation", "masked"))]
)
def test_a_method_runs_beside_a_gan(method, tiny, reals):
    def run(strategy="none", **changes):
        with distribution.scope(distribution.get_strategy(strategy)):
            rule = {"method": method, "weight": 0.5, "generator_weight": 0.2, "stride": 2, **changes}
            gan = tiny("image/dcgan_32", auxiliary=[rule])
        before = gan.state()
        history = gan.fit(reals(gan, 3), verbose=0).history
        return gan.state(), before, history

    one, before, history = run()
    assert np.isfinite(history[method]).all() and np.isfinite(history[f"{method}_of_fakes"]).all()
    heads = [key for key in one if key.startswith("auxiliary/")]
    assert heads and all(not np.array_equal(one[key], before[key]) for key in heads if key.endswith("kernel"))
    two, _, _ = run("mirrored")
    keys = [key for key in one if key.startswith(("auxiliary/", "discriminator/", "generator/"))]
    difference = np.sqrt(sum(np.sum((one[key] - two[key]) ** 2) for key in keys))
    assert difference / np.sqrt(sum(np.sum(one[key] ** 2) for key in keys)) < 1e-4


def test_an_auxiliary_loss_has_its_weight(tiny, reals):
    losses = {}
    for weight in (1e-9, 2.0):
        gan = tiny("image/dcgan_32", auxiliary=[{"method": "rotation", "weight": weight}])
        losses[weight] = gan.fit(reals(gan, 1), verbose=0).history
    added = losses[2.0]["discriminator_loss"][0] - losses[1e-9]["discriminator_loss"][0]
    assert added == pytest.approx(2.0 * losses[2.0]["rotation"][0], rel=1e-4)


def test_the_discriminator_learns_from_turned_reals_and_the_generator_from_turned_fakes(tiny):
    rule = {"method": "rotation", "weight": 2.0, "generator_weight": 0.2}
    with_it, without = (tiny("image/dcgan_32", auxiliary=rules) for rules in ([rule], []))
    reals = tf.constant(np.random.default_rng(0).uniform(-1, 1, (8, 32, 32, 3)).astype("float32"))
    latents = {"latents": tf.constant(np.random.default_rng(1).normal(size=(8, 8)).astype("float32"))}
    batch = Batch(real=reals, latents=latents, conditions={}, random=GlobalRandom(0, 0, "test", 8))
    (_, task), fakes = with_it.addon(AuxiliaryTasks).tasks[0], with_it.make(latents)

    def added(loss, *context):
        values = [getattr(gan, loss)(batch, *context)[0] for gan in (with_it, without)]
        return float(tf.reduce_mean(values[0]) - tf.reduce_mean(values[1]))

    def term(images):
        value, _ = task.loss(dataclasses.replace(batch, real=images))
        return float(tf.reduce_mean(value))

    context = {"real": reals, "fake": fakes}
    assert term(reals) != pytest.approx(term(fakes), rel=1e-3)
    assert added("_discriminator_loss", context) == pytest.approx(2.0 * term(reals), rel=1e-3)
    assert added("_generator_loss", None) == pytest.approx(0.2 * term(fakes), rel=1e-3)
    phases = {phase.network: phase for phase in with_it.phases()}
    assert "auxiliary" not in phases["generator"].also


def test_several_methods_run_beside_a_gan(tiny, reals):
    gan = tiny("image/dcgan_32", auxiliary=["rotation", "simclr", {"method": "masked", "stride": 4}])
    history = gan.fit(reals(gan, 2), verbose=0).history
    assert all(np.isfinite(history[method]).all() for method in ("rotation", "simclr", "masked"))
    with pytest.raises(RecipeError, match="named twice"):
        tiny("image/dcgan_32", auxiliary=["rotation", "rotation"])
    with pytest.raises(RecipeError, match="stride = 3 does not divide the 8 samples"):
        tiny("image/dcgan_32", auxiliary=[{"method": "rotation", "stride": 3}])
    with pytest.raises(RecipeError, match="must be 2 or more, divided by the stride"):
        tiny("image/dcgan_32", auxiliary=[{"method": "simclr", "stride": 8}])
    with pytest.raises(RecipeError, match=r"Unknown key 'auxiliary\.options\.speed'"):
        tiny("image/dcgan_32", auxiliary=[{"method": "simclr", "options": {"speed": 1}}])


def test_only_methods_of_the_trunk_run_beside_a_gan(tiny):
    with pytest.raises(RecipeError, match="'variational' can only be pretrained"):
        tiny("image/dcgan_32", auxiliary=["variational"])
    with pytest.raises(RecipeError, match="Did you mean 'rotation'"):
        tiny("image/dcgan_32", auxiliary=["rotations"])
