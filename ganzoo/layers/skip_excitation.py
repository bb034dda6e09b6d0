"""Skip-layer excitation (Liu et al. 2021, "Towards Faster and Stabilized GAN Training", arXiv:2101.04775)."""

import keras
from keras import layers


def skip_excitation(high, low, name: str, width: int = 32):
    """`high` (batch, H, W, C) scaled channel by channel by gates computed from `low` (batch, h, w, c).

    The paper pools `low` to 4x4 and convolves it to 1x1; here that convolution is a depthwise and a pointwise one.
    """
    side = low.shape[1]
    if side > 4:
        low = layers.AveragePooling2D(side // 4, name=f"{name}_pool")(low)
    x = layers.DepthwiseConv2D(4, depthwise_initializer=keras.initializers.HeNormal(), name=f"{name}_squeeze")(low)
    x = layers.Conv2D(width, 1, activation="silu", name=f"{name}_hidden")(x)
    gates = layers.Conv2D(high.shape[-1], 1, activation="sigmoid", name=f"{name}_gates")(x)
    return layers.Multiply(name=f"{name}_scale")([high, gates])
