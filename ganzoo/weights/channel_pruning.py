"""A narrower network begins with what it can keep of a wider one: the channels that matter, refitted layer by layer.

Both networks have the same layers. Of each layer's channels those are kept that are both lively and looked at by the
layers after it; then each layer of the narrower network, from the first to the last, is fitted by least squares to
what the wider one's makes, given what the narrower layers before it make (channel pruning: He et al. 2017,
https://arxiv.org/abs/1707.06168). No data are needed but the network's own inputs.

Which channels of two layers belong together follows from what is between them: additions and products join them,
splits and reshapes divide them, activations and depthwise convolutions leave them as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import layers

from ganzoo.errors import WeightsError

COMPARED = 256  # samples over which two networks are to agree
_ROWS = 30_000  # of an equation, at most
_RIDGE = 1e-4  # of the mean square of what a layer is given
_LEAST = 1e-9  # where nothing is given at all
_AT_ONCE = 16  # samples
_FREE = (layers.Dense, layers.Conv2D, layers.Conv2DTranspose)
_FITTED = (*_FREE, layers.DepthwiseConv2D)
_JOINED = ("Add", "Multiply", "Subtract", "Average", "Maximum")  # layers, and functions of keras.ops

Places = dict[int, np.ndarray]  # along some axes of an array, indices


class _Atom:
    """Channels that stay together, in one order: those of one layer, or of several that are joined."""

    def __init__(self, size: int):
        self.size = size
        self.parts: list[_Atom] | None = None  # of what it turned out to be made

    def leaves(self) -> "list[_Atom]":
        return [self] if self.parts is None else _leaves(self.parts)

    def become(self, parts: "Sequence[_Atom]") -> None:
        if list(parts) != [self]:
            self.parts = list(parts)


@dataclass
class _Channels:
    """The channels of each tensor of a functional network, and those that layers are given and make, by layer."""

    tensors: dict[int, list[_Atom]] = field(default_factory=dict)
    given: dict[str, list[_Atom]] = field(default_factory=dict)
    made: dict[str, list[_Atom]] = field(default_factory=dict)


def fits(wide: keras.Model, network: keras.Model) -> bool:
    """Whether `narrow` can do it: the networks differ in numbers of channels alone, and one has fewer."""
    try:
        channels = _channels(wide)
        _check_layers(wide)
        _choose_all(wide, network, channels, _first(channels, wide, network))
    except WeightsError:
        return False
    return wide.count_params() > network.count_params()


def narrow(wide: keras.Model, network: keras.Model, inputs: Mapping[str, np.ndarray]) -> None:
    """Give `network` weights with which it makes nearly what `wide` makes.

    Args:
        wide: a functional network.
        network: with the same layers, each with at most as many channels.
        inputs: of both, by name, `(N, ...)`: those over which they are to agree, some hundred.

    Raises:
        WeightsError: the networks differ in more than numbers of channels, or have a kind of layer that is not known
            here; `network` has its values as before.
    """
    channels = _channels(wide)
    _check_layers(wide)
    kept = _most_telling(channels, _Given(wide, inputs), _sizes(channels, wide, network))
    for layer, values in _choose_all(wide, network, channels, kept):
        layer.set_weights(values)
    _refit(wide, network, inputs, channels, kept, {layer.name for layer in wide.layers if layer.weights})


def refit(wide: keras.Model, network: keras.Model, inputs: Mapping[str, np.ndarray], names: set[str]) -> None:
    """Fit some layers of a network that has the first channels of each layer of a wider one.

    Args:
        wide, network, inputs: as in `narrow`.
        names: of the layers; the others stay as they are.

    Raises:
        WeightsError: as `narrow`.
    """
    channels = _channels(wide)
    _refit(wide, network, inputs, channels, _first(channels, wide, network), names)


def first_channels(wide: keras.Model, network: keras.Model) -> dict[str, Places]:
    """Where a network's weights lie in those of a wider one, if it has the first channels of each of its layers.

    Returns:
        By `layer/variable` (`named_variables`), for each axis the indices in the wider network's variable.

    Raises:
        WeightsError: as `narrow`.
    """
    channels = _channels(wide)
    first = _first(channels, wide, network)
    return {
        f"{layer.name}/{weight.name}": places
        for layer in wide.layers
        if layer.weights
        for weight, places in zip(layer.weights, _axes(layer, channels, first), strict=True)
    }


def _refit(
    wide: keras.Model,
    network: keras.Model,
    inputs: Mapping[str, np.ndarray],
    channels: _Channels,
    kept: Mapping[int, np.ndarray],
    names: set[str],
) -> None:
    theirs, ours = _Given(wide, inputs), _Given(network, inputs)
    for wider, narrower in zip(wide.layers, network.layers, strict=True):
        if wider.name not in names:
            continue
        made = _indices(channels.made[wider.name], kept)
        if isinstance(wider, layers.BatchNormalization):
            _fit_normalisation(narrower, ours.to(narrower), np.asarray(wider(theirs.to(wider)))[..., made])
        elif _can_be_fitted(wider):
            _fit(narrower, ours.to(narrower), _linear(wider, theirs.to(wider))[..., made])


def sort_channels(network: keras.Model, followers: Sequence[keras.Model], inputs: Mapping[str, np.ndarray]) -> None:
    """Bring a network's channels into the order of their worth, the most first; it makes what it made before.

    Args:
        network: a functional network.
        followers: networks of the same form whose channels are brought into the same order.
        inputs: as in `narrow`.

    Raises:
        WeightsError: as `narrow`.
    """
    channels = _channels(network)
    order = _most_telling(channels, _Given(network, inputs), None)
    for one in (network, *followers):
        for layer, values in _choose_all(one, one, channels, order):
            layer.set_weights(values)


class _Given:
    """What the layers of a network are given, for some inputs."""

    def __init__(self, network: keras.Model, inputs: Mapping[str, np.ndarray]):
        self.network, self._inputs = network, dict(inputs)

    def to(self, layer: keras.layers.Layer) -> np.ndarray:
        """`(N, ..., channels)` float32."""
        look = keras.Model(self.network.input, layer.input)
        return np.asarray(look(self._inputs, training=False), np.float32)


def _leaves(atoms: Sequence[_Atom]) -> list[_Atom]:
    return [leaf for atom in atoms for leaf in atom.leaves()]


def _channels(network: keras.Model) -> _Channels:
    found = _Channels()
    nodes = [node for depth in sorted(network._nodes_by_depth, reverse=True) for node in network._nodes_by_depth[depth]]
    if len({id(node.operation) for node in nodes}) < len(nodes):
        raise WeightsError("A layer is used twice.")
    for node in nodes:
        operation = node.operation
        given = [found.tensors[id(tensor)] for tensor in node.input_tensors]
        made = _made(operation, node, given)
        for tensor, atoms in zip(node.output_tensors, made, strict=True):
            if sum(atom.size for atom in _leaves(atoms)) != _last(tensor):
                raise WeightsError(f"The layer {operation.name} changes channels in a way that is not known.")
            found.tensors[id(tensor)] = atoms
        if given:
            found.given[operation.name] = given[0]
        found.made[operation.name] = made[0]
    return found


def _made(operation: Any, node: Any, given: list[list[_Atom]]) -> list[list[_Atom]]:
    """The channels of what an operation makes of given ones."""
    sizes = [_last(tensor) for tensor in node.output_tensors]
    if not given or isinstance(operation, (*_FREE, layers.Embedding)):
        return [[_Atom(sizes[0])]]
    if isinstance(operation, layers.Reshape):
        atoms = _leaves(given[0])
        if len(atoms) > 1 or atoms[0].size % sizes[0]:
            raise WeightsError(f"The layer {operation.name} reshapes channels in a way that is not known.")
        whole = _Atom(sizes[0])
        atoms[0].become([whole] * (atoms[0].size // whole.size))
        return [[whole]]
    if isinstance(operation, layers.Concatenate):
        return [[atom for atoms in given for atom in atoms]]
    if len(sizes) > 1:  # a split
        leaves = _leaves(given[0])
        if len(leaves) == 1 and leaves[0].size == sum(sizes):
            leaves[0].become([_Atom(size) for size in sizes])
            leaves = leaves[0].leaves()
        if [leaf.size for leaf in leaves] != sizes:
            raise WeightsError(f"The layer {operation.name} splits channels in a way that is not known.")
        return [[leaf] for leaf in leaves]
    if type(operation).__name__ in _JOINED:
        first, *others = (_leaves(atoms) for atoms in given)
        if any([leaf.size for leaf in other] != [leaf.size for leaf in first] for other in others):
            raise WeightsError(f"The layer {operation.name} joins channels in a way that is not known.")
        for other in others:
            for mine, theirs in zip(first, other, strict=True):
                theirs.become([mine])
        return [first]
    if len(given) > 1:
        raise WeightsError(f"The layer {operation.name} ({type(operation).__name__}) is of a kind that is not known.")
    return [given[0]]


def _last(tensor: keras.KerasTensor) -> int:
    return tensor.shape[-1] if len(tensor.shape) > 1 else 1


def _sizes(theirs: _Channels, wide: keras.Model, network: keras.Model) -> dict[int, int]:
    """How many channels the narrower network has of each of the wider one's atoms."""
    if [layer.name for layer in wide.layers] != [layer.name for layer in network.layers]:
        others = {layer.name for layer in wide.layers} ^ {layer.name for layer in network.layers}
        raise WeightsError(f"The networks do not have the same layers: only one of them has {sorted(others)[:3]}.")
    ours = _channels(network)
    for theirs_end, ours_end in zip((*wide.inputs, *wide.outputs), (*network.inputs, *network.outputs), strict=True):
        if theirs_end.shape != ours_end.shape:
            raise WeightsError(
                f"The networks do not have the same inputs and outputs: {theirs_end.shape}, {ours_end.shape}."
            )
    sizes: dict[int, int] = {}
    for name in (layer.name for layer in wide.layers):
        both = _leaves(theirs.made[name]), _leaves(ours.made[name])
        if len(both[0]) != len(both[1]):
            raise WeightsError(f"The layer {name} joins other channels in the two networks.")
        for wider, narrower in zip(*both, strict=True):
            if narrower.size > wider.size or sizes.setdefault(id(wider), narrower.size) != narrower.size:
                raise WeightsError(f"The layer {name} has {narrower.size} channels, {wider.size} in the other network.")
    return sizes


