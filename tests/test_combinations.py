"""Objectives, penalties, augmentation, normalisation and precision go together as a recipe wishes."""

import numpy as np
import pytest
import tensorflow as tf

from ganzoo import distribution
from ganzoo.distribution import GlobalRandom
from ganzoo.gan import Batch
from ganzoo.matching import energy_distance, summaries

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
    "plain alone, Wasserstein by spectral normalisation": (
        "image/projected_mobile_64",
        {"objective": "wasserstein", "model": {"projected_weight": 0.0, "spectral": True}, "regularizers": []},
    ),
}


@pytest.mark.parametrize("combination", COMBINATIONS)
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
    """The generator's extra loss per unit of energy distance, at four places of the schedule."""
    weights = {"matching_weight": 8.0, "matching_end": 2.0, "matching_until": 100, "matching_shift": 0}
    gan = tiny("image/projected_mobile_64", model={**weights, "output": "tanh"})
    batch = next(iter(reals(gan, 4)))
    gan.adapt(np.array(batch))
    real = gan.domain.to_unit(batch)
    fake = tf.zeros_like(real)
    looks = [summaries([2.0 * pictures, *gan.features(pictures).values()]) for pictures in (real, fake)]
    distance = np.mean([float(energy_distance(r, f)) for r, f in zip(*looks, strict=True)])
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
    assert float(gan.generator_terms(batch, context)["matching"]) == 0.0


def test_features_are_standardised_on_the_data(tiny, reals):
    gan = tiny("image/projected_mobile_64")
    batch = next(iter(reals(gan, 4)))
    gan.adapt(np.array(batch))
    for features in gan.features(gan.domain.to_unit(batch)).values():
        standard = np.array(features)
        np.testing.assert_allclose(standard.mean((0, 1, 2)), 0.0, atol=1e-3)
        deviations = standard.std((0, 1, 2))
        assert np.median(np.abs(deviations - 1)) < 1e-3
