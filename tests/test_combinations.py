"""Objectives, penalties, augmentation, normalisation and precision go together as a recipe wishes."""

import numpy as np
import pytest
import tensorflow as tf

from ganzoo import distribution
from ganzoo.core.phases import Batch
from ganzoo.distribution import GlobalRandom
from ganzoo.errors import DataError, RecipeError, TrainingError
from ganzoo.losses.drifting import drifting_loss, summaries

LAZY_R1 = {"name": "r1", "weight": 1.0, "every": 2}
ALL = ["colour", "translation", "cutout"]
COMBINATIONS = {
    "hinge, spectral, augmented, compiled": (
        "image/dcgan_32",
        {
            "objective": "hinge",
            "model": {"discriminator_norm": "none", "spectral": True},
            "augment": {"policy": ALL},
            "training": {"jit_compile": True},
        },
    ),
    "relativistic, lazy R1 and R2": (
        "image/dcgan_32",
        {
            "objective": "relativistic",
            "model": {"discriminator_norm": "layer"},
            "regularizers": [LAZY_R1, {**LAZY_R1, "name": "r2"}],
        },
    ),
    "least squares, conditional, lazy R1": (
        "image/wgan_gp_32",
        {"objective": "least_squares", "regularizers": [LAZY_R1], "augment": {"policy": ALL, "probability": 0.5}},
    ),
    "projected alone, minimax, gradient penalty on features": (
        "image/projected_mobile_64",
        {
            "objective": "minimax",
            "model": {"plain_weight": 0.0, "output": "tanh"},
            "regularizers": [{"name": "gradient_penalty", "weight": 1.0}],
        },
    ),
    "projected alone as in Sauer et al., hinge, both normalisations, fresh fakes": (
        "image/projected_mobile_64",
        {
            "objective": "hinge",
            "model": {"plain_weight": 0.0, "matching_weight": 0.0, "spectral": True, "heads_norm": "batch"},
            "regularizers": [],
            "augment": {"policy": ALL},
            "training": {"reuse_fakes": False},
        },
    ),
    "spectral, half precision": (
        "image/dcgan_32",
        {
            "model": {"discriminator_norm": "none", "spectral": True},
            "training": {"precision": "mixed_float16"},
        },
    ),
    "spectral, bfloat16": (
        "image/projected_mobile_64",
        {"model": {"spectral": True, "projected_weight": 0.0}, "training": {"precision": "mixed_bfloat16"}},
    ),
    "matched and compiled": (
        "image/projected_mobile_64",
        {"model": {"projected_weight": 0.0}, "training": {"jit_compile": True, "reuse_fakes": True}},
    ),
    "one level of features": (
        "image/projected_mobile_64",
        {"model": {"levels": [8], "matching_levels": [8], "mixing": "none"}},
    ),
    "plain alone, Wasserstein by spectral normalisation": (
        "image/projected_mobile_64",
        {"objective": "wasserstein", "model": {"projected_weight": 0.0, "spectral": True}, "regularizers": []},
    ),
}


COMPILED = [pytest.param(name, marks=pytest.mark.heavy) if "compiled" in name else name for name in COMBINATIONS]


@pytest.mark.parametrize("combination", COMPILED)
def test_combination_trains(combination, tiny, reals):
    name, overrides = COMBINATIONS[combination]
    gan = tiny(name, **overrides)
    before = gan.state()
    logs = gan.fit(reals(gan, 3), verbose=0).history
    after = gan.state()
    assert all(np.isfinite(value).all() for value in after.values())
    for network in gan.networks():
        keys = [key for key in before if key.startswith(f"{network}/")]
        assert any(not np.array_equal(before[key], after[key]) for key in keys)
    assert {penalty.name for penalty in gan.recipe.regularizers} <= set(logs)


@pytest.mark.heavy
def test_lazy_penalties_on_two_replicas_equal_one(tiny, reals):
    def run(strategy):
        with distribution.scope(distribution.get_strategy(strategy)):
            gan = tiny("image/wgan_gp_32", **COMBINATIONS["least squares, conditional, lazy R1"][1])
        gan.fit(reals(gan, 3), verbose=0)
        return gan.state()

    one, two = run("none"), run("mirrored")
    keys = [key for key in one if key.startswith("discriminator/")]
    difference = np.sqrt(sum(np.sum((one[key] - two[key]) ** 2) for key in keys))
    assert difference / np.sqrt(sum(np.sum(one[key] ** 2) for key in keys)) < 1e-4


