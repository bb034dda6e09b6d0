"""The averaged generator in float32 as it is exported: a function of named inputs, latents truncated within."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganzoo import distribution
from ganzoo.core.gan import GAN
from ganzoo.zoo.create import create_from_recipe

from . import signature
from .signature import TRUNCATION

_BATCH = 64


@dataclass(frozen=True)
class Generator:
    """A float32 network that makes a GAN's samples, and the GAN.

    Attributes:
        gan: whose generator it is.
        network: on one device, in float32.
        signature: what `ganzoo.export.signature.describe` returns.
    """

    gan: GAN
    network: keras.Model
    signature: Mapping[str, Any]

    def __call__(self, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Samples `(batch, ...)` of latents, conditions and `truncation`, by name, in inference mode."""
        names = self.gan.latents_spec()
        latents = self.gan.truncate({name: inputs[name] for name in names}, inputs[TRUNCATION])
        conditions = {name: inputs[name] for name in self.gan.conditions_spec()}
        return self.network(latents | conditions, training=False)

    def samples(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Keras' samples, float32, of inputs `(N, ...)`."""
        count = len(inputs[TRUNCATION])
        parts = (
            {name: tf.constant(value[start : start + _BATCH]) for name, value in inputs.items()}
            for start in range(0, count, _BATCH)
        )
        return np.concatenate([np.asarray(self(part), "float32") for part in parts])


class Servable(tf.Module):
    """A generator's variables and its function for one batch size.

    The variables have to be attributes: a converter that is handed the Keras model writes a file without weights.

    Args:
        generator: what is served.
        batch: the batch size; None for any.
    """

    def __init__(self, generator: Generator, batch: int | None):
        super().__init__()
        self.weights = [variable.value for variable in generator.network.variables]
        described = generator.signature

        @tf.function(autograph=False)
        def serve(**inputs):
            return {described["outputs"][0]["name"]: generator(inputs)}

        self.concrete = serve.get_concrete_function(
            **{
                given["name"]: tf.TensorSpec((batch, *given["shape"]), given["dtype"], name=given["name"])
                for given in described["inputs"]
            }
        )


def of_gan(gan: GAN) -> Generator:
    """`generator_ema` on one device in float32: built anew with the same weights where it is anything else."""
    network = gan.generator_ema
    training = gan.recipe.training
    if training.precision != "float32" or distribution.strategy_of(gan).num_replicas_in_sync > 1:
        plain = training.model_copy(update={"precision": "float32"})
        network = create_from_recipe(gan.recipe.model_copy(update={"training": plain})).generator_ema
        for weight, source in zip(network.weights, gan.generator_ema.weights, strict=True):
            weight.assign(np.asarray(source))
    return Generator(gan, network, signature.describe(gan, network))
