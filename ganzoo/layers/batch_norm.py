"""Batch normalisation: fused on one replica, synchronised over several; saved and exported as Keras' own."""

import keras
import tensorflow as tf

from ganzoo import distribution


@keras.saving.register_keras_serializable(package="ganzoo")
class BatchNorm(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization(synchronized=True)` with the fused kernel where it applies.

    The fused kernel runs for `(batch, height, width, channels)` in training on one replica; its running variance is
    turned into the biased one that Keras keeps, so that both ways give the same numbers.
    """

    def __init__(self, momentum: float = 0.99, epsilon: float = 1e-3, **kwargs):
        kwargs["synchronized"] = True
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=None, mask=None):
        """Normalised inputs, same shape."""
        fused = training and self.trainable and len(inputs.shape) == 4 and self.axis in (-1, 3)
        if not fused or self.compute_dtype != "float32" or distribution.replicas() > 1:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs,
            tf.convert_to_tensor(self.gamma) if self.scale else tf.ones(inputs.shape[-1]),
            tf.convert_to_tensor(self.beta) if self.center else tf.zeros(inputs.shape[-1]),
            epsilon=self.epsilon,
            is_training=True,
        )
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:3]), tf.float32)
        variance = variance * (count - 1.0) / count
        self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1.0 - self.momentum))
        self.moving_variance.assign(self.moving_variance * self.momentum + variance * (1.0 - self.momentum))
        return outputs
