"""What goes into a generator: latents and conditions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from ganzoo.core.batches import assert_ids, check_ids, class_ids
from ganzoo.errors import DataError


@dataclass(frozen=True)
class Latent:
    """A latent input of the generator: its shape without the batch, standard normal."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class ClassCondition:
    """A class as condition: an int32 input `(batch,)` in `[0, classes)`."""

    classes: int


def checked_inputs(
    entry: str, latents: Mapping[str, Latent], conditions: Mapping[str, ClassCondition], inputs: Any
) -> dict[str, Any]:
    """A generator's inputs by name, of those that it has; class ids are int32.

    Args:
        entry: for errors.
        latents: those that the generator takes, by name.
        conditions: the same.
        inputs: a dict of arrays or tensors by name, or the first latents alone.

    Raises:
        DataError: something is missing, or of another shape or range.
    """
    given = inputs if isinstance(inputs, Mapping) else {next(iter(latents)): inputs}
    shapes = {name: tuple(value.shape) for name, value in given.items() if hasattr(value, "shape")}
    wanted = {name: (None, *spec.shape) for name, spec in latents.items()} | dict.fromkeys(conditions, (None,))
    fits = shapes.keys() >= wanted.keys() and all(shapes[name][1:] == wanted[name][1:] for name in latents)
    if not fits:
        raise DataError(
            f"The generator of {entry} takes inputs of the shapes {wanted}. Received: {shapes}. "
            "gan.draw_latents(count) and gan.draw_conditions(count) make them; gan.generate(count) makes samples."
        )
    found = {name: given[name] for name in latents}
    for name, spec in conditions.items():
        ids = tf.cast(class_ids(name, given[name], spec.classes), tf.int32)
        if tf.executing_eagerly():
            check_ids(name, np.asarray(ids), spec.classes)
            found[name] = ids
        else:
            with tf.control_dependencies([assert_ids(name, ids, spec.classes)]):
                found[name] = tf.identity(ids)
    return found


def given_conditions(
    specs: Mapping[str, ClassCondition], conditions: Mapping[str, Any], count: int
) -> dict[str, np.ndarray]:
    """Conditions that were given for `count` samples, checked; raises `DataError` where they do not suit `specs`."""
    if sorted(conditions) != sorted(specs):
        raise DataError(f"Conditions of this GAN: {sorted(specs) or 'none'}. Received: {sorted(conditions)}.")
    given = {}
    for name, spec in specs.items():
        values = np.asarray(class_ids(name, np.asarray(conditions[name]), spec.classes))
        if len(values) != count:
            raise DataError(f"'{name}' needs one class id for each of the {count} samples. Received: {len(values)}.")
        check_ids(name, values, spec.classes)
        given[name] = values.astype("int32")
    return given