def _first(theirs: _Channels, wide: keras.Model, network: keras.Model) -> dict[int, np.ndarray]:
    """Of each atom the first channels, as many as the narrower network has."""
    return {key: np.arange(size) for key, size in _sizes(theirs, wide, network).items()}


def _most_telling(channels: _Channels, given: _Given, sizes: Mapping[int, int] | None) -> dict[int, np.ndarray]:
    """For each atom the channels that are kept, in their order; without `sizes` all of them, the most telling first.

    What a channel tells a layer is its deviation times the norm of the weights by which the layer looks at it.
    """
    worth = {id(leaf): np.zeros(leaf.size) for atoms in channels.made.values() for leaf in _leaves(atoms)}
    for layer in given.network.layers:
        if isinstance(layer, _FREE):
            kernel = np.moveaxis(np.array(layer.kernel), -1 if isinstance(layer, layers.Conv2DTranspose) else -2, 0)
            norms = np.linalg.norm(kernel.reshape(len(kernel), -1), axis=1)
            values = given.to(layer)
            spread = values.reshape(-1, values.shape[-1]).std(axis=0) * norms / max(np.linalg.norm(norms), 1e-8)
            start = 0
            for leaf in _leaves(channels.given[layer.name]):
                worth[id(leaf)] += spread[start : start + leaf.size]
                start += leaf.size
    if sizes is None:
        order = {key: np.argsort(-values, kind="stable") for key, values in worth.items()}
        ends = (*given.network.inputs, *given.network.outputs)
        fixed = [leaf for tensor in ends for leaf in _leaves(channels.tensors[id(tensor)])]
        return order | {id(leaf): np.arange(leaf.size) for leaf in fixed}
    return {key: np.sort(np.argsort(-values, kind="stable")[: sizes[key]]) for key, values in worth.items()}


