"""Changes of resolution in forms that export to builtin TFLite operators and compile with XLA."""

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable(package="ganzoo")
class Double(layers.Layer):
    """Nearest-neighbour enlargement by two: (batch, H, W, C) -> (batch, 2H, 2W, C).

    Forward it is one resize, which exports to one TFLite operator. Its gradient is the sum over each 2x2 block,
    since XLA has no gradient of that resize.
    """

    def call(self, inputs):
        """Each pixel as a block of four."""
        return _double(inputs)

    def compute_output_shape(self, input_shape):
        """Twice the height and width."""
        batch, height, width, channels = input_shape
        return (batch, 2 * height, 2 * width, channels)


@tf.custom_gradient
def _double(x):
    doubled = tf.raw_ops.ResizeNearestNeighbor(images=x, size=[2 * x.shape[1], 2 * x.shape[2]])
    return doubled, lambda gradient: 4.0 * tf.nn.avg_pool2d(gradient, 2, 2, "VALID")


@keras.saving.register_keras_serializable(package="ganzoo")
class SmoothStart(keras.initializers.Initializer):
    """A depthwise 3x3 kernel that starts as the blur [1 2 1] x [1 2 1] / 16 with a little noise.

    After `Double` this is close to bilinear interpolation, so that a generator does not begin with a pattern of
    two-pixel blocks that it must first unlearn.
    """

    def __init__(self, noise: float = 0.05, seed: int | None = None):
        self.noise, self.seed = noise, seed

    def __call__(self, shape, dtype=None):
        """Shape (3, 3, channels, 1)."""
        side = keras.ops.convert_to_tensor([0.25, 0.5, 0.25], dtype=dtype)
        blur = keras.ops.reshape(keras.ops.outer(side, side), (3, 3, 1, 1))
        return blur + self.noise * keras.random.normal(shape, dtype=dtype, seed=self.seed)

    def get_config(self):
        """Its arguments."""
        return {"noise": self.noise, "seed": self.seed}