@pytest.mark.parametrize(("spectral", "norm"), [(False, "none"), (True, "none"), (False, "batch"), (True, "batch")])
def test_heads_have_the_normalisations_that_are_asked_for(spectral, norm, tiny):
    gan = tiny("image/projected_mobile_64", model={"plain_weight": 0.0, "spectral": spectral, "heads_norm": norm})
    heads = [head for head in gan.discriminator.layers if head.name.startswith("head_")]
    assert len(heads) == 2
    for head in heads:
        kinds = [type(layer).__name__ for layer in head.layers]
        activations = kinds.count("LeakyReLU")
        assert kinds.count("BatchNorm") == (activations if norm == "batch" else 0)
        assert kinds.count("SpectralConv2D" if spectral else "Conv2D") == activations + 1


def test_a_lazy_penalty_counts_as_much_as_an_eager_one(tiny, reals):
    # In the first step the lazy penalty is computed, its gradient times 2: as an eager one of twice the weight.
    def discriminator(regularizer):
        gan = tiny("image/dcgan_32", model={"discriminator_norm": "none"}, regularizers=[regularizer])
        gan.fit(reals(gan, 1), verbose=0)
        return gan.state()

    lazy, eager = discriminator(LAZY_R1), discriminator({"name": "r1", "weight": 2.0})
    for key in lazy:
        if key.startswith("discriminator/"):
            np.testing.assert_allclose(lazy[key], eager[key], atol=1e-5)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains_and_exports_in_float32(precision, tiny, reals, tmp_path):
    from ganzoo.export import export_generator

    gan = tiny("image/dcgan_32", training={"precision": precision})
    logs = gan.fit(reals(gan, 3), verbose=0).history
    assert all(np.isfinite(values).all() for values in logs.values())
    assert all(w.dtype == "float32" for w in gan.generator.weights)
    export_generator(gan, tmp_path / "out", ("tflite",), ("none",))
    assert (tmp_path / "out" / "generator_float32.tflite").is_file()


def test_projected_weights_come_in_late(tiny):
    gan = tiny("image/projected_mobile_64", model={"projected_from": 100, "projected_ramp": 100})
    shares = []
    for seen in (0, 100, 150, 500):
        gan.samples_seen.assign(seen)
        plain, *projected = [float(weight) for weight in gan.head_weights()]
        assert plain == 1.0
        shares.append(sum(projected))
    np.testing.assert_allclose(shares, [0.0, 0.0, 0.5, 1.0], atol=1e-6)


def test_matching_weighs_what_the_schedule_says(tiny, reals):
    """The generator's extra loss per unit of its distance, at four places of the schedule."""
    weights = {"matching_weight": 8.0, "matching_end": 2.0, "matching_until": 100, "matching_shift": 0}
    model = {**weights, "output": "tanh", "matching_levels": [1, 2, 4, 8]}
    gan = tiny("image/projected_mobile_64", model=model)
    batch = next(iter(reals(gan, 4)))
    gan.adapt(np.array(batch))
    real = gan.domain.to_unit(batch)
    fake = tf.zeros_like(real)
    looks = [summaries([2.0 * images, *gan.frozen.maps(images).values()]) for images in (real, fake)]
    distance = np.mean([float(drifting_loss(r, f)) for r, f in zip(*looks, strict=True)])
    assert distance > 0.1
    found = []
    for seen in (0, 50, 100, 500):
        gan.samples_seen.assign(seen)
        context = Batch(real, {}, {}, GlobalRandom(0, 1, "test", len(real)))
        found.append(float(gan.generator_terms(fake, context)["matching"]) / distance)
    np.testing.assert_allclose(found, [8.0, 5.0, 2.0, 2.0], rtol=1e-4)