def _indices(atoms: Sequence[_Atom], kept: Mapping[int, np.ndarray]) -> np.ndarray:
    """The kept ones of a tensor's channels."""
    leaves = _leaves(atoms)
    starts = np.cumsum([0, *(leaf.size for leaf in leaves)])
    return np.concatenate([start + kept[id(leaf)] for start, leaf in zip(starts, leaves, strict=False)])


def _axes(layer: keras.layers.Layer, channels: _Channels, kept: Mapping[int, np.ndarray]) -> list[Places]:
    """Where each of a layer's weights holds the kept channels."""
    given, made = (_indices(of[layer.name], kept) for of in (channels.given, channels.made))
    found: list[Places] = []
    for weight in layer.weights:
        if len(weight.shape) == 1:
            found.append({0: made})
        elif isinstance(layer, layers.DepthwiseConv2D) and layer.depth_multiplier == 1:
            found.append({2: made})
        elif isinstance(layer, layers.Conv2DTranspose):
            found.append({2: made, 3: given})
        elif isinstance(layer, layers.Embedding):
            found.append({1: made})
        elif isinstance(layer, _FREE):
            found.append({len(weight.shape) - 2: given, len(weight.shape) - 1: made})
        else:
            raise WeightsError(f"The layer {layer.name} ({type(layer).__name__}) is of a kind that cannot be narrowed.")
    return found


