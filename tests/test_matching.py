"""The energy distance against numbers worked out by hand and by loops; summaries of feature maps."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from ganzoo.matching import energy_distance, summaries


def test_by_hand():
    # |0-1|, |0-3|, |2-1|, |2-3|: mean 1.5; |0-2| = |1-3| = 2; 2 * 1.5 - 2 - 2 = -1.
    real, fake = tf.constant([[[0.0]], [[2.0]]]), tf.constant([[[1.0]], [[3.0]]])
    assert float(energy_distance(real, fake)) == pytest.approx(-1.0, abs=1e-3)


def test_by_loops():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(0, 1, (7, 3, 5)), rng.normal(1, 2, (6, 3, 5))

    def apart(a, b):
        return np.mean([np.sqrt(np.sum((x - y) ** 2) / 5) for x, y in itertools.product(a, b)])

    def inside(a):
        return np.mean([np.sqrt(np.sum((x - y) ** 2) / 5) for x, y in itertools.permutations(a, 2)])

    places = range(3)
    expected = np.mean([2 * apart(real[:, p], fake[:, p]) - inside(real[:, p]) - inside(fake[:, p]) for p in places])
    got = float(energy_distance(tf.constant(real, tf.float32), tf.constant(fake, tf.float32)))
    assert got == pytest.approx(expected, rel=1e-3)


def test_equal_clouds_are_at_zero_on_average_and_others_are_not():
    rng = np.random.default_rng(1)

    def mean(shift):
        pairs = [(rng.normal(0, 1, (16, 1, 8)), rng.normal(shift, 1, (16, 1, 8))) for _ in range(200)]
        return np.mean([float(energy_distance(*(tf.constant(x, tf.float32) for x in pair))) for pair in pairs])

    assert abs(mean(0.0)) < 0.01 and mean(0.5) > 0.05


def test_collapsed_samples_have_a_finite_gradient_that_does_not_favour_them():
    real = tf.constant(np.random.default_rng(2).normal(0, 1, (64, 1, 4)), tf.float32)
    collapsed = tf.Variable(tf.zeros((64, 1, 4)))
    with tf.GradientTape() as tape:
        at_mean = energy_distance(real, collapsed)
    assert np.isfinite(tape.gradient(at_mean, collapsed).numpy()).all()
    spread = tf.constant(np.random.default_rng(3).normal(0, 1, (64, 1, 4)), tf.float32)
    assert float(energy_distance(real, spread)) < float(at_mean) - 0.2


def test_summaries_hold_means_and_deviations_of_cells_and_of_the_whole():
    small, large = (
        np.random.default_rng(4).normal(0, 1, (2, 2, 2, 3)),
        np.random.default_rng(5).normal(0, 1, (2, 8, 8, 3)),
    )
    of_small, whole_small, of_large, whole_large = summaries([tf.constant(m, tf.float32) for m in (small, large)])
    np.testing.assert_allclose(of_small, small.reshape(2, 4, 3), rtol=1e-5)
    assert whole_small.shape == (2, 1, 6) and of_large.shape == (2, 16, 6)
    cell = large[1, 2:4, 4:6]  # row 1, column 2 of the 4x4 grid: place 6
    expected = np.concatenate([cell.mean((0, 1)), np.sqrt(cell.var((0, 1)) + 1e-2)])
    np.testing.assert_allclose(of_large[1, 6], expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(whole_large[0, 0, :3], large[0].mean((0, 1)), rtol=1e-4, atol=1e-6)