def test_matching_that_has_faded_out_leaves_no_trace(tiny, reals):
    gan = tiny("image/projected_mobile_64", model={"matching_until": 10, "output": "tanh"})
    batch = gan.domain.to_unit(next(iter(reals(gan, 4))))
    gan.samples_seen.assign(10)
    context = Batch(batch, {}, {}, GlobalRandom(0, 1, "test", len(batch)))
    seen = gan.frozen.maps
    gan.frozen.maps = lambda images: {level: m * np.nan for level, m in seen(images).items()}  # not to be looked at
    assert float(gan.generator_terms(batch, context)["matching"]) == 0.0


def test_matching_of_images_alone_needs_no_network(tiny, reals):
    weights = {"projected_weight": 0.0, "matching_weight": 1.0, "matching_levels": [1], "matching_until": 0}
    gan = tiny("image/projected_mobile_64", model=weights)
    logs = gan.fit(reals(gan, 2), verbose=0).history
    assert np.isfinite(logs["matching"]).all() and not gan.pretrained_sources() and not gan.fixed_networks()


def test_samples_are_cut_to_the_range_in_inference_only(tiny):
    gan = tiny("image/projected_mobile_64")
    for weight in gan.generator.get_layer("to_image").weights:
        weight.assign(weight + 3.0)
    inputs = gan.draw_latents(4)
    assert np.abs(gan.generator(inputs, training=False)).max() == 1.0
    assert np.abs(gan.generator(inputs, training=True)).max() > 1.0


@pytest.mark.heavy
def test_floating_samples_fit_as_bytes_do(tiny, reals):
    options = {"matching_shift": 0, "projected_weight": 0.0}
    gan = tiny("image/projected_mobile_64", model=options)
    images = np.concatenate(list(reals(gan, 2).as_numpy_iterator()))
    floats = tf.data.Dataset.from_tensor_slices(images.astype("float32") / 127.5 - 1).batch(8)
    gan.fit(floats, verbose=0)
    bytes_gan = tiny("image/projected_mobile_64", model=options)
    bytes_gan.fit(reals(gan, 2), verbose=0)
    scale, other = (next(layer for layer in one.frozen.standardise.layers if layer.weights) for one in (gan, bytes_gan))
    np.testing.assert_allclose(scale.mean, other.mean, rtol=1e-4, atol=1e-5)


@pytest.mark.heavy
def test_mixed_precision_with_matching(tiny, reals):
    gan = tiny("image/projected_mobile_64", training={"precision": "mixed_bfloat16"})
    logs = gan.fit(reals(gan, 2), verbose=0).history
    assert all(np.isfinite(values).all() for values in logs.values())


def test_wrong_networks_and_batches_are_refused(tiny, reals):
    with pytest.raises(RecipeError, match="Did you mean 'discriminator'"):
        tiny("image/dcgan_32", optimizers={"discrimnator": {"learning_rate": 1e-3}})
    gan = tiny("image/wgan_gp_32")
    whole = next(iter(reals(gan, 1)))
    one = {name: value[:1] for name, value in whole.items()} if isinstance(whole, dict) else whole[:1]
    with pytest.raises(DataError, match="drop_remainder"):
        gan.fit(tf.data.Dataset.from_tensors(one), verbose=0)
    with distribution.scope(distribution.get_strategy("mirrored")), pytest.raises(TrainingError, match="2 replicas"):
        tiny("image/dcgan_32", training={"batch_size": 7})


def test_features_are_standardised_on_the_data(tiny, reals):
    gan = tiny("image/projected_mobile_64")
    batch = next(iter(reals(gan, 4)))
    gan.adapt(np.array(batch))
    for features in gan.frozen.maps(gan.domain.to_unit(batch)).values():
        standard = np.array(features)
        np.testing.assert_allclose(standard.mean((0, 1, 2)), 0.0, atol=1e-3)
        deviations = standard.std((0, 1, 2))
        assert np.median(np.abs(deviations - 1)) < 1e-3


