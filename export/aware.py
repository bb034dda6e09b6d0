"""Fine-tuning with simulated quantisation, for generators that 8-bit activations ruin.

The generator learns to bear the rounding of weights and activations, which is put into its forward pass (Jacob et al.
2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
https://arxiv.org/abs/1712.05877): weights are rounded to 8 bits for each output channel, the outputs of layers to 8
bits between the least and the greatest value that they had over many latents. Gradients pass the rounding as if it
were not there: they are taken at the rounded weights and applied to exact ones.

loss = mean (G_8bit(z) - G(z))^2 / mean (G(z) - mean G)^2 + critic * (what the recipe's objective makes of D(G_8bit(z)))

D is the trained discriminator, which stays as it is; neither reals nor labels are needed. Normalisations are in
inference mode: their scales belong to the channels of the convolution before them, so that rounding a channel's
weights before or after they are folded into it is the same.
"""

import logging
from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from ganzoo import progress

from .generator import Generator
from .reference import draw_calibration, draw_inputs
from .signature import TRUNCATION

STEPS = 400
_BATCH = 16
_RATE = 1e-4
_CRITIC = 0.01
_COMPARED = 256  # samples for the variance that the loss is divided by
_BITS = 8
# What TFLite computes together with the layer before it, so that nothing is rounded in between.
_FUSED = (layers.BatchNormalization,)
_EXACT = (layers.InputLayer, layers.Reshape, layers.Flatten)  # hand on what they are given

log = logging.getLogger("ganzoo")


