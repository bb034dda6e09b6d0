"""The drift against numbers worked out by hand and by loops; summaries of feature maps."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from ganzoo.losses.drifting import TEMPERATURES, drift, drifting_loss, energy_distance, summaries


def test_by_hand():
    # One feature, two reals at 0 and 4, two generated at 1 and 3: the mean distance is 2. Each is 1 from its real, 3
    # from the far one and 2 from the other generated one.
    real, fake = tf.constant([[[0.0]], [[4.0]]]), tf.constant([[[1.0]], [[3.0]]])
    # Two samples of one field each, equal and opposite: their length is 1 at every temperature.
    assert drift(real, fake).numpy().ravel() == pytest.approx([-1.0, 1.0], abs=1e-4)
    # |f - r|: 1, 3, 3, 1; the reals are 4 apart, the generated ones 2: (2 * 2 - 4 - 2) / 2.
    assert float(energy_distance(real, fake)) == pytest.approx(-1.0, abs=1e-4)


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
    field = drift(tf.constant(real, tf.float32), tf.constant(fake, tf.float32))
    np.testing.assert_allclose(field, _by_loops(real, fake), atol=1e-4)


def test_the_gradient_is_the_field():
    rng = np.random.default_rng(1)
    real = tf.constant(rng.normal(0, 1, (8, 3, 4)), tf.float32)
    fake = tf.Variable(rng.normal(1, 1, (6, 3, 4)), dtype=tf.float32)
    with tf.GradientTape() as tape:
        loss = drifting_loss(real, fake)
    np.testing.assert_allclose(tape.gradient(loss, fake), -drift(real, fake) / (6 * 3 * 4**0.5), rtol=1e-5)


def test_the_value_tells_how_far_apart_the_clouds_are():
    rng = np.random.default_rng(5)
    real = tf.constant(rng.normal(0, 1, (64, 1, 8)), tf.float32)
    clouds = [rng.normal(0, 1, (64, 1, 8)), rng.normal(0.5, 1, (64, 1, 8)), rng.normal(3, 1, (64, 1, 8))]
    alike, near, far = (float(drifting_loss(real, tf.constant(cloud, tf.float32))) for cloud in clouds)
    collapsed = float(drifting_loss(real, tf.constant(0.01 * clouds[0], tf.float32)))
    assert abs(alike) < 0.02 and 0.05 < near < far and collapsed > 0.4


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_the_field_is_of_length_one_at_every_scale_even_of_a_collapsed_cloud(scale):
    rng = np.random.default_rng(6)
    real = tf.constant(scale * rng.normal(0, 1, (32, 2, 112)), tf.float32)
    for spread in (1.0, 0.1, 1e-3):
        fake = tf.constant(scale * spread * rng.normal(0, 1, (32, 2, 112)), tf.float32)
        length = np.sqrt(np.mean(np.sum(drift(real, fake).numpy() ** 2, -1)))
        assert 0.5 < length <= 1.0 + 1e-4


def test_energy_distance_by_loops():
    rng = np.random.default_rng(7)
    real, fake = rng.normal(0, 1, (7, 3, 5)), rng.normal(1, 2, (6, 3, 5))

    def at(place):
        r, f = real[:, place], fake[:, place]
        between = np.mean([np.linalg.norm(x - y) for x, y in itertools.product(r, f)])
        within = [np.mean([np.linalg.norm(x - y) for x, y in itertools.permutations(a, 2)]) for a in (r, f)]
        return (2 * between - sum(within)) / between

    got = float(energy_distance(tf.constant(real, tf.float32), tf.constant(fake, tf.float32)))
    assert got == pytest.approx(np.mean([at(place) for place in range(3)]), rel=1e-3)


def test_equal_clouds_stay_and_others_move_to_the_reals():
    rng = np.random.default_rng(2)

    def mean_field(shift):
        pairs = [(rng.normal(0, 1, (16, 1, 4)), rng.normal(shift, 1, (16, 1, 4))) for _ in range(200)]
        return np.mean([drift(*(tf.constant(x, tf.float32) for x in pair)).numpy().mean() for pair in pairs])

    assert abs(mean_field(0.0)) < 0.02 and mean_field(1.0) < -0.2 and mean_field(-1.0) > 0.2


def test_samples_follow_the_field_to_every_mode_of_the_data():
    rng = np.random.default_rng(3)
    modes = np.array([[-3.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    real = tf.constant((modes[np.arange(48) % 3] + rng.normal(0, 0.2, (48, 2)))[:, None], tf.float32)
    fake = tf.constant(rng.normal(0, 0.1, (48, 1, 2)), tf.float32)  # collapsed between them
    move = tf.function(lambda samples: samples + 0.05 * drift(real, samples))
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


def test_a_map_of_one_cell_is_summarised_once():
    maps = [tf.random.stateless_normal((2, side, side, 3), (0, side)) for side in (1, 5)]
    point, field = summaries(maps)
    np.testing.assert_allclose(point, tf.reshape(maps[0], (2, 1, 3)))
    assert field.shape == (2, 1, 6)