@pytest.mark.parametrize("jit", [False, True])
def test_reused_fakes_give_the_gradient_of_the_discriminators_own(jit, tiny, reals):
    sgd = {"name": "sgd", "learning_rate": 0.1}
    gan = tiny(
        "image/dcgan_32",
        training={"reuse_fakes": True, "jit_compile": jit},
        optimizers={"generator": sgd, "discriminator": sgd},
    )
    data = reals(gan, 1)
    before = gan.state()
    batch = gan._part(gan._unpack(next(iter(data)))[0], {}, 1, 0, "discriminator")
    gan.fit(data, verbose=0)
    after = gan.state()
    # Its gradient by hand: the generator of before, the discriminator of after, the latents of the latter's step.
    gan.load_state({name: (before if name.startswith("generator/") else after)[name] for name in before})
    weights = gan.generator.trainable_variables
    with tf.GradientTape() as tape:
        fake = gan.generator(batch.latents, training=True)
        logits = gan.discriminator({"samples": fake}, training=True)
        loss = tf.reduce_mean(tf.math.softplus(-logits))
    stepped = {v.path: np.array(v) - 0.1 * g for v, g in zip(weights, tape.gradient(loss, weights), strict=True)}
    gan.load_state(after)
    for variable in weights:
        np.testing.assert_allclose(variable, stepped[variable.path], atol=1e-6)
    assert any(np.abs(after[name] - before[name]).max() > 1e-4 for name in after if name.startswith("generator/"))


def test_reused_fakes_are_made_once(tiny, reals):
    made = []
    for reuse in (False, True):
        gan = tiny("image/wgan_gp_32", training={"reuse_fakes": reuse})
        forward, calls = gan.make, []
        gan.make = lambda inputs, forward=forward, calls=calls: calls.append(1) or forward(inputs)
        gan.compile(run_eagerly=True)
        gan.fit(reals(gan, 1), verbose=0)
        made.append(len(calls))
    assert made == [3, 2]  # two discriminator steps


def test_a_lazy_penalty_is_logged_as_it_counts(tiny, reals):
    still = {"name": "sgd", "learning_rate": 1e-12}
    histories = [
        tiny(
            "image/dcgan_32",
            model={"discriminator_norm": "none"},
            regularizers=[{"name": "r1", "weight": 1.0, "every": every}],
            optimizers={"generator": still, "discriminator": still},
        )
        for every in (1, 4)
    ]
    data = reals(histories[0], 1)
    always, lazily = ([gan.fit(data, verbose=0).history["r1"][0] for _ in range(4)] for gan in histories)
    np.testing.assert_allclose(lazily[0], 4 * always[0], rtol=1e-4)
    assert lazily[1:] == [0, 0, 0] and min(always) > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"matching_levels": []}, "matching_levels"),
        ({"levels": [8, 8]}, "each level once"),
        ({"matching_shift": -1}, "matching_shift"),
        ({"matching_shift": 16}, r"less than data\.size = 16"),
        ({"matching_end": -3.0}, "matching_end"),
        ({"matching_end": 1.0, "matching_until": 0}, "matching_until samples, which is 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message, tiny):
    with pytest.raises(RecipeError, match=message):
        tiny("image/projected_mobile_64", model=options)


def test_keys_of_an_absent_branch_are_told(tiny, caplog):
    tiny("image/projected_mobile_64", model={"projected_weight": 0.0, "levels": [8]})
    assert "have no effect while model.projected_weight is 0: model.levels, model.mixing_width." in caplog.text


@pytest.mark.heavy
def test_features_are_measured_once(tiny, reals):
    gan = tiny("image/projected_mobile_64", model={"projected_weight": 0.0})
    seen = []
    gan.adapt = seen.append
    gan.look_at(reals(gan, 1))
    gan.fit(reals(gan, 1), verbose=0)
    gan.fit(reals(gan, 1), verbose=0)
    assert len(seen) == 1


def test_memory_that_ran_out_is_told_with_the_batch_size_to_try(tiny, reals):
    gan = tiny("image/dcgan_32")
    # The allocator really refuses this: 8.6e14 bytes.
    gan.generator_terms = lambda fake, batch: {
        "huge": tf.reduce_sum(tf.random.normal([60_000 + tf.shape(fake)[0]] * 3))
    }
    with pytest.raises(TrainingError, match=r"training\.batch_size = 8. Try --set training\.batch_size=4"):
        gan.fit(reals(gan, 1), verbose=0)


def test_the_shipped_recipe_names_its_teacher_to_the_scorecard(tiny):
    gan = tiny("image/projected_mobile_64", model={"projected_weight": 0.0})
    assert [source["backbone"] for source in gan.pretrained_sources()] == ["efficientnet_lite0"]
    assert gan.pretrained_sources()[0]["trained_on"] == "imagenet"