def _choose(layer: keras.layers.Layer, channels: _Channels, kept: Mapping[int, np.ndarray]) -> list[np.ndarray]:
    """A layer's weights for the kept channels alone."""
    found = []
    for weight, places in zip(layer.weights, _axes(layer, channels, kept), strict=True):
        value = np.array(weight)
        for axis, indices in places.items():
            value = np.take(value, indices, axis)
        found.append(value)
    return found


def _choose_all(
    wide: keras.Model, network: keras.Model, channels: _Channels, kept: Mapping[int, np.ndarray]
) -> list[tuple[keras.layers.Layer, list[np.ndarray]]]:
    """The layers of a network that have weights, each with those of the wider one for the kept channels."""
    found = []
    for wider, layer in zip(wide.layers, network.layers, strict=True):
        values = _choose(wider, channels, kept) if wider.weights else []
        if [tuple(weight.shape) for weight in layer.weights] != [value.shape for value in values]:
            raise WeightsError(f"The layer {layer.name} differs in more than its channels.")
        if values:
            found.append((layer, values))
    return found


def _check_layers(wide: keras.Model) -> None:
    for layer in wide.layers:
        if isinstance(layer, _FITTED) and not _can_be_fitted(layer):
            raise WeightsError(f"The layer {layer.name} ({type(layer).__name__}) cannot be refitted.")


def _can_be_fitted(layer: keras.layers.Layer) -> bool:
    return (
        isinstance(layer, _FITTED)
        and (set(getattr(layer, "strides", (1,))) == {1} or _transposed(layer))
        and set(getattr(layer, "dilation_rate", (1,))) == {1}
        and getattr(layer, "groups", 1) == 1
        and getattr(layer, "data_format", "channels_last") == "channels_last"
    )


def _transposed(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, layers.Conv2DTranspose)


def _linear(layer: keras.layers.Layer, given: np.ndarray) -> np.ndarray:
    """What a layer makes before its activation."""
    activation, layer.activation = layer.activation, keras.activations.linear
    try:
        return np.asarray(layer(given))
    finally:
        layer.activation = activation


def _fit_normalisation(layer: keras.layers.BatchNormalization, given: np.ndarray, wanted: np.ndarray) -> None:
    """Statistics of what is given, and the scale and shift that come nearest to what is wanted."""
    given, wanted = (values.reshape(-1, values.shape[-1]).astype(np.float64) for values in (given, wanted))
    mean, variance = given.mean(axis=0), given.var(axis=0)
    normal = (given - mean) / np.sqrt(variance + layer.epsilon)
    shift = wanted.mean(axis=0)
    layer.moving_mean.assign(mean)
    layer.moving_variance.assign(variance)
    if layer.scale:
        layer.gamma.assign(np.mean((wanted - shift) * normal, axis=0) / np.maximum(np.mean(normal**2, axis=0), 1e-6))
    if layer.center:
        layer.beta.assign(shift)


