"""Objectives, regularizers, augmentation and spectral normalisation against numbers worked out by hand."""

import numpy as np
import pytest
import tensorflow as tf

from ganzoo.augmentations.diff_augment import augment, colour, cutout, translation
from ganzoo.distribution import GlobalRandom
from ganzoo.errors import RecipeError
from ganzoo.layers.batch_norm import BatchNorm
from ganzoo.layers.spectral_norm import SpectralConv2D, SpectralDense
from ganzoo.losses.adversarial import OBJECTIVES, get_objective
from ganzoo.losses.gradient_penalties import gradient_penalty, r1, r2

LOG2 = np.log(2.0)
# Real logits [0, 2], fake logits [0, -1]; s(1) = 1.3132617, s(-1) = 0.3132617, s(2) = 2.1269280, s(-2) = 0.1269280.
BY_HAND = {
    "minimax": ([2 * LOG2, 0.1269280 + 0.3132617], [-LOG2, -0.3132617]),
    "non_saturating": ([2 * LOG2, 0.1269280 + 0.3132617], [LOG2, 1.3132617]),
    "least_squares": ([0.5, 0.5 + 0.5], [0.5, 2.0]),
    "hinge": ([2.0, 0.0], [0.0, 1.0]),
    "wasserstein": ([0.0, -3.0], [0.0, 1.0]),
    "relativistic": ([LOG2, 0.0485874], [LOG2, 3.0485874]),
}


def random_of(count, seed=0):
    return GlobalRandom(seed, 0, "test", count)


def test_every_objective_has_numbers_here():
    assert set(BY_HAND) == set(OBJECTIVES)


@pytest.mark.parametrize("name", BY_HAND)
def test_objective_by_hand(name):
    real, fake = tf.constant([[0.0], [2.0]]), tf.constant([[0.0], [-1.0]])
    objective = get_objective(name)
    np.testing.assert_allclose(objective.discriminator(real, fake), BY_HAND[name][0], atol=1e-6)
    np.testing.assert_allclose(objective.generator(real, fake), BY_HAND[name][1], atol=1e-6)


def test_positions_are_averaged_and_heads_are_summed():
    hinge = get_objective("hinge")
    maps = tf.constant([1.0, 2.0, 3.0, 6.0], shape=(1, 2, 2, 1))
    heads = [maps, tf.constant([[10.0]])]
    np.testing.assert_allclose(hinge.generator(heads, heads), [-13.0])
    np.testing.assert_allclose(hinge.generator(heads, heads, [1.0, 0.5]), [-8.0])


def test_unknown_objective_names_the_nearest():
    with pytest.raises(RecipeError, match="Did you mean 'hinge'"):
        get_objective("hing")


def test_penalties_of_a_linear_critic():
    weights = np.array([1.0, -2.0, 2.0], "float32")  # norm 3

    def critic(x):
        return tf.linalg.matvec(x, weights)

    x = tf.random.stateless_normal((4, 3), (1, 2))
    np.testing.assert_allclose(r1(critic, x, x, random_of(4)), [4.5] * 4, rtol=1e-6)
    np.testing.assert_allclose(r2(critic, x, x, random_of(4)), [4.5] * 4, rtol=1e-6)
    np.testing.assert_allclose(gradient_penalty(critic, x, x + 1, random_of(4)), [4.0] * 4, rtol=1e-5)


def test_penalties_sum_over_all_axes_of_all_leaves():
    def critic(x):
        return tf.reduce_sum(2 * x["a"], (1, 2, 3)) + tf.reduce_sum(x["b"], 1)

    x = {"a": tf.ones((2, 3, 3, 1)), "b": tf.ones((2, 5))}
    np.testing.assert_allclose(r1(critic, x, x, random_of(2)), [0.5 * (9 * 4 + 5)] * 2)


def test_penalties_refuse_integers():
    with pytest.raises(RecipeError, match="floating inputs; received int32"):
        r1(lambda x: tf.cast(tf.reduce_sum(x, 1), tf.float32), tf.ones((2, 3), tf.int32), None, random_of(2))


def test_gradient_penalty_lies_between_real_and_fake_uniformly():
    # D(x) = x^2 / 2 has gradient x: the penalty (|x| - 1)^2 at real 1, fake 3 tells the ratio e of the mix 3 - 2 e.
    real, fake = tf.ones((4000, 1)), 3 * tf.ones((4000, 1))
    penalty = gradient_penalty(lambda x: tf.reduce_sum(x**2, 1) / 2, real, fake, random_of(4000)).numpy()
    ratio = 1 - np.sqrt(penalty) / 2
    assert ratio.min() >= 0 and ratio.max() <= 1
    np.testing.assert_allclose(np.quantile(ratio, [0.1, 0.25, 0.5, 0.75, 0.9]), [0.1, 0.25, 0.5, 0.75, 0.9], atol=0.03)


