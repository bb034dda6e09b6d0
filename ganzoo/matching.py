"""Matching of distributions in a fixed feature space: a generator's loss that needs no discriminator.

Two clouds of features, real and generated, are compared by the energy distance (Székely and Rizzo 2013), an unbiased
estimate of which costs one batch. It pulls each generated sample towards the reals and pushes generated samples apart,
so a collapse onto few samples is never its minimum. Over features of a pretrained network, as Dos Santos et al. 2019
match them (https://arxiv.org/abs/1904.02762, there by means and variances), it teaches shapes and colours early, when
an untrained discriminator still knows neither.
"""

from collections.abc import Sequence

import tensorflow as tf

_GRID = 4
# Added beneath square roots, whose gradient is then finite at zero.
_IN_DISTANCES = 1e-4
_IN_VARIANCES = 1e-2


def summaries(maps: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """What is compared of feature maps `(n, h, w, c)`: a list of `(n, places, width)`.

    Each map gives two: the channels' means and deviations in the cells of a 4x4 grid (3x3 or less where 4 divides no
    side; the values themselves where a cell is one position), and those of the whole map.
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
        found.append(_moments(features, (1, 2))[:, tf.newaxis])
    return found


def _moments(values: tf.Tensor, axes: tuple[int, int]) -> tf.Tensor:
    mean, variance = tf.nn.moments(values, axes)
    return tf.concat([mean, tf.sqrt(variance + _IN_VARIANCES)], axis=-1)


def energy_distance(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """2 E|r - f| - E|r - r'| - E|f - f'|, unbiased, averaged over places: a scalar, about zero for equal clouds.

    Distances are Euclidean, divided by the square root of the width.

    Args:
        real: `(n, places, width)`, two samples or more.
        fake: likewise.
    """
    return tf.reduce_mean(
        2.0 * tf.reduce_mean(_distances(real, fake), axis=(1, 2)) - _mean_of_pairs(real) - _mean_of_pairs(fake)
    )


def _mean_of_pairs(samples: tf.Tensor) -> tf.Tensor:
    """The mean distance of two different samples, at each place."""
    count = tf.shape(samples)[0]
    apart = _distances(samples, samples) * (1.0 - tf.eye(count))
    return tf.reduce_sum(apart, axis=(1, 2)) / tf.cast(tf.maximum(count * (count - 1), 1), tf.float32)


def _distances(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """`(n, places, width)`, `(m, places, width)` -> `(places, n, m)`."""
    scale = tf.cast(a.shape[-1], tf.float32) ** -0.5
    a, b = (tf.transpose(tf.cast(x, tf.float32), (1, 0, 2)) * scale for x in (a, b))
    squares = tf.reduce_sum(a * a, -1)[:, :, tf.newaxis] + tf.reduce_sum(b * b, -1)[:, tf.newaxis, :]
    return tf.sqrt(tf.maximum(squares - 2.0 * tf.matmul(a, b, transpose_b=True), 0.0) + _IN_DISTANCES)
