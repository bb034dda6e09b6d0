"""Presets: a folder with `recipe.yaml` and `model.safetensors`, safe to load, whose parts have names.

A part is named `WHERE:PART`, split at the last colon: `runs/ae:decoder`, `image/dcgan_32:discriminator`,
`imagenet/efficientnet_lite0:trunk`. WHERE is an entry with published weights, a run directory or a preset. A source may
also be a file of tensors, which a mapping names.
"""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganzoo.errors import GanzooError, WeightsError, unknown_name
from ganzoo.files.reading import FileProblem, parse_json
from ganzoo.files.tensors import file_digest, read_checked, read_safetensors, write_arrays
from ganzoo.files.writing import write_text
from ganzoo.recipes import entries, yaml_files
from ganzoo.weights import integrity

if TYPE_CHECKING:
    from ganzoo.core.model import PhasedModel


CLASS_NAMES = "class_names"  # in the metadata of a preset's file
WEIGHTS_FILE = "model.safetensors"  # of a preset
SEEN, TAUGHT = "samples_seen", "pretrained_sources"  # in the file's metadata

log = logging.getLogger("ganzoo")


def save(gan: "PhasedModel", folder: Path, half: bool = False) -> Path:
    """Write the parts of a model and the recipe; of a GAN the averaged generator, as `generator`, and the others.

    Args:
        gan: a built GAN or pretraining; averaged networks should be calibrated.
        folder: made where it is missing.
        half: store float16, half the size.

    Returns:
        `folder`, with the weights (`model.safetensors`) and the recipe (`recipe.yaml`) in it.

    Raises:
        StorageError: the folder cannot be written; files that were there are whole.
        WeightsError: a weight is NaN or infinite.
    """
    from ganzoo.weights.variables import named_variables

    folder = Path(folder)
    arrays = {}
    for group, network in gan.preset_parts().items():
        for name, variable in named_variables(network).items():
            array = np.array(variable, order="C")
            arrays[f"{group}/{name}"] = array.astype("float16") if half and array.dtype == np.float32 else array
    if wrong := integrity.not_finite(arrays):
        raise WeightsError(f"{folder} is not written: {wrong}{' in half precision' if half else ''}.")
    recipe = gan.recipe.to_yaml()
    metadata = {
        SEEN: str(gan.sample_count),
        TAUGHT: json.dumps(gan.pretrained_sources()),
        integrity.RECIPE_DIGEST: integrity.recipe_digest(recipe),
    }
    if names := getattr(gan, "class_names", ()):
        metadata[CLASS_NAMES] = json.dumps(names)
    write_arrays(folder / WEIGHTS_FILE, arrays, metadata)
    write_text(folder / yaml_files.RUN_RECIPE, recipe)
    return folder


def read_part(where: str, part: str) -> tuple[dict[str, np.ndarray], list[dict[str, str]]]:
    """The weights of a part of an entry, a run or a preset, by `layer/variable`; the networks that taught them.

    Raises:
        WeightsError: there are no weights, or none of such a part.
    """
    path = weights_file(where)
    arrays = read_arrays(path, where)
    found = below(arrays, part.replace(".", "/"))
    if not found:
        groups = sorted(
            {".".join(name.split("/")[:depth]) for name in arrays for depth in (1, 2) if name.count("/") > depth}
        )
        raise WeightsError(unknown_name(f"part of {where}", part, groups))
    return found, teachers_of(path.parent)


def samples_seen(folder: Path) -> int | None:
    """The reals that a preset's GAN had seen when it was saved; None where there is no whole preset.

    Raises:
        WeightsError: the file says something else there than a number.
    """
    metadata = integrity.read_metadata(folder / WEIGHTS_FILE)
    if metadata is None:
        return None
    text = metadata.get(SEEN, "0")
    if not re.fullmatch("[0-9]{1,16}", text):
        raise WeightsError(f"{folder / WEIGHTS_FILE} is damaged: '{text}' is not a number of samples.")
    return int(text)


def whole_at(folder: Path) -> int | None:
    """The samples that the model of a preset had seen, if all of the preset is there and whole; None if not."""
    try:
        read_safetensors(folder / WEIGHTS_FILE)
        integrity.check_recipe(folder / WEIGHTS_FILE, folder / yaml_files.RUN_RECIPE)
        return samples_seen(folder)
    except GanzooError:
        return None


def teachers_of(folder: Path) -> list[dict[str, str]]:
    """The pretrained networks that taught a preset's model.

    Raises:
        WeightsError: the file says something else there than a list of networks.
    """
    text = (integrity.read_metadata(folder / WEIGHTS_FILE) or {}).get(TAUGHT, "[]")
    try:
        found = parse_json(text)
    except (FileProblem, ValueError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise WeightsError(f"{folder / WEIGHTS_FILE} is damaged: '{text[:60]}' is not a list of pretrained networks.")
    return found


def read_weights(name: str) -> dict[str, np.ndarray]:
    """All weights of an entry, a run or a preset, by `part/layer/variable`."""
    return read_arrays(weights_file(name), name)


def read_arrays(path: Path, name: str) -> dict[str, np.ndarray]:
    """All weights of a preset's file, checked: its checksum, where it has one, and that they are finite numbers."""
    arrays, checked = read_checked(path)
    if wrong := integrity.not_finite(arrays):
        raise WeightsError(f"{path} is damaged: {wrong}. Train again, or take weights from before.")
    if not checked and name not in entries.list_entries():  # published ones have a sha256 in their YAML
        log.info("%s has no checksum: it was written by an earlier version of ganzoo.", path)
    return arrays


def weights_file(name: str) -> Path:
    """The path of the weights of an entry, a run or a preset; published ones are checked against their sha256."""
    entry = entries.get_entry(name)
    if entry.name in entries.list_entries():
        published = entry.weights
        if published is None:
            raise WeightsError(
                f"{name} has no published weights. Train it (`ganzoo train {name} --data DATA --run DIR`) and name "
                "that run."
            )
        path = (entry.path.parent / published["uri"]).resolve() / WEIGHTS_FILE
        if not path.is_file():
            raise WeightsError(f"The published weights of {name} are missing: {path}. Install ganzoo again.")
        digest = file_digest(path)
        if digest != published["sha256"]:
            raise WeightsError(
                f"{path} is damaged: its sha256 is {digest}, not {published['sha256']}. Install ganzoo again."
            )
        return path
    for folder in (Path(name) / "preset", Path(name)):
        if (folder / WEIGHTS_FILE).is_file():
            return folder / WEIGHTS_FILE
    raise WeightsError(f"{name} holds no weights yet ({WEIGHTS_FILE}). Train it first, or wait for its first snapshot.")


def weights_digest(name: str) -> str:
    """The sha256 of the weights of an entry, a run or a preset."""
    return file_digest(weights_file(name))


def below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with `prefix/`, without it."""
    return {name.removeprefix(f"{prefix}/"): a for name, a in arrays.items() if name.startswith(f"{prefix}/")}
