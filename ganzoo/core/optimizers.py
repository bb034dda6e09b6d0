"""One optimizer for each network: built from a recipe or cloned from what `compile` was given, and seen as one."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from ganzoo.errors import TrainingError, unknown_name
from ganzoo.recipes.schema import Optimizer


def from_options(options: Optimizer, name: str) -> keras.optimizers.Optimizer:
    """The optimizer that a recipe describes, called `name`, not built."""
    arguments: dict[str, Any] = {"learning_rate": options.learning_rate, "name": name}
    if options.name in ("adam", "adamw"):
        arguments |= {"beta_1": options.beta_1, "beta_2": options.beta_2, "epsilon": options.epsilon}
    # AdamW has a decay of its own unless it is given one; the others take no zero.
    arguments["weight_decay"] = options.weight_decay if options.name == "adamw" else options.weight_decay or None
    return keras.optimizers.get({"class_name": options.name, "config": arguments})


def cloned(given: Any, name: str) -> keras.optimizers.Optimizer:
    """A new optimizer like a given one, called `name`, not built.

    Args:
        given: a Keras optimizer, its name ("adam", with Keras' defaults) or its configuration.

    Raises:
        TrainingError: it is none of these.
    """
    try:
        optimizer = keras.optimizers.get(given)
    except (ValueError, TypeError):
        optimizer = None
    if not isinstance(optimizer, keras.optimizers.Optimizer):
        raise TrainingError(
            "compile takes a Keras optimizer or its name, such as 'adam' or keras.optimizers.Adam(2e-4, beta_1=0.5). "
            f"Received: {given!r}."
        )
    config = optimizer.get_config() | {"name": name}
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        return cloned(optimizer.inner_optimizer, name)
    return type(optimizer).from_config(config)


def chosen(optimizer: Any, optimizers: Mapping[str, Any] | None, networks: Mapping[str, Any]) -> dict[str, Any]:
    """What `compile` was given for each network, by name; without those that the recipe describes.

    Raises:
        TrainingError: both are given, or a network is unknown.
    """
    if optimizer is not None and optimizers is not None:
        raise TrainingError(
            "compile takes `optimizer` (a copy for each network) or `optimizers` (by network), not both."
        )
    if isinstance(optimizer, Mapping) and "class_name" not in optimizer:
        raise TrainingError("`optimizer` is one for all networks. For a dict by network use compile(optimizers=...).")
    if optimizer is not None:
        return dict.fromkeys(networks, optimizer)
    if optimizers is not None and not isinstance(optimizers, Mapping):
        raise TrainingError(f"`optimizers` is a dict by network: {sorted(networks)}. Received: {optimizers!r}.")
    for name in optimizers or {}:
        if name not in networks:
            raise TrainingError(unknown_name("network (compile's optimizers)", name, networks))
    return dict(optimizers or {})


class JointOptimizer:
    """All optimizers of a model as one, which is what `model.optimizer` is.

    `learning_rate` is that of the first network (the generator). Setting it multiplies all learning rates by the same
    factor, so that their ratios stay: with generator 1e-4 and discriminator 4e-4, a scheduler that sets 5e-5 leaves
    the discriminator with 2e-4. `LearningRateScheduler` and `ReduceLROnPlateau` work by it.

    Args:
        optimizers: by network, built.
    """

    def __init__(self, optimizers: Mapping[str, keras.optimizers.Optimizer]):
        self._each = dict(optimizers)
        self._first = next(iter(self._each.values()))
        self._ratios = dict.fromkeys(self._each, 1.0)
        self._remember()
        self.built = True

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the first network, a variable or a schedule's present value."""
        return self._first.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._remember()
        for name, optimizer in self._each.items():
            optimizer.learning_rate = float(value) * self._ratios[name]

    @property
    def iterations(self) -> Any:
        """The updates of the first network."""
        return self._first.iterations

    @property
    def variables(self) -> list[Any]:
        """The variables of all optimizers."""
        return [variable for optimizer in self._each.values() for variable in optimizer.variables]

    def _remember(self) -> None:
        """Keep the ratios as they are now; those of before where the first learning rate is 0."""
        first = _number(self._first.learning_rate)
        if first > 0:
            self._ratios = {name: _number(one.learning_rate) / first for name, one in self._each.items()}


def _number(rate: Any) -> float:
    return float(np.array(rate))  # a mirrored variable has no float() of its own
