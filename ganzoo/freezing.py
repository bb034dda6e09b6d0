"""Which layers a recipe's `freeze` names, and when they are trained again."""

import fnmatch
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from ganzoo.config import Freeze
from ganzoo.errors import RecipeError


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
