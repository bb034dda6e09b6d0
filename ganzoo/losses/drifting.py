"""Matching of distributions in a fixed feature space: a generator's loss that needs no discriminator.

Generated features drift: each is pulled towards the real ones near it and pushed away from the generated ones near it,
by a field that is zero on average where the two clouds are drawn alike. It is the field of Deng et al. 2026,
"Generative Modeling via Drifting" (https://arxiv.org/abs/2602.04770), here without their second softmax over the
generated samples and their lowest temperature, with scales of its own for each place of a map, and as a loss beside a
discriminator's. Over features of a pretrained network it teaches shapes and colours early, when an untrained
discriminator knows neither. Distances in wide feature spaces are nearly equal, so what is near must count for more: a
loss over all pairs alike, such as the energy distance, is little more than a matching of means there.
"""

from collections.abc import Sequence

import tensorflow as tf

TEMPERATURES = (0.05, 0.2)  # shares of the mean distance: the lower, the nearer are the samples that count
_GRID = 4
_IN_VARIANCES = 1e-2  # added beneath the square root, whose gradient is then finite at zero
_SMALL = 1e-12  # the least mean distance


def summaries(maps: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """What is compared of feature maps `(n, h, w, c)`: a list of `(n, places, width)`.

    Each map gives the channels' means and deviations in the cells of a 4x4 grid (3x3 or less where 4 divides no side;
    the values themselves where a cell is one position), and, where there are several cells, those of the whole map.
    """
    found = []
    for features in maps:
        features = tf.cast(features, tf.float32)
        count = tf.shape(features)[0]
        height, width, channels = features.shape[1:]
        rows, columns = (max(n for n in range(1, _GRID + 1) if side % n == 0) for side in (height, width))
        cells = tf.reshape(features, (count, rows, height // rows, columns, width // columns, channels))
        parts = _moments(cells, (2, 4)) if height > rows or width > columns else features
        found.append(tf.reshape(parts, (count, rows * columns, parts.shape[-1])))
        if rows * columns > 1:
            found.append(_moments(features, (1, 2))[:, tf.newaxis])
    return found


def _moments(values: tf.Tensor, axes: tuple[int, int]) -> tf.Tensor:
    mean, variance = tf.nn.moments(values, axes)
    return tf.concat([mean, tf.sqrt(variance + _IN_VARIANCES)], axis=-1)


def drift(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """The field that moves generated samples, at each of their features: `(m, places, width)`, of length about 1.

    All other samples share one softmax over -|f - x| / (temperature * the mean |f - r|). With its weights a, real r and
    generated g: V = (sum of a_g) * (sum of a_r r) - (sum of a_r) * (sum of a_g g). The fields of several temperatures
    are averaged, each divided by its root mean square length over the samples of a place.

    Args:
        real: `(n, places, width)`.
        fake: `(m, places, width)`, two samples or more.
    """
    real, fake = (tf.transpose(tf.cast(x, tf.float32), (1, 0, 2)) for x in (real, fake))
    to_real, to_fake = _distances(fake, real), _distances(fake, fake)
    unit = tf.maximum(tf.reduce_mean(to_real, axis=(1, 2), keepdims=True), _SMALL)
    to_fake += 1e9 * unit * tf.eye(tf.shape(fake)[1])  # a sample does not push itself
    fields = []
    for temperature in TEMPERATURES:
        pull, push = -to_real / (temperature * unit), -to_fake / (temperature * unit)
        # V is (sum of a_r) (sum of a_g) times the difference of two means. Those sums may be too small for a float
        # where all samples of a kind are far away; only their relation to the other samples' sums counts.
        sums = [tf.reduce_logsumexp(logits, axis=-1, keepdims=True) for logits in (pull, push)]
        size = tf.add_n(sums) - 2.0 * tf.reduce_logsumexp(tf.concat(sums, axis=-1), axis=-1, keepdims=True)
        size = tf.exp(size - tf.reduce_max(size, axis=1, keepdims=True))
        field = size * (tf.matmul(tf.nn.softmax(pull), real) - tf.matmul(tf.nn.softmax(push), fake))
        length = tf.sqrt(tf.reduce_mean(tf.reduce_sum(field**2, -1, keepdims=True), 1, keepdims=True))
        fields.append(field / tf.maximum(length, 1e-6 * unit))
    return tf.transpose(tf.add_n(fields) / len(fields), (1, 0, 2))


def energy_distance(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """(2 E|f - r| - E|r - r'| - E|f - f'|) / E|f - r|, averaged over places: a scalar, 0 on average for equal clouds.

    Székely and Rizzo 2013, the unbiased estimate. It is 1 or more where one cloud is a point far from the other.

    Args:
        real: `(n, places, width)`, two samples or more.
        fake: `(m, places, width)`, two samples or more.
    """
    real, fake = (tf.transpose(tf.cast(x, tf.float32), (1, 0, 2)) for x in (real, fake))
    between = tf.maximum(tf.reduce_mean(_distances(real, fake), axis=(1, 2)), _SMALL)
    return tf.reduce_mean(2.0 - (_mean_of_pairs(real) + _mean_of_pairs(fake)) / between)


def drifting_loss(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """A scalar whose gradient moves `fake` along `drift`, and whose value is the energy distance.

    The gradient is that of -f V, averaged over samples and places and divided by the square root of the width; the
    field itself counts as constant. Its size does not fall as the clouds come near: lower the weight instead.

    Args:
        real: `(n, places, width)`, two samples or more.
        fake: `(m, places, width)`, two samples or more.
    """
    real, fake = tf.cast(real, tf.float32), tf.cast(fake, tf.float32)
    there = tf.stop_gradient(fake)
    moved = -tf.reduce_mean(tf.reduce_sum(fake * drift(real, there), -1)) / float(fake.shape[-1]) ** 0.5
    return energy_distance(real, there) + moved - tf.stop_gradient(moved)


def _mean_of_pairs(samples: tf.Tensor) -> tf.Tensor:
    """The mean distance of two different samples, at each place."""
    count = tf.shape(samples)[1]
    apart = _distances(samples, samples) * (1.0 - tf.eye(count))
    return tf.reduce_sum(apart, axis=(1, 2)) / tf.cast(tf.maximum(count * (count - 1), 1), tf.float32)


def _distances(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """`(places, n, width)`, `(places, m, width)` -> `(places, n, m)`."""
    squares = tf.reduce_sum(a * a, -1)[:, :, tf.newaxis] + tf.reduce_sum(b * b, -1)[:, tf.newaxis, :]
    return tf.sqrt(tf.maximum(squares - 2.0 * tf.matmul(a, b, transpose_b=True), 0.0))
