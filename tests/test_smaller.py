"""Smaller generators: several widths at once, what is kept of a wider one, distillation."""

import json
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from ganzoo import distribution
from ganzoo.addons.distillation import Distillation
from ganzoo.commands.generate import generate
from ganzoo.errors import DataError, RecipeError, TrainingError, WeightsError
from ganzoo.export import export_generator
from ganzoo.export.model_card import _origin
from ganzoo.recipes import entries
from ganzoo.runs.finetune import distill, finetune
from ganzoo.runs.train import train
from ganzoo.weights import channel_pruning, preset_files
from ganzoo.weights.variables import named_variables
from ganzoo.zoo.create import create
from ganzoo.zoo.load import load
from ganzoo.zoo.transfer import transfer, transfer_narrowed

ELASTIC, MOBILE = "image/elastic_mobile_64", "image/projected_mobile_64"
TINY = entries.get_entry(ELASTIC).raw["tiny"]
PLAIN = {**TINY, "model": {key: value for key, value in TINY["model"].items() if key != "narrower"}}
ALONE = {"model.projected_weight": 0.0, "model.matching_weight": 0.0}  # without a frozen network
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3)).astype("uint8")


def drawn(gan, count=64):
    return gan.draw_latents(count) | gan.draw_conditions(count)


def made(network, inputs):
    return np.asarray(network(inputs, training=False).numpy())


# Several widths.


def test_a_narrower_generator_has_the_first_channels_of_the_whole_one(tiny):
    gan = tiny(ELASTIC)
    half = gan.at_width(0.5)
    assert type(half).__name__ == "ProjectedMobileGAN" and half.options.widths == (4, 4, 4)
    whole, narrow = (named_variables(one.generator) for one in (gan, half))
    value, piece = whole["up_8_depthwise/kernel"].numpy(), narrow["up_8_depthwise/kernel"].numpy()
    assert value.shape == (3, 3, 16, 1) and piece.shape == (3, 3, 8, 1)
    # A gated unit's values are the first half of its channels, its gates the second.
    assert np.array_equal(piece, np.concatenate([value[:, :, :4], value[:, :, 8:12]], axis=2))
    value, piece = whole["dense/kernel"].numpy(), narrow["dense/kernel"].numpy()
    assert np.array_equal(piece.reshape(8, 16, 4), value.reshape(8, 16, 8)[:, :, :4])
    value, piece = whole["more_8_pointwise/kernel"].numpy(), narrow["more_8_pointwise/kernel"].numpy()
    assert np.array_equal(piece, np.concatenate([value[:, :, :4, :4], value[:, :, :4, 8:12]], axis=3))
    # Normalisations and the last layer are its own.
    for name in ("to_image/kernel", "up_8_norm/gamma"):
        own = dict(zip(gan.narrow.layers[1].held(), gan.narrow.layers[1].weights, strict=True))[name]
        assert np.array_equal(narrow[name].numpy(), own.numpy())


def test_every_other_sample_is_the_whole_generators(tiny):
    gan = tiny(ELASTIC, **{"model.narrower": [0.75, 0.5]})
    latents = {name: tf.constant(value) for name, value in gan.draw_latents(8).items()}
    samples = gan.make(latents).numpy()
    rows = {name: value[::2] for name, value in latents.items()}
    assert np.allclose(samples[::2], gan.generator(rows, training=True), atol=1e-5)
    for index, share in enumerate((0.75, 0.5)):
        rows = {name: value[1 + 2 * index :: 4] for name, value in latents.items()}
        assert np.allclose(samples[1 + 2 * index :: 4], gan.at_width(share).generator(rows, training=True), atol=1e-5)


def test_each_width_has_a_head_of_its_own(tiny):
    gan = tiny(ELASTIC, **{"model.narrower": [0.75, 0.5]})
    images = tf.random.stateless_uniform((8, 16, 16, 3), (0, 0), -1.0, 1.0)
    (logits,) = gan.score(gan.observe(images, {}), {})
    heads = [gan.discriminator.get_layer(name) for name in ("head", "head_0", "head_1")]
    trunk = gan.discriminator.get_layer("trunk")
    for row, head in enumerate((0, 1, 0, 2, 0, 1, 0, 2)):
        alone = heads[head](trunk(images[row : row + 1]))
        assert np.allclose(logits[row], alone[0], atol=1e-5)
    half = gan.at_width(0.5)
    (found,) = half.score(half.observe(images, {}), {})
    assert np.allclose(found, heads[2](trunk(images)), atol=1e-5)


