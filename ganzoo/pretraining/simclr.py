"""SimCLR: Chen et al. 2020, "A Simple Framework for Contrastive Learning of Visual Representations",
https://arxiv.org/abs/2002.05709.
"""

import keras
import tensorflow as tf

from ganzoo import distribution
from ganzoo.augmentations.diff_augment import augment
from ganzoo.core.phases import Batch
from ganzoo.distribution import GlobalRandom
from ganzoo.pretraining.task import Task
from ganzoo.recipes.schema import Fraction, PositiveFloat, PositiveInt, Section


def contrastive_loss(first: tf.Tensor, second: tf.Tensor, temperature: float) -> tf.Tensor:
    """NT-Xent of two views of the same samples, `(n, width)` each: per sample `(n,)`, the mean of its two views.

    -log(exp(s(i, j) / t) / sum over k != i of exp(s(i, k) / t)), s the cosine, j the other view of i, k over all views
    of the global batch.
    """
    first, second = (tf.math.l2_normalize(tf.cast(view, tf.float32), axis=-1) for view in (first, second))
    all_first, all_second = distribution.gather(first), distribution.gather(second)
    everything = tf.concat([all_first, all_second], axis=0)
    count, place = tf.shape(first)[0], distribution.replica_index() * tf.shape(first)[0]
    others = tf.shape(all_first)[0]
    losses = []
    for views, own, partner in ((first, 0, others), (second, others, 0)):
        logits = tf.matmul(views, everything, transpose_b=True) / temperature
        indices = tf.range(count) + place
        logits -= 1e9 * tf.one_hot(indices + own, 2 * others)
        losses.append(tf.nn.sparse_softmax_cross_entropy_with_logits(indices + partner, logits))
    return tf.add_n(losses) / 2.0


class SimCLR(Task):
    """Two views of an image, each cropped and recoloured, are closer to each other than to those of all others."""

    runs_along = True

    class Options(Section):
        """The loss' temperature, the head's widths, and how views differ: least crop (share of a side), colours."""

        temperature: PositiveFloat = 0.2
        hidden: PositiveInt = 256
        projection: PositiveInt = 128
        smallest_crop: Fraction = 0.5
        colours: bool = True

    def build_parts(self) -> dict[str, keras.Model]:
        """`projection`: images -> projections."""
        if self.batch_size < 2:
            raise self.refuse(
                "it compares an image with others of its batch: training.batch_size must be 2 or more, divided by the "
                "stride where it runs beside a GAN."
            )
        head = self.with_head("projection", self.settings.hidden, outputs=self.settings.projection, pool=True)
        return {"projection": head}

    def loss(self, batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """NT-Xent over the global batch."""
        views = [self._view(batch.real, batch.random.child(name)) for name in ("first", "second")]
        both = self.parts["projection"](tf.concat(views, axis=0), training=True)
        return contrastive_loss(*tf.split(both, 2), self.settings.temperature), {}

    def _view(self, images: tf.Tensor, random: GlobalRandom) -> tf.Tensor:
        side = random.uniform((), "side", self.settings.smallest_crop, 1.0)
        height, width = images.shape[1:3]
        rows = _enlarging(random.uniform((), "top") * (1.0 - side), side, height)
        columns = _enlarging(random.uniform((), "left") * (1.0 - side), side, width)
        # Products of matrices compile with XLA, which `tf.image.crop_and_resize` does not.
        views = tf.einsum("byh,bhwc->bywc", rows, images)
        views = tf.einsum("bxw,bywc->byxc", columns, views)
        return augment(views, ("colour",), random) if self.settings.colours else views


def _enlarging(start: tf.Tensor, share: tf.Tensor, size: int) -> tf.Tensor:
    """Bilinear interpolation of a part of a line, `(batch, size, size)`: from `start`, so large a `share` of it."""
    places = (tf.range(size, dtype=tf.float32) + 0.5) / size
    at = (start[:, None] + share[:, None] * places[None]) * size - 0.5
    at = tf.clip_by_value(at, 0.0, size - 1.0)
    return tf.nn.relu(1.0 - tf.abs(at[:, :, None] - tf.range(size, dtype=tf.float32)))
