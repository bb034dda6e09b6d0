"""Rotation prediction: Gidaris et al. 2018, "Unsupervised Representation Learning by Predicting Image Rotations",
https://arxiv.org/abs/1803.07728.
"""

import keras
import tensorflow as tf

from ganzoo.core.phases import Batch
from ganzoo.pretraining.task import Task

TURNS = 4


def turned(images: tf.Tensor) -> tf.Tensor:
    """Square images `(n, s, s, c)` turned by 0, 90, 180 and 270 degrees, one after the other: `(4n, s, s, c)`."""
    return tf.concat([tf.image.rot90(images, turns) for turns in range(TURNS)], axis=0)


def rotation_loss(logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cross-entropy and share of right answers for the logits `(4n, 4)` of `turned` images, per image: `(n,)`."""
    labels = tf.repeat(tf.range(TURNS), tf.shape(logits)[0] // TURNS)
    entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    right = tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), labels), tf.float32)
    return tuple(tf.reduce_mean(tf.reshape(values, (TURNS, -1)), axis=0) for values in (entropy, right))


class Rotation(Task):
    """The trunk tells by how many right angles an image was turned."""

    runs_along = True

    def build_parts(self) -> dict[str, keras.Model]:
        """`rotation`: images -> logits of four angles."""
        return {"rotation": self.with_head("rotation", outputs=TURNS)}

    def loss(self, batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The cross-entropy, averaged over the four angles."""
        entropy, right = rotation_loss(self.parts["rotation"](turned(batch.real), training=True))
        return entropy, {"accuracy": right}
