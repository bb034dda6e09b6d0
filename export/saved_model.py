"""The averaged generator in float32, as a function of named inputs and as a SavedModel."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganzoo import distribution
from ganzoo.gan import GAN
from ganzoo.registry import create_from_recipe


def float32_generator(gan: GAN) -> keras.Model:
    """`generator_ema` on one device in float32: built anew with the same weights where it is anything else."""
    training = gan.recipe.training
    if training.precision == "float32" and distribution.strategy_of(gan).num_replicas_in_sync == 1:
        return gan.generator_ema
    plain = training.model_copy(update={"precision": "float32"})
    generator = create_from_recipe(gan.recipe.model_copy(update={"training": plain})).generator_ema
    for weight, source in zip(generator.weights, gan.generator_ema.weights, strict=True):
        weight.assign(np.asarray(source))
    return generator


class Servable(tf.Module):
    """A generator's variables and its function for one batch size.

    The variables have to be attributes: a converter that is handed the Keras model writes a file without weights.

    Args:
        generator: a float32 generator.
        signature: what `ganzoo.export.signature.describe` returns.
        batch: the batch size; None for any.
    """

    def __init__(self, generator: keras.Model, signature: Mapping[str, Any], batch: int | None):
        super().__init__()
        self.weights = [variable.value for variable in generator.variables]

        @tf.function(autograph=False)
        def serve(**inputs):
            return {signature["outputs"][0]["name"]: generator(inputs, training=False)}

        self.concrete = serve.get_concrete_function(
            **{
                given["name"]: tf.TensorSpec((batch, *given["shape"]), given["dtype"], name=given["name"])
                for given in signature["inputs"]
            }
        )


def write(generator: keras.Model, signature: Mapping[str, Any], path: Path) -> None:
    """Write a SavedModel folder with one named signature, for any batch size."""
    servable = Servable(generator, signature, batch=None)
    tf.saved_model.save(servable, str(path), signatures={signature["name"]: servable.concrete})