def test_consistency_is_the_distance_from_the_whole_generator(tiny):
    gan = tiny(ELASTIC, **{"model.consistency": 3.0})
    random = gan._part(tf.zeros((8, 16, 16, 3)), {}, 1, 0, "generator")
    fake = gan.make({**random.latents})
    found = gan.generator_terms(fake, random)["consistency"].numpy()
    rows = {name: value[1::2] for name, value in random.latents.items()}
    apart = np.square(fake[1::2] - gan.generator(rows, training=True)).mean(axis=(1, 2, 3))
    assert np.allclose(found[1::2], 3.0 * apart, rtol=1e-3) and not found[::2].any()


def test_narrower_generators_learn(tiny, reals):
    gan = tiny(ELASTIC)
    before = {key: value for key, value in gan.state().items() if key.startswith("narrow")}
    gan.fit(reals(gan, 4), verbose=0)
    after = gan.state()
    assert before and not any(np.array_equal(value, after[key]) for key, value in before.items() if "gamma" in key)
    assert gan.at_width(0.5).sample_count == gan.sample_count == 32
    with pytest.raises(DataError, match=r"no multiple .* \(2\)"):
        gan.fit(IMAGES[:7], batch_size=8, verbose=0)


def test_widths_that_are_not_there_are_refused(tiny):
    with pytest.raises(RecipeError, match=r"widths \[1.0, 0.5\]. Received: 0.25"):
        tiny(ELASTIC).at_width(0.25)
    with pytest.raises(RecipeError, match=r"one width, 1, only.*elastic_mobile_64"):
        tiny(MOBILE, **ALONE).at_width(0.5)
    for shares in ([0.5, 0.75], [0.5, 0.5], [1.0], []):
        with pytest.raises(RecipeError, match="narrower"):
            create(ELASTIC, model={"narrower": shares})
    for changes in ({"training.precision": "mixed_float16"}, {"consolidation": 1.0}):
        with pytest.raises(RecipeError, match=r"share gradients|one width"):
            tiny(ELASTIC, **changes)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with pytest.raises(RecipeError, match="share gradients"):
            create(ELASTIC, **entries.get_entry(ELASTIC).raw["tiny"])
    finally:
        keras.config.set_dtype_policy(policy)
    with pytest.raises(TrainingError, match="multiple of 4"):
        tiny(ELASTIC, **{"model.narrower": [0.75, 0.5], "training.batch_size": 6})
    for key, value in (("projected_weight", 1.0), ("matching_weight", 1.0), ("ensemble", ["efficientnet_lite0"])):
        with pytest.raises(RecipeError, match="one discriminator head for each width"):
            tiny(ELASTIC, **{f"model.{key}": value})


def test_every_width_of_a_run_is_exported_and_reported(tmp_path):
    run = tmp_path / "run"
    train(ELASTIC, IMAGES, run, samples=16, overrides=TINY)
    cards = {}
    for width in (1.0, 0.5):
        cards[width] = export_generator(run, tmp_path / str(width), ["tflite"], ["none"], width=width)
    assert cards[0.5]["parameters"] < 0.5 * cards[1.0]["parameters"]
    assert "50% of the channels" in cards[0.5]["metadata"]["summary"]
    export_generator(run, tmp_path / "0.5", ["tflite"], ["none"], width=0.5)  # in place of the one before
    kept = json.loads((run / "exports.json").read_text())
    assert [(one["width"], len(one["files"])) for one in kept] == [(1.0, 1), (0.5, 1)]
    report = (run / "report.html").read_text()
    assert "<h2>Exports</h2>" in report and str(tmp_path / "0.5") in report
    path = generate(str(run), tmp_path / "samples.npy", count=4, width=0.5)
    assert np.array_equal(np.load(path), load(str(run)).at_width(0.5).generate(4))
    with pytest.raises(RecipeError, match="widths"):
        export_generator(run, tmp_path / "other", ["tflite"], ["none"], width=0.3)


