"""Spectral normalisation as a function of the weights (Miyato et al. 2018, arXiv:1802.05957).

W_sn = W / sigma(W), sigma(W) = u^T W v, with u and v from one step of power iteration in each training call. The
gradient passes through sigma; the weight itself is never written to. W is viewed as `(inputs, outputs)`.
"""

import keras
import tensorflow as tf

WARM_START = 15


def _power_iteration(matrix: tf.Tensor, u: tf.Tensor, steps: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The left vector v `(1, inputs)` and the right vector u `(1, outputs)` after some steps."""
    for _ in range(steps):
        v = tf.math.l2_normalize(tf.matmul(u, matrix, transpose_b=True))
        u = tf.math.l2_normalize(tf.matmul(v, matrix))
    return v, u


class _Spectral:
    """Mixed into a layer with a `kernel`: the layer then computes with W / sigma(W)."""

    def build(self, input_shape):
        super().build(input_shape)
        outputs = self._kernel.shape[-1]
        start = keras.random.normal((1, outputs), seed=outputs)
        self.u = self.add_weight(
            name="u",
            shape=(1, outputs),
            initializer="zeros",
            trainable=False,
            autocast=False,  # float32 whatever the precision
            aggregation="only_first_replica",
        )
        _, u = _power_iteration(self._matrix(), tf.math.l2_normalize(start), WARM_START)
        self.u.assign(u)

    def call(self, inputs, training=None):
        if training and self.trainable:
            _, u = _power_iteration(tf.stop_gradient(self._matrix()), tf.convert_to_tensor(self.u), 1)
            self.u.assign(u)
        return super().call(inputs)

    @property
    def kernel(self):
        """W / sigma(W)."""
        if not hasattr(self, "u"):
            return self._kernel
        matrix = self._matrix()
        v, u = _power_iteration(tf.stop_gradient(matrix), tf.stop_gradient(tf.convert_to_tensor(self.u)), 1)
        sigma = tf.matmul(tf.matmul(v, matrix), u, transpose_b=True)[0, 0]
        kernel = tf.convert_to_tensor(self._kernel)
        return kernel / tf.cast(sigma, kernel.dtype)

    def save_own_variables(self, store):
        """W itself and u; the layer that this is mixed into would save W / sigma(W) alone."""
        keras.layers.Layer.save_own_variables(self, store)

    def load_own_variables(self, store):
        """What `save_own_variables` saved."""
        keras.layers.Layer.load_own_variables(self, store)

    def _matrix(self) -> tf.Tensor:
        kernel = tf.cast(tf.convert_to_tensor(self._kernel), tf.float32)
        return tf.reshape(kernel, (-1, kernel.shape[-1]))


@keras.saving.register_keras_serializable(package="ganzoo")
class SpectralConv2D(_Spectral, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a spectrally normalised kernel."""


@keras.saving.register_keras_serializable(package="ganzoo")
class SpectralDense(_Spectral, keras.layers.Dense):
    """`keras.layers.Dense` with a spectrally normalised kernel."""