def fine_tuned(generator: Generator, steps: int = STEPS, rate: float = _RATE, critic: float = _CRITIC) -> Generator:
    """A copy of a generator that was fine-tuned to bear 8-bit weights and activations.

    Args:
        generator: what is exported; it stays as it is.
        steps: of 16 latents each.
        rate: Adam's, which falls to zero along half a cosine.
        critic: the weight of the discriminator's verdict.
    """
    student = _copy(generator.network)
    for layer in student.layers:
        layer.trainable = True  # those of an averaged generator are not
    made = Generator(generator.gan, student, generator.signature)
    rounded = _rounding(student, _ranges(student, generator))
    channels = {id(layer.kernel): _channels(layer) for layer in _with_kernels(student)}
    variables = student.trainable_variables
    exact = [tf.Variable(variable) for variable in variables]
    schedule = keras.optimizers.schedules.CosineDecay(rate, steps)
    optimizer = keras.optimizers.Adam(schedule, beta_1=0.5)
    optimizer.build(exact)
    gan = generator.gan
    spread = float(np.mean(np.var(generator.samples(draw_inputs(generator, _COMPARED)), axis=0)))

    @tf.function(jit_compile=False)
    def step(inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        given = {name: value for name, value in inputs.items() if name != TRUNCATION}
        conditions = {name: inputs[name] for name in gan.conditions_spec()}
        wanted = generator.network(given, training=False)
        for variable, master in zip(variables, exact, strict=True):
            axes = channels.get(id(variable))
            variable.assign(_round_weights(master, axes) if axes else master)
        with tf.GradientTape() as tape:
            got = rounded(given, training=False)
            loss = tf.reduce_mean(tf.square(got - wanted)) / spread
            if critic:
                logits = gan.score(gan.observe(got, conditions), conditions)
                real = gan.score(gan.observe(wanted, conditions), conditions)
                loss += critic * tf.reduce_mean(gan.objective.generator(real, logits, gan.head_weights()))
        optimizer.apply(tape.gradient(loss, variables), exact)
        return loss

    losses = []
    for index in progress.each(range(steps), "Fine-tuning with simulated quantisation"):
        drawn = draw_inputs(generator, _BATCH, seed=1_000 + index)
        losses.append(float(step({name: tf.constant(value) for name, value in drawn.items()})))
    for variable, master in zip(variables, exact, strict=True):
        variable.assign(master)
    log.info(
        "Simulated quantisation: loss %.4f, after %d steps %.4f.", np.mean(losses[:10]), steps, np.mean(losses[-10:])
    )
    return made


def simulated(generator: Generator) -> keras.Model:
    """A copy of a generator's network that rounds its weights and its layers' outputs, as an int8 file does."""
    copy = _copy(generator.network)
    ranges = _ranges(copy, generator)
    for layer in _with_kernels(copy):
        layer.kernel.assign(_round_weights(layer.kernel, _channels(layer)))
    return _rounding(copy, ranges)


def _copy(network: keras.Model) -> keras.Model:
    copy = keras.models.clone_model(network)
    copy.set_weights(network.get_weights())
    return copy


def _outputs(network: keras.Model) -> dict[str, keras.KerasTensor]:
    """The tensors that are rounded, by the names of the layers that make them."""
    fused = set()
    for layer in network.layers:
        if isinstance(layer, _FUSED):
            before = layer._inbound_nodes[0].parent_nodes[0].operation
            fused.add(before.name)
    return {
        layer.name: layer.output
        for layer in network.layers
        if layer.name not in fused and not isinstance(layer, _EXACT) and not isinstance(layer.output, list)
    }


def _ranges(network: keras.Model, generator: Generator) -> dict[str, tuple[float, float]]:
    tensors = _outputs(network)
    look = keras.Model(network.input, tensors)
    drawn = draw_calibration(generator)
    given = {name: value for name, value in drawn.items() if name != TRUNCATION}
    found: dict[str, tuple[float, float]] = {}
    for start in range(0, len(drawn[TRUNCATION]), _BATCH):
        for name, values in look({key: value[start : start + _BATCH] for key, value in given.items()}).items():
            low, high = found.get(name, (0.0, 0.0))
            found[name] = min(low, float(tf.reduce_min(values))), max(high, float(tf.reduce_max(values)))
    return found


@keras.saving.register_keras_serializable(package="ganzoo")
class Rounded(layers.Layer):
    """What 8 bits between `low` and `high` make of a tensor; gradients pass where nothing is clipped."""

    def __init__(self, low: float, high: float, **kwargs):
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def call(self, inputs):
        """The same shape."""
        return tf.quantization.fake_quant_with_min_max_vars(inputs, self.low, self.high, num_bits=_BITS)


def _rounding(network: keras.Model, ranges: Mapping[str, tuple[float, float]]) -> keras.Model:
    """The same layers, with the outputs of those in `ranges` rounded."""

    def call(layer: keras.layers.Layer, *args, **kwargs):
        output = layer(*args, **kwargs)
        if layer.name in ranges and ranges[layer.name][0] < ranges[layer.name][1]:
            return Rounded(*ranges[layer.name], name=f"rounded_{layer.name}")(output)
        return output

    return keras.models.clone_model(network, clone_function=lambda layer: layer, call_function=call)


def _with_kernels(network: keras.Model) -> list[keras.layers.Layer]:
    kinds = (layers.Dense, layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D)
    return [layer for layer in network.layers if isinstance(layer, kinds)]


def _channels(layer: keras.layers.Layer) -> tuple[int, ...]:
    """The axes of a kernel that are its output channels."""
    if isinstance(layer, layers.Conv2DTranspose):
        return (2,)
    if isinstance(layer, layers.DepthwiseConv2D):
        return (2, 3)
    return (len(layer.kernel.shape) - 1,)


def _round_weights(kernel: tf.Tensor, channels: tuple[int, ...]) -> tf.Tensor:
    """The nearest of 255 values of each channel, symmetric about 0."""
    others = [axis for axis in range(len(kernel.shape)) if axis not in channels]
    most = 2 ** (_BITS - 1) - 1
    scale = tf.maximum(tf.reduce_max(tf.abs(kernel), axis=others, keepdims=True), 1e-8) / most
    return tf.round(kernel / scale) * scale