def test_channels_come_in_order_where_a_generator_of_one_width_was_there_before(tmp_path):
    train(MOBILE, IMAGES, tmp_path / "plain", samples=8, overrides=PLAIN)
    source = load(str(tmp_path / "plain"))
    for name, sorted_now in (("plain", True), ("elastic", False)):
        parts = ["generator"] if sorted_now else ["generator", "narrow"]
        gan = create(ELASTIC, **TINY, init={part: f"{tmp_path / name}:{part}" for part in parts})
        for part in parts:
            transfer(f"{tmp_path / name}:{part}", part, gan)
        before = np.array(gan.generator.weights[0].numpy())
        gan.begin()
        whole = made(source.generator_ema, drawn(gan))
        assert np.allclose(made(gan.generator, drawn(gan)), whole, atol=1e-5)
        assert np.array_equal(before, gan.generator.weights[0].numpy()) != sorted_now
        if sorted_now:  # and what the narrower one has of its own is fitted
            fresh = create(ELASTIC, **TINY)
            transfer(f"{tmp_path / name}:generator", "generator", fresh)
            near, far = (
                np.square(made(one.at_width(0.5).generator, drawn(gan)) - whole).mean() for one in (gan, fresh)
            )
            assert near < far
        preset_files.save(gan, tmp_path / "elastic")


def test_the_best_weights_are_the_best_of_all_widths(tmp_path, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (48, 16, 16, 3)).astype("uint8")
    scored = []

    def score(reals, fakes):
        scored.append(fakes)
        return float(len(scored))

    monkeypatch.setattr("ganzoo.domains.image.quick_score", score)
    train(ELASTIC, images, tmp_path, samples=16, overrides={**TINY, "evaluation": {"every": 16, "check_networks": []}})
    checks = [json.loads(line) for line in (tmp_path / "checks.jsonl").read_text().splitlines()]
    assert [check["score"] for check in checks] == [1.5 + 2 * index for index in range(len(checks))]
    best = load(str(tmp_path / "best"))
    for fakes, share in zip(scored, best.widths(), strict=False):
        assert np.abs(best.at_width(share).generate(len(fakes)).astype(int) - fakes).mean() < 1.0


# What is kept of a wider generator.


@pytest.mark.parametrize("name", [pytest.param(MOBILE, marks=pytest.mark.heavy), "image/dcgan_32", "image/wgan_gp_32"])
def test_sorting_channels_changes_no_sample(name):
    gan = load(name)
    before, weights = made(gan.generator_ema, drawn(gan)), gan.generator_ema.weights[0].numpy()
    channel_pruning.sort_channels(gan.generator_ema, [gan.generator], drawn(gan))
    assert np.abs(made(gan.generator_ema, drawn(gan)) - before).max() < 1e-4
    assert np.abs(made(gan.generator, drawn(gan)) - before).max() < 1e-4
    assert not np.array_equal(gan.generator_ema.weights[0].numpy(), weights)


def test_idle_channels_are_left_out_and_nothing_is_lost(tiny):
    """A network that has each channel twice, looked at by half, makes what one of half the channels makes."""
    wide = tiny(MOBILE, **ALONE)
    widths = wide.options.widths
    half = tiny(MOBILE, **ALONE, **{"model.widths": [4, 4, 4]})
    for layer in wide.generator.layers:  # the upper half of each stage's channels is silent
        if layer.name.endswith("pointwise"):
            kernel = layer.kernel.numpy()
            kernel[:, :, 4:] = 0.0
            layer.kernel.assign(kernel)
        if layer.name == "to_image":
            kernel = layer.kernel.numpy()
            kernel[:, :, 4:] = 0.0
            layer.kernel.assign(kernel)
    assert widths == (8, 8, 8)
    inputs = drawn(wide, 256)
    fresh = np.abs(made(half.generator, inputs) - made(wide.generator, inputs)).mean()
    channel_pruning.narrow(wide.generator, half.generator, inputs)
    # Kept are channels that are looked at: the first four of each stage, so that all can be fitted.
    assert np.abs(made(half.generator, inputs) - made(wide.generator, inputs)).mean() < 0.05 * fresh


