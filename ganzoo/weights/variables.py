"""Variables of networks by name, whether arrays fit them, and their values given back."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from ganzoo.errors import WeightsError


def named_variables(network: keras.Model) -> dict[str, Any]:
    """A network's variables by `layer/variable`, those of nested models by `model/layer/variable`."""
    found: dict[str, Any] = {}
    for layer in network.layers:
        inner = named_variables(layer) if isinstance(layer, keras.Model) else {v.name: v for v in layer.variables}
        if len(inner) != len(layer.variables) or any(f"{layer.name}/{name}" in found for name in inner):
            raise WeightsError(
                f"Two variables of {network.name}/{layer.name} share a name: name every layer and weight."
            )
        found |= {f"{layer.name}/{name}": variable for name, variable in inner.items()}
    return found


def misfits(variables: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> str:
    """In words, how many arrays are missing, left over or of another shape, with the first names; empty if all fit."""
    missing, unknown = sorted(set(variables) - set(arrays)), sorted(set(arrays) - set(variables))
    shapes = [
        f"{name} {tuple(arrays[name].shape)} into {tuple(variables[name].shape)}"
        for name in variables
        if name in arrays and tuple(variables[name].shape) != tuple(arrays[name].shape)
    ]
    if not (missing or unknown or shapes):
        return ""
    return (
        f"{len(missing)} missing {missing[:3]}, {len(unknown)} left over {unknown[:3]}, "
        f"{len(shapes)} of another shape {shapes[:3]}"
    )


def fill(network: keras.Model, arrays: Mapping[str, np.ndarray]) -> str:
    """Give a network's variables arrays by their names, or none at all where they do not fit: what `misfits` says."""
    variables = named_variables(network)
    wrong = misfits(variables, arrays)
    if not wrong:
        for name, variable in variables.items():
            variable.assign(arrays[name].astype(variable.dtype))
    return wrong


@contextlib.contextmanager
def restored(variables: Sequence[Any]) -> Iterator[None]:
    """Give variables their values back at the end of a `with` block."""
    kept = [(variable, np.array(variable)) for variable in variables]
    try:
        yield
    finally:
        for variable, value in kept:
            variable.assign(value)
