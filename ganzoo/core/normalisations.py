"""Batch normalisations of whole networks: found, and their statistics computed anew."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np


def batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """A network's batch normalisations, those of nested models too."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]


def recompute(
    averaged: keras.Model, live_network: keras.Model, inputs_of: Callable[[int], Mapping[str, Any]], batches: int
) -> None:
    """Set a network's statistics to a plain average over some batches.

    Args:
        averaged: whose statistics are set.
        live_network: of the same layers; statistics of those that are frozen in it stay as they are.
        inputs_of: the inputs of a batch, by its number.
        batches: how many.
    """
    pairs = zip(batch_norms(averaged), batch_norms(live_network), strict=True)
    layers = [layer for layer, live in pairs if live.trainable]
    if not layers:
        return
    momenta = [layer.momentum for layer in layers]
    means: list[list[np.ndarray]] = [[] for _ in layers]
    variances: list[list[np.ndarray]] = [[] for _ in layers]
    trained = [layer.trainable for layer in layers]
    for layer in layers:
        layer.momentum, layer.trainable = 0.0, True
    for index in range(batches):
        inputs = inputs_of(index)
        averaged(inputs, training=True)
        for layer, mean, variance in zip(layers, means, variances, strict=True):
            mean.append(np.array(layer.moving_mean))
            variance.append(np.array(layer.moving_variance))
    for layer, mean, variance, momentum, trainable in zip(layers, means, variances, momenta, trained, strict=True):
        layer.moving_mean.assign(np.mean(mean, axis=0))
        layer.moving_variance.assign(np.mean(variance, axis=0) + np.var(mean, axis=0))
        layer.momentum, layer.trainable = momentum, trainable