@pytest.mark.parametrize(
    ("kernel", "strides", "padding", "more"),
    [(4, 2, "same", None), (3, 2, "same", None), (5, (2, 3), "valid", None), (1, 2, "same", None), (3, 2, "same", 0)],
)
def test_transposed_convolutions_are_refitted(kernel, strides, padding, more):
    def network(width):
        given = keras.Input((6,), name="latents")
        x = layers.Reshape((3, 2, width), name="shaped")(layers.Dense(6 * width, name="first")(given))
        for name, channels in (("up", width), ("more", 3)):
            x = layers.Conv2DTranspose(channels, kernel, strides, padding, output_padding=more, name=name)(x)
        return keras.Model({"latents": given}, x)

    wide, half = network(8), network(4)
    for name in ("up", "more"):  # only the first four channels are looked at
        layer = wide.get_layer(name)
        layer.kernel.assign(layer.kernel.numpy() * (np.arange(8) < 4))
    inputs = {"latents": np.random.default_rng(0).normal(size=(64, 6)).astype("float32")}
    wanted = made(wide, inputs)

    def error():
        return np.mean(np.square(made(half, inputs) - wanted)) / np.mean(np.square(wanted))

    channel_pruning.narrow(wide, half, inputs)
    assert error() < 1e-4
    half.get_layer("up").kernel.assign(-half.get_layer("up").kernel)
    assert error() > 1.0
    channel_pruning.refit(wide, half, inputs, {"up"})
    assert error() < 1e-4


@pytest.mark.heavy
def test_half_the_channels_of_the_mobile_generator_make_its_images_roughly():
    wide = load(MOBILE)
    half = create(MOBILE, model={"widths": [128, 96, 64, 32, 8], "matching_weight": 0.0})
    inputs = drawn(wide, 64)
    channel_pruning.narrow(wide.generator_ema, half.generator, inputs)
    wanted = made(wide.generator_ema, inputs)
    error = np.square(made(half.generator, inputs) - wanted).mean() / wanted.var(axis=0).mean()
    assert error < 0.5  # a copy of the weights gives 1.02, unrelated samples 2


def test_what_cannot_be_narrowed_is_told(tiny, tmp_path):
    wide = tiny(MOBILE, **ALONE)
    preset_files.save(wide, tmp_path)
    same, wider = tiny(MOBILE, **ALONE), tiny(MOBILE, **ALONE, **{"model.widths": [16, 16, 16]})
    deeper = tiny(MOBILE, **ALONE, **{"model.widths": [4, 4, 4, 4], "data.size": 32})
    for gan in (wider, deeper, tiny("image/dcgan_32")):
        assert not channel_pruning.fits(wide.generator, gan.generator)
        before = [weight.numpy() for weight in gan.generator.weights]
        with pytest.raises(WeightsError, match="cannot be narrowed"):
            transfer_narrowed(f"{tmp_path}:generator", "generator", gan)
        assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, gan.generator.weights, strict=True))
    assert not channel_pruning.fits(wide.generator, same.generator)  # it would gain nothing
    with pytest.raises(WeightsError, match="generator=WHERE:generator alone"):
        transfer_narrowed(f"{tmp_path}:discriminator", "discriminator", same)
    for changes in ({"model.latent_dim": 4}, {"data.channels": 1}):
        assert not channel_pruning.fits(
            wide.generator, tiny(MOBILE, **ALONE, **{"model.widths": [4, 4, 4]}, **changes).generator
        )
    with pytest.raises(RecipeError, match="narrow goes with no"):
        create(MOBILE, init={"generator": {"source": "a:generator", "narrow": True, "partial": True}})


# Distillation.


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    run = tmp_path_factory.mktemp("teacher") / "run"
    train("image/dcgan_32", "mnist5k", run, samples=64, overrides={"data": {"size": 16, "channels": 1}, **SMALL})
    return run


QUICK = {"training": {"batch_size": 8, "jit_compile": False}, "evaluation": {"every": 0}}
SMALL = {**QUICK, "model": {"latent_dim": 12}}


def both_terms(teacher):
    return {"teacher": str(teacher), "pixels": 0.3, "features": 0.3}