def _fit(layer: keras.layers.Layer, given: np.ndarray, wanted: np.ndarray) -> None:
    """The kernel and bias that come nearest to what is wanted; where that is not settled, those that were there."""
    kernel = np.array(layer.kernel, np.float64)
    if _transposed(layer):  # as that of a convolution
        kernel = _turned(kernel)
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    rows, targets = _rows(layer, given, wanted)  # (rows, positions, channels), (rows, channels made)
    if depthwise:  # each channel by itself
        rows = np.moveaxis(rows, -1, 0)
        targets, start = np.moveaxis(targets, -1, 0)[..., None], np.moveaxis(kernel.reshape(-1, kernel.shape[2]), -1, 0)
        start = start[..., None]
    else:
        rows = rows.reshape(1, len(rows), -1)
        targets, start = targets[None], kernel.reshape(1, -1, kernel.shape[-1])
    if layer.use_bias:
        rows = np.concatenate([rows, np.ones((*rows.shape[:2], 1))], axis=2)
        bias = np.array(layer.bias, np.float64)
        start = np.concatenate([start, bias[:, None, None] if depthwise else bias[None, None]], axis=1)
    turned = np.swapaxes(rows, 1, 2)
    square = turned @ rows
    ridge = _RIDGE * np.trace(square, axis1=1, axis2=2)[:, None, None] / square.shape[1] + _LEAST
    square += ridge * np.eye(square.shape[1])
    found = start + np.linalg.solve(square, turned @ (targets - rows @ start))
    if layer.use_bias:
        layer.bias.assign(found[:, -1].reshape(-1))
        found = found[:, :-1]
    found = (np.moveaxis(found[..., 0], 0, -1) if depthwise else found).reshape(kernel.shape)
    layer.kernel.assign(_turned(found) if _transposed(layer) else found)


def _turned(kernel: np.ndarray) -> np.ndarray:
    """A transposed convolution's kernel as that of a convolution over images with zeros between, and back."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


def _rows(layer: keras.layers.Layer, given: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What the kernel sees at some places of all samples, and what is wanted there, float64."""
    side = getattr(layer, "kernel_size", (1, 1))
    places = int(np.prod(wanted.shape[1:-1]))
    chosen = np.sort(np.random.default_rng(0).permutation(len(given) * places)[:_ROWS])
    found = []
    for start in range(0, len(given), _AT_ONCE):
        part, padding = given[start : start + _AT_ONCE], getattr(layer, "padding", "valid")
        if _transposed(layer):
            part, padding = _spread_out(layer, part, wanted.shape[1:-1]), "valid"
        if side != (1, 1):
            part = keras.ops.image.extract_patches(part, side, 1, padding=padding)
        part = np.asarray(part).reshape(-1, side[0] * side[1], given.shape[-1])
        inside = chosen[(chosen >= start * places) & (chosen < (start + _AT_ONCE) * places)]
        found.append(part[inside - start * places])
    return np.concatenate(found).astype(np.float64), wanted.reshape(-1, wanted.shape[-1])[chosen].astype(np.float64)


def _spread_out(layer: layers.Conv2DTranspose, given: np.ndarray, sides: Sequence[int]) -> np.ndarray:
    """Images with zeros between and around, over which a transposed convolution is a convolution.

    Place p of what is made sees place q of these, p <= q < p + kernel; given place i stands at q = i * stride + before.
    """
    reach = [side + size - 1 for side, size in zip(sides, layer.kernel_size, strict=True)]
    spread = np.zeros((len(given), *reach, given.shape[-1]), given.dtype)
    places = []
    for stride, size, count, side in zip(layer.strides, layer.kernel_size, given.shape[1:3], sides, strict=True):
        over = max((count - 1) * stride + size - side, 0) if layer.padding == "same" else 0
        places.append(np.arange(count) * stride + size - 1 - over // 2)  # half of what is too much, at the beginning
    spread[:, places[0][:, None], places[1]] = given
    return spread
