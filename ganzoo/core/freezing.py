"""Which layers a recipe's `freeze` names, and when they are trained again."""

import fnmatch
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from ganzoo.errors import RecipeError
from ganzoo.recipes.schema import Freeze


def layers_of(part: keras.Model, rule: Freeze) -> list[keras.layers.Layer]:
    """The layers with weights of a part that a rule names, in its order.

    Raises:
        RecipeError: it names none.
    """
    found = _named_layers(part)
    chosen = [name for name in found if _matches(name, rule.layers) and not _matches(name, rule.keep)]
    chosen = chosen[: math.ceil(rule.share * len(chosen))]
    if not chosen:
        raise RecipeError(f"freeze: no layer of {rule.part} matches {list(rule.layers)}. It has {list(found)}.")
    return [found[name] for name in chosen]


class Thaw(keras.callbacks.Callback):
    """Makes the train step anew when frozen layers begin to be trained."""

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """A run may be resumed after the moment."""
        self._look()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Look whether it has come."""
        self._look()

    def _look(self) -> None:
        if self.model.thaw() or self.model.train_function is None:  # a guard that went back unmakes it, too
            self.model.make_train_function(force=True)


class Late:
    """Weights that are trained from later on than the others of their optimizer.

    Args:
        weights: they.
        active: whether they are trained in this step, a bool scalar.
        begun: an int64 variable that keeps the optimizer's count of updates when they began, -1 before.
    """

    def __init__(self, weights: Sequence[Any], active: Callable[[], tf.Tensor], begun: Any):
        self.weights, self.active, self.begun = list(weights), active, begun

    def look(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Before an update: keep the count where they begin with it."""
        count = tf.cast(_inner(optimizer).iterations, tf.int64)
        begins = tf.logical_and(self.begun.value < 0, self.active())
        self.begun.assign(tf.where(begins, count, self.begun.value))


def correct_late(optimizer: keras.optimizers.Optimizer, late: Sequence[Late]) -> None:
    """Begin Adam's bias correction anew for weights that are trained later.

    Their moments are still zero when they begin, while the optimizer's updates have been counted on, so that nothing
    would correct their bias: their first step would be (1 - beta_1) / sqrt(1 - beta_2) times the learning rate (16
    for 0.5 and 0.999). With c(n) = sqrt(1 - beta_2^n) / (1 - beta_1^n), which Kingma and Ba (2015, arXiv:1412.6980,
    section 2) multiply the learning rate by at update n, that of weights in their update k is multiplied by
    c(k) / c(n). Other optimizers have no such correction, and stay as they are.

    Args:
        optimizer: built.
        late: of its weights. One of several groups counts from the latest beginning.
    """
    adam = _inner(optimizer)
    if not isinstance(adam, keras.optimizers.Adam):
        return
    groups: dict[int, list[Late]] = {}
    for group in late:
        for weight in group.weights:
            groups.setdefault(adam._get_variable_index(weight), []).append(group)
    update_step = adam.update_step

    def corrected(gradient: Any, variable: Any, learning_rate: Any) -> None:
        mine = groups.get(adam._get_variable_index(variable))
        if mine:
            count = tf.cast(adam.iterations, tf.int64)
            own = tf.reduce_min([count - group.begun.value for group in mine])
            learning_rate *= tf.cast(_correction(adam, own) / _correction(adam, count), "float32")
        update_step(gradient, variable, learning_rate)

    adam.update_step = corrected


def _inner(optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """What a loss-scaling optimizer wraps, or the optimizer itself."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def _correction(adam: keras.optimizers.Adam, updates: tf.Tensor) -> tf.Tensor:
    number = tf.cast(updates, tf.float32) + 1.0
    return tf.sqrt(1.0 - adam.beta_2**number) / (1.0 - adam.beta_1**number)


def _named_layers(model: keras.Model, prefix: str = "") -> dict[str, keras.layers.Layer]:
    """Layers with weights by name, those of nested models as `model/layer`."""
    found: dict[str, keras.layers.Layer] = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= _named_layers(layer, f"{prefix}{layer.name}/")
        elif layer.weights and layer.trainable:  # what its network keeps fixed is never trained
            found[f"{prefix}{layer.name}"] = layer
    return found


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def set_trainable(layers: Sequence[keras.layers.Layer], value: bool) -> None:
    """Let layers be trained, or freeze them; what their network keeps fixed stays so."""
    for layer in layers:
        layer.trainable = value
        for inner in layer._flatten_layers():
            if getattr(inner, "kept_fixed", False):
                inner.trainable = False