def test_terms_are_relative_errors_from_the_teacher(teacher):
    gan = create("image/dcgan_32", **SMALL, data={"size": 16, "channels": 1}, distillation=both_terms(teacher))
    gan.compile()
    batch = gan._part(tf.zeros((8, 16, 16, 1)), {}, 1, 0, "generator")
    source = load(str(teacher))
    wanted = made(source.generator_ema, batch.latents)
    terms = gan.addon(Distillation).teacher.terms(tf.constant(wanted), batch)
    assert set(terms) == {"distilled_pixels", "distilled_features"}
    assert all(np.abs(term).max() < 1e-6 for term in terms.values())  # nothing is lost on a perfect student
    drawn_samples = made(source.generator_ema, drawn(source, 256))
    spread = drawn_samples.var(axis=0).mean()
    found = gan.addon(Distillation).teacher.terms(tf.constant(wanted + 0.1), batch)["distilled_pixels"]
    assert np.allclose(found, 0.3 * 0.01 / spread, rtol=1e-3)
    maps = gan.addon(Distillation).teacher._look.outputs
    assert [tuple(one.shape[1:3]) for one in maps] == [(8, 8), (4, 4)]
    seen = [
        gan.addon(Distillation).teacher._look(tf.constant(one), training=False)
        for one in (wanted, wanted + 0.1, drawn_samples)
    ]
    apart = [
        np.square(shifted.numpy() - right.numpy()).mean(axis=(1, 2, 3)) / of_all.numpy().var(axis=0).mean()
        for right, shifted, of_all in zip(*seen, strict=True)
    ]
    found = gan.addon(Distillation).teacher.terms(tf.constant(wanted + 0.1), batch)["distilled_features"]
    assert np.allclose(found, 0.3 * np.mean(apart, axis=0), rtol=1e-3)


@pytest.mark.heavy
def test_a_student_takes_the_teachers_sizes_and_resumes(teacher, tmp_path):
    run = tmp_path / "student"
    settings = {**QUICK, "model.generator_width": 8, "distillation.features": 0.3}
    distill(str(teacher), "image/dcgan_32", None, run, samples=16, overrides=settings)
    recipe = entries.get_entry(str(run)).recipe()
    assert (recipe.model.latent_dim, recipe.data.size, recipe.data.channels) == (12, 16, 1)
    reports = {one["target"]: one for one in json.loads((run / "transfer.json").read_text())}
    assert set(reports) == {"generator", "discriminator", "distillation"}
    assert "samples of " in json.loads((run / "data.json").read_text())["source"]
    assert reports["distillation"]["times"].keys() == {str(teacher.resolve())}
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {"distilled_pixels", "distilled_features"} <= lines[-1].keys()
    distill(str(teacher), "image/dcgan_32", None, run, samples=32, overrides=settings)
    assert load(str(run)).sample_count == 32
    # It can do without its teacher, and so can what is fine-tuned or trained from it.
    finetune(str(run), "mnist5k", tmp_path / "tuned", samples=8)
    train(str(run), "mnist5k", tmp_path / "fresh", samples=8)
    for name in ("tuned", "fresh"):
        assert entries.get_entry(str(tmp_path / name)).recipe().distillation is None
    card = export_generator(run, tmp_path / "exported", ["tflite"], ["none"])
    assert card["metadata"]["training_data"].startswith(f"samples of {teacher.name}, which was trained on: ")
    assert card["metadata"]["summary"] == card["summary"] and f"distilled from {teacher.name}" in card["summary"]
    assert str(teacher.parent) not in json.dumps(card)
    assert card["fid"] is not None  # judged by the teacher's data
    # A recipe that names its own run as the teacher has no origin, and no end but for a guard.
    recipe = entries.get_entry(str(run)).recipe()
    itself = recipe.model_copy(update={"distillation": recipe.distillation.model_copy(update={"teacher": str(run)})})
    (run / "recipe.yaml").write_text((run / "recipe.yaml").read_text().replace(str(teacher), str(run)))
    assert entries.get_entry(str(run)).recipe().distillation.teacher == str(run)
    assert _origin(itself, {})[1].startswith(f"samples of {run.name}")


def test_a_plain_student_of_an_elastic_teacher_takes_its_trunk_and_the_head_of_the_whole(tmp_path):
    train(ELASTIC, IMAGES, tmp_path / "elastic", samples=8, overrides=TINY)
    settings = {"model": PLAIN["model"] | {"widths": [4, 4, 4]}, "training": TINY["training"]}
    distill(str(tmp_path / "elastic"), MOBILE, IMAGES, tmp_path / "run", samples=8, overrides=settings)
    reports = {one["target"]: one for one in json.loads((tmp_path / "run" / "transfer.json").read_text())}
    assert set(reports) == {"generator", "discriminator", "distillation"}
    assert reports["discriminator"]["share"] == 1.0
    assert {name.split("/")[0] for name in reports["discriminator"]["skipped"]} == {"head_0"}


