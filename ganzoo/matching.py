"""Matching of distributions in a fixed feature space: a generator's loss that needs no discriminator.

Generated features drift: each is pulled towards the real ones near it and pushed away from the generated ones near it,
by a field that vanishes where the two clouds are equal (Deng et al. 2026, "Generative Modeling via Drifting",
https://arxiv.org/abs/2602.04770; distances, normalised lengths and temperatures are theirs, their second softmax over
the generated samples is left out). Over features of a pretrained network it teaches shapes and colours early, when an
untrained discriminator still knows neither. Distances in wide feature spaces are nearly equal, so what is near must
count for more: a loss over all pairs alike, such as the energy distance, is little more than a matching of means there.
"""

from collections.abc import Sequence

import tensorflow as tf

TEMPERATURES = (0.05, 0.2)  # shares of the mean distance: the lower, the nearer are the samples that count
_GRID = 4
_IN_VARIANCES = 1e-2  # added beneath the square root, whose gradient is then finite at zero
_IN_LENGTHS = 1e-6  # added to what is divided by


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


def drift(real: tf.Tensor, fake: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The field that moves generated samples, at each of their features.

    All other samples share one softmax over -|f - x| / (temperature * the mean |f - r|). With its weights a, real r and
    generated g: V = (sum of a_g) * (sum of a_r r) - (sum of a_r) * (sum of a_g g). The fields of several temperatures
    are averaged, each divided by its root mean square length over the samples of a place.

    Args:
        real: `(n, places, width)`.
        fake: `(m, places, width)`, two samples or more.

    Returns:
        The field `(m, places, width)`, of length about 1, and, a scalar, its mean length before the division in units
        of the mean |f - r|: near zero where real and generated samples are alike.
    """
    real, fake = (tf.transpose(tf.cast(x, tf.float32), (1, 0, 2)) for x in (real, fake))
    to_real, to_fake = _distances(fake, real), _distances(fake, fake)
    unit = tf.reduce_mean(to_real, axis=(1, 2), keepdims=True) + _IN_LENGTHS
    itself = 1e9 * tf.eye(tf.shape(fake)[1])
    fields, lengths = [], []
    for temperature in TEMPERATURES:
        logits = tf.concat([-to_real / (temperature * unit), -to_fake / (temperature * unit) - itself], axis=-1)
        pull, push = tf.split(tf.nn.softmax(logits), [tf.shape(real)[1], tf.shape(fake)[1]], axis=-1)
        field = tf.reduce_sum(push, -1, keepdims=True) * tf.matmul(pull, real)
        field -= tf.reduce_sum(pull, -1, keepdims=True) * tf.matmul(push, fake)
        length = tf.sqrt(tf.reduce_mean(tf.reduce_sum(field**2, -1, keepdims=True), 1, keepdims=True)) + _IN_LENGTHS
        fields.append(field / length)
        lengths.append(tf.reduce_mean(length / unit))
    return tf.transpose(tf.add_n(fields) / len(fields), (1, 0, 2)), tf.add_n(lengths) / len(lengths)


def drifting_loss(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """A scalar whose gradient moves `fake` along `drift`, and whose value is the drift's mean length.

    The gradient is that of -f V, averaged over samples and places and divided by the square root of the width; the
    field itself counts as constant. Its size does not fall as the clouds come near: lower the weight instead.

    Args:
        real: `(n, places, width)`.
        fake: `(m, places, width)`, two samples or more.
    """
    field, length = drift(tf.stop_gradient(real), tf.stop_gradient(fake))
    fake = tf.cast(fake, tf.float32)
    moved = -tf.reduce_mean(tf.reduce_sum(fake * field, -1)) / float(fake.shape[-1]) ** 0.5
    return length + moved - tf.stop_gradient(moved)


def _distances(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """`(places, n, width)`, `(places, m, width)` -> `(places, n, m)`."""
    squares = tf.reduce_sum(a * a, -1)[:, :, tf.newaxis] + tf.reduce_sum(b * b, -1)[:, tf.newaxis, :]
    return tf.sqrt(tf.maximum(squares - 2.0 * tf.matmul(a, b, transpose_b=True), 0.0))
