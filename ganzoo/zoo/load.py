"""GANs with the weights of an entry, a run directory or a preset."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo.errors import WeightsError
from ganzoo.recipes import entries, yaml_files
from ganzoo.runs import checkpoints
from ganzoo.runs.class_names import count_of, find_names
from ganzoo.weights import integrity
from ganzoo.weights.preset_files import below, read_arrays, samples_seen, teachers_of, weights_file
from ganzoo.zoo.create import create_from_recipe

if TYPE_CHECKING:
    import keras

    from ganzoo.core.gan import GAN
    from ganzoo.core.model import PhasedModel

log = logging.getLogger("ganzoo")


def load(name: str, **overrides: Any) -> "GAN":
    """A GAN with the weights of an entry, a run directory or a preset, built but not compiled.

    Args:
        name: an entry with published weights, or a folder.
        overrides: recipe keys that change no shape.

    Raises:
        WeightsError: there are no weights, or they do not fit.
    """
    path = weights_file(name)
    arrays = read_arrays(path, name)
    integrity.check_recipe(path, path.parent / yaml_files.RUN_RECIPE)
    _compare_with_checkpoint(name, path)
    # The recipe that was saved with the weights: an entry's own may have other classes or channels by now.
    recipe = entries.get_entry(str(path.parent)).recipe(**overrides)
    if recipe.pretrain:
        parts = sorted({key.split("/")[0] for key in arrays})
        raise WeightsError(
            f"{name} is not a GAN but a run of `pretrain {recipe.pretrain['method']}`, with the parts {parts}. Train "
            f"one that starts from them: `ganzoo train {recipe.entry} --data DATA --run DIR "
            f"--init PART={name}:{parts[0]}`."
        )
    if name in entries.list_entries():
        published = entries.get_entry(name).recipe()
        recipe = recipe.model_copy(update={"weights": published.weights, "scores": published.scores})
    gan = create_from_recipe(recipe)
    gan.samples_seen.assign(samples_seen(path.parent) or 0)
    gan.inherited_sources = teachers_of(path.parent)
    gan.class_names = class_names(gan, path.parent)
    networks = {**gan.networks(), **gan.fixed_networks()}
    for group, network in networks.items():
        for one in (network, *averages_of(gan, network)):
            _assign(one, below(arrays, group), group, name)
    return gan


def averages_of(gan: "PhasedModel", network: "keras.Model") -> "list[keras.Model]":
    """The averaged networks that follow a network, or their layers that follow a nested one."""
    found = []
    for average, live in gan.averages().values():
        if live is network:
            found.append(average)
        elif any(layer is network for layer in live.layers):
            found.append(average.get_layer(network.name))
    return found


def class_names(gan: "GAN", folder: Path) -> tuple[str, ...]:
    """The names of a GAN's classes that are kept in a folder: with a preset, a run or a teacher; empty if not known."""
    return find_names(gan.recipe, folder, count_of(gan), lambda name: entries.get_entry(name).recipe())


def _compare_with_checkpoint(name: str, path: Path) -> None:
    """Warn where a run has a newer checkpoint than its preset."""
    newest = max(checkpoints.listed(Path(name)), default=0)
    seen = samples_seen(path.parent) or 0
    if path.parent == Path(name) / "preset" and seen < newest:
        log.warning(
            "The preset of %s holds the weights after %s samples, but its newest checkpoint those after %s. Run the "
            "training command again to bring the preset up to date.",
            name,
            f"{seen:,}",
            f"{newest:,}",
        )


def _assign(network: "keras.Model", arrays: Mapping[str, np.ndarray], target: str, source: str) -> None:
    from ganzoo.weights.variables import fill

    if wrong := fill(network, arrays):
        raise WeightsError(
            f"The weights of {source} do not fit {target}: {wrong}. Use the recipe (sizes, channels, classes) that the "
            "source was made with."
        )
