"""The drift against numbers worked out by hand and by loops; summaries of feature maps."""

import numpy as np
import pytest
import tensorflow as tf

from ganzoo.matching import TEMPERATURES, drift, drifting_loss, summaries


def test_by_hand():
    # One feature, two reals at 0 and 4, two generated at 1 and 3: the mean distance is 2. Each is 1 from its real, 3
    # from the far one and 2 from the other generated one.
    real, fake = tf.constant([[[0.0]], [[4.0]]]), tf.constant([[[1.0]], [[3.0]]])
    field, length = drift(real, fake)
    lengths = []
    for t in TEMPERATURES:
        near, far, other = (np.exp(-d / (2 * t)) for d in (1, 3, 2))
        z = near + far + other
        lengths.append(abs(other / z * 4 * far / z - (near + far) / z * 3 * other / z) / 2)
    assert field.numpy().ravel() == pytest.approx([-1.0, 1.0], abs=1e-2)
    assert float(length) == pytest.approx(np.mean(lengths), rel=1e-3)


def _by_loops(real, fake):
    total = np.zeros_like(fake)
    for place in range(fake.shape[1]):
        r, f = real[:, place], fake[:, place]
        unit = np.mean([np.linalg.norm(x - y) for x in f for y in r])
        for temperature in TEMPERATURES:
            field = np.zeros_like(f)
            for i, x in enumerate(f):
                pull = np.array([np.exp(-np.linalg.norm(x - y) / (temperature * unit)) for y in r])
                push = [0 if i == j else np.exp(-np.linalg.norm(x - y) / (temperature * unit)) for j, y in enumerate(f)]
                pull, push = pull / (sum(pull) + sum(push)), np.array(push) / (sum(pull) + sum(push))
                field[i] = push.sum() * (pull @ r) - pull.sum() * (push @ f)
            total[:, place] += field / np.sqrt(np.mean(np.sum(field**2, 1))) / len(TEMPERATURES)
    return total


def test_by_loops():
    rng = np.random.default_rng(0)
    real, fake = rng.normal(0, 1, (7, 3, 5)), rng.normal(0.5, 1.5, (6, 3, 5))
    field, _ = drift(tf.constant(real, tf.float32), tf.constant(fake, tf.float32))
    np.testing.assert_allclose(field, _by_loops(real, fake), atol=1e-4)


def test_the_gradient_is_the_field():
    rng = np.random.default_rng(1)
    real = tf.constant(rng.normal(0, 1, (8, 3, 4)), tf.float32)
    fake = tf.Variable(rng.normal(1, 1, (6, 3, 4)), dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = drifting_loss(real, fake)
    field, length = drift(real, fake)
    assert float(loss) == pytest.approx(float(length))
    np.testing.assert_allclose(tape.gradient(loss, fake), -field / (6 * 3 * 4**0.5), rtol=1e-5)


def test_equal_clouds_stay_and_others_move_to_the_reals():
    rng = np.random.default_rng(2)

    def mean_field(shift):
        pairs = [(rng.normal(0, 1, (16, 1, 4)), rng.normal(shift, 1, (16, 1, 4))) for _ in range(200)]
        return np.mean([drift(*(tf.constant(x, tf.float32) for x in pair))[0].numpy().mean() for pair in pairs])

    assert abs(mean_field(0.0)) < 0.02 and mean_field(1.0) < -0.2 and mean_field(-1.0) > 0.2


def test_samples_follow_the_field_to_every_mode_of_the_data():
    rng = np.random.default_rng(3)
    modes = np.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    real = tf.constant((modes[np.arange(48) % 3] + rng.normal(0, 0.2, (48, 2)))[:, None], tf.float32)
    fake = tf.constant(rng.normal(0, 0.1, (48, 1, 2)), tf.float32)  # collapsed between them
    move = tf.function(lambda samples: samples + 0.05 * drift(real, samples)[0])
    for _ in range(800):
        fake = move(fake)
    apart = np.linalg.norm(fake.numpy()[:, 0, None] - modes[None], axis=-1)
    counts = np.bincount(apart.argmin(1), minlength=3)
    assert apart.min(1).mean() < 0.6 and counts.min() >= 10


@pytest.mark.parametrize("scale", [1.0, 0.0])
def test_samples_all_alike_get_a_finite_gradient(scale):
    real = tf.constant(scale * np.random.default_rng(4).normal(0, 1, (16, 1, 4)), tf.float32)
    collapsed = tf.Variable(tf.zeros((16, 1, 4)))
    with tf.GradientTape() as tape:
        loss = drifting_loss(real, collapsed)
    assert np.isfinite(tape.gradient(loss, collapsed).numpy()).all() and np.isfinite(float(loss))


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