def test_translation_moves_images_whole_and_fills_with_zero():
    images = np.zeros((300, 16, 16, 1), "float32")
    images[:, 8, 8] = 1.0
    moved = translation(tf.constant(images), random_of(300)).numpy()
    places = np.argwhere(moved[..., 0] == 1.0)
    assert len(places) == 300 and moved.sum() == 300
    assert set(places[:, 1]) == set(places[:, 2]) == set(range(6, 11))  # an eighth of 16 is 2


def test_cutout_takes_a_square_of_half_the_side():
    cut = cutout(tf.ones((200, 16, 16, 3)), random_of(200)).numpy()
    holes = (cut[..., 0] == 0).sum((1, 2))
    assert holes.max() == 64 and holes.min() >= 16
    assert ((cut == 0) | (cut == 1)).all()


def test_colour_keeps_grey_images_grey_and_draws_for_each_example():
    grey = tf.repeat(tf.random.stateless_uniform((8, 4, 4, 1), (0, 1)), 3, axis=3)
    changed = colour(grey, random_of(8)).numpy()
    np.testing.assert_allclose(changed[..., 0], changed[..., 2], atol=1e-5)
    assert len({round(float(x), 4) for x in changed.mean((1, 2, 3)) - grey.numpy().mean((1, 2, 3))}) == 8


def test_probability_zero_changes_nothing_and_gradients_pass():
    images = tf.random.stateless_uniform((4, 8, 8, 3), (0, 1))
    policy = ("colour", "translation", "cutout")
    np.testing.assert_array_equal(augment(images, policy, random_of(4), 0.0), images)
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(augment(images, policy, random_of(4)) ** 2)
    assert np.abs(tape.gradient(total, images)).max() > 0


@pytest.mark.parametrize("kind", [SpectralDense, SpectralConv2D])
def test_spectral_norm_equals_the_largest_singular_value(kind):
    layer = kind(7, name="d") if kind is SpectralDense else kind(7, 3, name="c")
    x = tf.random.stateless_normal((2, 5) if kind is SpectralDense else (2, 8, 8, 5), (0, 1))
    layer(x)
    # The steps needed depend on the two largest singular values: let them be 2 and 1.
    left, _, right = np.linalg.svd(np.array(layer._kernel).reshape(-1, 7), full_matrices=False)
    layer._kernel.assign(
        (left * np.linspace(1.0, 0.1, len(right)) @ right + left[:, :1] @ right[:1]).reshape(layer._kernel.shape)
    )
    for _ in range(30):
        layer(x, training=True)
    raw = np.array(layer._kernel)
    sigma = np.linalg.svd(raw.reshape(-1, 7), compute_uv=False)[0]
    assert sigma == pytest.approx(2.0, rel=1e-4)
    np.testing.assert_allclose(np.array(layer.kernel), raw / sigma, rtol=1e-3)
    # W / sigma does not change when W is scaled: the gradient along W is zero, if it passes through sigma.
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(x, training=False) ** 3)
    gradient = np.array(tape.gradient(loss, layer._kernel))
    assert abs(np.sum(gradient * raw)) < 1e-3 * np.sqrt(np.sum(gradient**2) * np.sum(raw**2))
    assert np.array_equal(np.array(layer._kernel), raw)


def test_fused_batch_norm_equals_the_plain_one():
    import keras

    x = tf.random.stateless_normal((4, 5, 5, 3), (3, 4)) * 2 + 1
    fused, plain = BatchNorm(momentum=0.9), keras.layers.BatchNormalization(momentum=0.9)
    np.testing.assert_allclose(fused(x, training=True), plain(x, training=True), atol=1e-5)
    np.testing.assert_allclose(np.array(fused.moving_variance), np.array(plain.moving_variance), rtol=1e-5)
    np.testing.assert_allclose(fused(x), plain(x), atol=1e-5)


def test_double_and_its_gradient():
    from ganzoo.layers.resample import Double

    x = tf.reshape(tf.range(8.0), (1, 2, 2, 2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        doubled = Double(name="double")(x)
        total = tf.reduce_sum(doubled * tf.reshape(tf.range(32.0), (1, 4, 4, 2)))
    np.testing.assert_array_equal(doubled, np.repeat(np.repeat(x, 2, 1), 2, 2))
    weights = np.arange(32.0).reshape(1, 2, 2, 2, 2, 2)  # batch, row, place in it, column, place in it, channel
    np.testing.assert_array_equal(tape.gradient(total, x), weights.sum((2, 4)))