def test_teachers_that_do_not_fit_are_refused(teacher, tmp_path, tiny):
    with pytest.raises(RecipeError, match=r"cannot be the teacher of .*latents"):
        distill(str(teacher), "image/dcgan_32", None, tmp_path / "a", overrides={"model.latent_dim": 5})
    with pytest.raises(RecipeError, match=r"cannot be the teacher of .*has 10 classes, the other 0"):
        distill("image/wgan_gp_32", "image/dcgan_32", None, tmp_path / "b", overrides={"model.latent_dim": 128})
    with pytest.raises(RecipeError, match="one width for each resolution"):
        distill(str(teacher), MOBILE, None, tmp_path / "c")
    with pytest.raises(RecipeError, match="Unknown entry"):
        distill(str(tmp_path / "nothing"), MOBILE, None, tmp_path / "d", samples=8)
    with pytest.raises(RecipeError, match="no trunk"):
        blind = {"projected_weight": 1.0, "plain_weight": 0.0, "backbone_weights": "random"}
        preset_files.save(tiny(MOBILE, model=blind), tmp_path / "blind")
        settings = {"distillation.features": 1.0, "model.widths": [4, 4, 4], "model.matching_weight": 0.0}
        distill(str(tmp_path / "blind"), MOBILE, None, tmp_path / "e", overrides={**settings, "training.batch_size": 8})
    assert not any((tmp_path / name).exists() for name in "abcd")


def test_a_teacher_that_changed_or_is_gone_is_told(teacher, tmp_path):
    source, run = tmp_path / "teacher", tmp_path / "run"
    shutil.copytree(teacher, source)
    distill(str(source), "image/dcgan_32", "mnist5k", run, samples=8, overrides=QUICK)
    train(str(source), "mnist5k", source, samples=128)
    with pytest.raises(TrainingError, match=r"distillation\.sha256"):
        distill(str(source), "image/dcgan_32", "mnist5k", run, samples=16, overrides=QUICK)
    with pytest.raises(WeightsError, match="has other weights than when this run was started"):
        train(str(run), "mnist5k", run, samples=16)
    shutil.rmtree(source)
    with pytest.raises(WeightsError, match=r"The teacher of this run cannot be loaded\."):
        train(str(run), "mnist5k", run, samples=16)
    export_generator(run, tmp_path / "exported", ["tflite"], ["none"])


def test_a_teacher_is_the_same_on_two_replicas(teacher):
    found = []
    for strategy in ("none", "mirrored"):
        keras.utils.set_random_seed(0)
        with distribution.scope(distribution.get_strategy(strategy)):
            gan = create("image/dcgan_32", **SMALL, data={"size": 16, "channels": 1}, distillation=both_terms(teacher))
            gan.compile()
        images = np.random.default_rng(0).integers(0, 256, (16, 16, 16, 1)).astype("uint8")
        history = gan.fit(tf.data.Dataset.from_tensor_slices(images).batch(8), verbose=0).history
        found.append(history["distilled_features"][-1])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.parametrize("odd", [{"groups": 2}, {"dilation_rate": 2}, {"strides": 2}])
def test_convolutions_of_unknown_kinds_are_refused(odd):
    def network(width):
        given = keras.Input((8, 8, 4), name="images")
        x = layers.Conv2D(width, 3, padding="same", name="first")(given)
        return keras.Model({"images": given}, layers.Conv2D(4, 3, padding="same", name="last", **odd)(x))

    wide, half = network(8), network(4)
    assert not channel_pruning.fits(wide, half)
    with pytest.raises(WeightsError, match=r"last \(Conv2D\) cannot be refitted"):
        channel_pruning.narrow(wide, half, {"images": np.zeros((4, 8, 8, 4), "float32")})


def test_layers_that_are_added_by_an_operator_keep_together():
    def network(width):
        given = keras.Input((6,), name="latents")
        first = layers.Dense(width, name="first")(given)
        return keras.Model(
            {"latents": given}, layers.Dense(3, name="last")(first + layers.Dense(width, name="second")(given))
        )

    wide, inputs = network(8), {"latents": np.random.default_rng(0).normal(size=(64, 6)).astype("float32")}
    before = made(wide, inputs)
    channel_pruning.sort_channels(wide, [], inputs)
    assert np.allclose(made(wide, inputs), before, atol=1e-5)
    half = network(6)
    channel_pruning.narrow(wide, half, inputs)
    assert np.allclose(made(half, inputs), before, atol=2e-2)  # six numbers are all that there is
