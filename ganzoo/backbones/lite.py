"""EfficientNet-Lite without its top, as a functional model.

Tan and Le 2019, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks",
https://arxiv.org/abs/1905.11946, in the Lite form for phones
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite): no squeeze-and-excite, ReLU6 instead
of swish, a stem and a top of fixed width, a first and a last stage of fixed depth.

Names, order of weights and padding are those of keras_cv's `EfficientNetLiteBackbone`, which trained runs were built
with; building it here needs neither keras_cv nor keras_hub, and takes no seconds for their imports.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import keras

# width and depth of the sizes 0 to 4
SCALING = [(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8)]
_STEM, _TOP = 32, 1280
_DROPPED = 0.2  # the share of images whose last block's branch is dropped in training; less in earlier ones


class _Stage(NamedTuple):
    kernel: int
    repeats: int
    filters: int
    expansion: int
    stride: int


_STAGES = (
    _Stage(3, 1, 16, 1, 1),
    _Stage(3, 2, 24, 6, 2),
    _Stage(5, 2, 40, 6, 2),
    _Stage(3, 3, 80, 6, 2),
    _Stage(5, 3, 112, 6, 1),
    _Stage(5, 4, 192, 6, 2),
    _Stage(3, 1, 320, 6, 1),
)


def efficientnet_lite(size: int, shape: tuple[int, ...]) -> "keras.Model":
    """EfficientNet-Lite0 to Lite4 with random weights: float images (N, H, W, 3) -> (N, H / 32, W / 32, 1280).

    Args:
        size: 0 to 4.
        shape: (H, W, 3); the range of the images is `(p - 127) / 128` for p in 0..255.
    """
    import keras

    width, depth = SCALING[size]
    images = keras.Input(shape)
    x = _padded(images, 3, "stem_conv_pad")
    x = _normalised(_convolution(_STEM, 3, "stem_conv", strides=2, padding="valid")(x), "stem_bn", "stem_activation")
    count = sum(stage.repeats for stage in _STAGES)
    block = 0
    for index, stage in enumerate(_STAGES):
        fixed = index in (0, len(_STAGES) - 1)
        for repeat in range(stage.repeats if fixed else math.ceil(depth * stage.repeats)):
            one = stage._replace(filters=_rounded(stage.filters * width), stride=1 if repeat else stage.stride)
            x = _block(x, one, _DROPPED * block / count, f"block{index + 1}{chr(ord('a') + repeat)}_")
            block += 1
    x = _normalised(_convolution(_TOP, 1, "top_conv")(x), "top_bn", "top_activation")
    return keras.Model(images, x, name=f"efficientnet_lite{size}")


def _block(inputs: Any, stage: _Stage, dropped: float, name: str) -> Any:
    """An inverted residual block: expand, filter each channel, project."""
    from keras import layers

    x = inputs
    if stage.expansion > 1:
        expand = _convolution(stage.expansion * inputs.shape[-1], 1, f"{name}expand_conv")
        x = _normalised(expand(x), f"{name}expand_bn", f"{name}expand_activation")
    if stage.stride > 1:
        x = _padded(x, stage.kernel, f"{name}dwconv_pad")
    depthwise = layers.DepthwiseConv2D(
        stage.kernel,
        strides=stage.stride,
        padding="valid" if stage.stride > 1 else "same",
        use_bias=False,
        depthwise_initializer=_initializer(),
        name=f"{name}dwconv",
    )
    x = _normalised(depthwise(x), f"{name}bn", f"{name}activation")
    x = _normalised(_convolution(stage.filters, 1, f"{name}project_conv")(x), f"{name}project_bn", None)
    if stage.stride == 1 and inputs.shape[-1] == stage.filters:
        if dropped:
            x = layers.Dropout(dropped, noise_shape=(None, 1, 1, 1), name=f"{name}drop")(x)
        x = layers.Add(name=f"{name}add")([x, inputs])
    return x


def _convolution(filters: int, kernel: int, name: str, strides: int = 1, padding: str = "same") -> Any:
    from keras import layers

    return layers.Conv2D(
        filters, kernel, strides, padding, use_bias=False, kernel_initializer=_initializer(), name=name
    )


def _normalised(x: Any, norm: str, activation: str | None) -> Any:
    from keras import layers

    x = layers.BatchNormalization(name=norm)(x)
    return x if activation is None else layers.Activation("relu6", name=activation)(x)


def _padded(x: Any, kernel: int, name: str) -> Any:
    """TensorFlow's padding "same" for a stride of 2, as a layer of its own."""
    from keras import layers

    half = kernel // 2
    pads = tuple((half - 1 + side % 2, half) for side in x.shape[1:3])
    return layers.ZeroPadding2D(pads, name=name)(x)


def _initializer() -> Any:
    import keras

    return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")


def _rounded(filters: float) -> int:
    """A multiple of 8, at most 10% below `filters`."""
    near = max(8, int(filters + 4) // 8 * 8)
    return near + 8 if near < 0.9 * filters else near
