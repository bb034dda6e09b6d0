"""Two things done to a backbone's functional graph: finding feature levels by shape, and folding normalisation away."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo.errors import WeightsError

if TYPE_CHECKING:
    import keras

LEVELS = (4, 8, 16, 32)


def _source(tensor: Any) -> tuple[Any, list[Any]]:
    """The operation that made a symbolic tensor, and that operation's inputs."""
    operation, node, _ = tensor._keras_history
    return operation, operation._inbound_nodes[node].input_tensors


def folded(network: "keras.Model") -> "keras.Model":
    """The same function in inference, each BatchNormalization folded into its convolution, dropouts left out.

    gamma * (W * x - mean) / sqrt(variance + epsilon) + beta  =  (s W) * x + (beta - s mean),  s = gamma / sqrt(...)
    """
    import keras

    layers = keras.layers
    norms, convolutions = {}, {}  # name of the normalisation -> convolution, and back
    for operation in network.operations:
        if isinstance(operation, layers.BatchNormalization):
            before = _source(_source(operation.output)[1][0])[0]
            linear = getattr(before, "activation", None) is keras.activations.linear
            if type(before) in (layers.Conv2D, layers.DepthwiseConv2D) and linear and len(before._outbound_nodes) == 1:
                norms[operation.name] = before
                convolutions[before.name] = operation

    if not norms:
        return network

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in convolutions:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        dropped = layer.name in norms or isinstance(layer, layers.Dropout)
        return args[0] if dropped else layer(*args, **kwargs)

    clones = keras.models.clone_model(network, clone_function=clone, call_function=call)
    for layer in clones.layers:
        if not layer.weights:
            continue
        values = [np.asarray(value, np.float64) for value in network.get_layer(layer.name).get_weights()]
        if layer.name in convolutions:
            norm = convolutions[layer.name]
            state = {v.name: v.numpy().astype(np.float64) for v in norm.weights}
            scale = state.get("gamma", 1.0) / np.sqrt(state["moving_variance"] + norm.epsilon)
            kernel, bias = values[0], values[1] if len(values) == 2 else 0.0
            shape = kernel.shape[2:] if isinstance(layer, layers.DepthwiseConv2D) else scale.shape
            values = [kernel * scale.reshape(shape), state.get("beta", 0.0) + (bias - state["moving_mean"]) * scale]
        layer.set_weights(values)
        if isinstance(layer, layers.Normalization):
            layer.finalize_state()
    return clones


def taps(network: "keras.Model", levels: Sequence[int] | None, name: str, bottlenecks: bool) -> dict[int, Any]:
    """Stride -> the last tensor with that stride's size (of those through which everything passes, if any)."""
    import keras

    last, last_cut = {}, {}
    reach, position = 0, {operation: index for index, operation in enumerate(network.operations)}
    for index, operation in enumerate(network.operations):  # from the input to the output
        tensor = operation.output
        cut = reach <= index  # no edge passes by: all that follows is computed from this tensor alone
        reach = max([reach, *(position.get(user.operation, 0) for user in operation._outbound_nodes)])
        if len(tensor.shape) == 4 and not isinstance(operation, keras.layers.ZeroPadding2D | keras.layers.InputLayer):
            last[tensor.shape[1:3]] = tensor
            if cut:
                last_cut[tensor.shape[1:3]] = tensor
    last |= last_cut  # not a branch within a block, where the block as a whole has a tensor of this size
    sides, smallest = network.input.shape[1:3], network.output.shape[1:3]
    found = {}
    for stride in (2**power for power in range(12)):
        exact = [tuple(math.ceil(side / stride) for side in sides), tuple(side // stride for side in sides)]
        # Networks without padding (Inception) miss the exact sizes by a little: take the smallest near one.
        near = [
            size
            for size in sorted(last)
            if all(
                n and round(math.log2(side / n)) == round(math.log2(stride))
                for side, n in zip(sides, size, strict=True)
            )
        ]
        for size in [*(size for size in exact if size in last), *near]:
            if size >= smallest:  # smaller ones belong to squeeze-and-excite blocks
                found[stride] = _before_expansion(last[size]) if bottlenecks else last[size]
                break
        if stride in found and size == smallest:
            break
    wanted = [stride for stride in LEVELS if stride in found] if levels is None else list(levels)
    missing = [stride for stride in wanted if stride not in found]
    if missing or not wanted or len(set(wanted)) < len(wanted):
        raise WeightsError(
            f"'{name}' cannot give feature maps of the strides {wanted} for images of {sides}. "
            f"Use any of {sorted(found)}, each once."
        )
    return {stride: found[stride] for stride in wanted}


def _before_expansion(tensor: Any) -> Any:
    """The narrow tensor from which a 1x1 convolution (then normalised, activated) made this one, else this one."""
    current = tensor
    while True:
        operation, inputs = _source(current)
        if len(inputs) != 1 or inputs[0].shape[1:3] != current.shape[1:3]:
            return tensor
        kernel = getattr(operation, "kernel_size", None)
        if kernel is not None:
            return inputs[0] if kernel == (1, 1) and inputs[0].shape[-1] < current.shape[-1] else tensor
        current = inputs[0]
