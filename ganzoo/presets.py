"""Presets: a folder with `recipe.yaml` and `model.safetensors`, safe to load, whose parts have names.

A part is named `WHERE:PART`, split at the last colon: `runs/ae:decoder`, `image/dcgan_32:discriminator`,
`imagenet/efficientnet_lite0:trunk`. WHERE is an entry with published weights, a run directory or a preset. A source may
also be a file of tensors, which a mapping names.
"""

import fnmatch
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo import registry
from ganzoo.backbone_catalogue import distinct
from ganzoo.cache import FileProblem, file_digest, parse_json, read_checked, read_safetensors, write_arrays, write_text
from ganzoo.errors import GanzooError, WeightsError, unknown_name
from ganzoo.foreign_weights import SUFFIXES, is_weights_file, mapped
from ganzoo.runs import checkpoints
from ganzoo.runs.class_names import CLASS_NAMES, WEIGHTS_FILE, count_of, find_names

if TYPE_CHECKING:
    import keras

    from ganzoo.gan import GAN
    from ganzoo.phased_model import PhasedModel

IMAGENET = "imagenet/"
_USELESS = 0.8  # of the variance: a larger error is a warning
_SOURCE_SIDE = 128  # of a backbone that gives its weights, which are the same at any size: none refuses this one
SEEN, TAUGHT = "samples_seen", "pretrained_sources"  # in the file's metadata

log = logging.getLogger("ganzoo")


@dataclass(frozen=True)
class TransferReport:
    """What became of each weight: names of those loaded, skipped and mismatched.

    `share`: the share of the target's parameters that were loaded. `times`: how many seconds the runs were trained
    that the source comes from, by run; `clocks`: how these were counted (`training.clock`). `teachers`: the pretrained
    networks that taught the source, see `PhasedModel.pretrained_sources`.
    """

    target: str
    source: str
    loaded: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    share: float = 1.0
    times: Mapping[str, float] = field(default_factory=dict)
    clocks: tuple[str, ...] = ()
    teachers: tuple[dict[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


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
    from ganzoo.variables import named_variables

    folder = Path(folder)
    arrays = {}
    for group, network in gan.preset_parts().items():
        for name, variable in named_variables(network).items():
            array = np.array(variable, order="C")
            arrays[f"{group}/{name}"] = array.astype("float16") if half and array.dtype == np.float32 else array
    if wrong := checkpoints.not_finite(arrays):
        raise WeightsError(f"{folder} is not written: {wrong}{' in half precision' if half else ''}.")
    recipe = gan.recipe.to_yaml()
    metadata = {
        SEEN: str(gan.sample_count),
        TAUGHT: json.dumps(gan.pretrained_sources()),
        checkpoints.RECIPE_DIGEST: checkpoints.recipe_digest(recipe),
    }
    if names := getattr(gan, "class_names", ()):
        metadata[CLASS_NAMES] = json.dumps(names)
    write_arrays(folder / WEIGHTS_FILE, arrays, metadata)
    write_text(folder / registry.RUN_RECIPE, recipe)
    return folder


def load(name: str, **overrides: Any) -> "GAN":
    """A GAN with the weights of an entry, a run directory or a preset, built but not compiled.

    Args:
        name: an entry with published weights, or a folder.
        overrides: recipe keys that change no shape.

    Raises:
        WeightsError: there are no weights, or they do not fit.
    """
    path = weights_file(name)
    arrays = _read(path, name)
    checkpoints.check_recipe(path, path.parent / registry.RUN_RECIPE)
    _compare_with_checkpoint(name, path)
    # The recipe that was saved with the weights: an entry's own may have other classes or channels by now.
    recipe = registry.get_entry(str(path.parent)).recipe(**overrides)
    if recipe.pretrain:
        parts = sorted({key.split("/")[0] for key in arrays})
        raise WeightsError(
            f"{name} is not a GAN but a run of `pretrain {recipe.pretrain['method']}`, with the parts {parts}. Train "
            f"one that starts from them: `ganzoo train {recipe.entry} --data DATA --run DIR "
            f"--init PART={name}:{parts[0]}`."
        )
    if name in registry.list_entries():
        published = registry.get_entry(name).recipe()
        recipe = recipe.model_copy(update={"weights": published.weights, "scores": published.scores})
    gan = registry.create_from_recipe(recipe)
    gan.samples_seen.assign(samples_seen(path.parent) or 0)
    gan.inherited_sources = teachers_of(path.parent)
    gan.class_names = class_names(gan, path.parent)
    networks = {**gan.networks(), **gan.fixed_networks()}
    for group, network in networks.items():
        for one in (network, *_averages_of(gan, network)):
            _assign(one, _below(arrays, group), group, name)
    return gan


def transfer(
    source: str,
    target: str,
    gan: "PhasedModel",
    skip: Sequence[str] = (),
    partial: bool = False,
    mapping: str | None = None,
) -> TransferReport:
    """Load a named part into a part of `gan`, every weight by its name; `gan` remembers what taught the source.

    Args:
        source: `WHERE:PART`, or a file of tensors (`ganzoo.foreign_weights`).
        target: a part of `gan`.
        skip: patterns of weights (`up_64*`, `*/bias`) that keep their values in the target, and need not exist.
        partial: weights that do not fit keep their values too, and are listed as mismatched.
        mapping: a YAML file that maps a file's tensors.

    Raises:
        WeightsError: what no pattern names is missing, left over or of another shape (unless `partial`), or nothing
            fits at all; nothing was loaded then.
    """
    from ganzoo.variables import named_variables

    if is_weights_file(source):
        network = gan.part(target)
        shapes = {name: tuple(variable.shape) for name, variable in named_variables(network).items()}
        found, teacher = mapped(source, mapping, shapes)
        return _transfer(network, found, target, source, gan, skip, partial, [teacher])
    if mapping is not None:
        raise WeightsError(f"A mapping is for files of tensors ({', '.join(SUFFIXES)}). Received: '{source}'.")
    where, colon, part = source.rpartition(":")
    if not colon or not where or not part:
        raise WeightsError(
            f"A source of weights is named WHERE:PART, such as 'runs/first:generator', or is a file of tensors "
            f"({', '.join(SUFFIXES)}). Received: '{source}'."
        )
    network = gan.part(target)
    if where.startswith(IMAGENET):
        return _from_backbone(where.removeprefix(IMAGENET), part, target, gan, skip, partial)
    found, teachers = read_part(where, part)
    return _transfer(network, found, target, source, gan, skip, partial, teachers)


def transfer_narrowed(source: str, target: str, gan: "GAN") -> TransferReport:
    """Give the generator of `gan` what it can keep of one with more channels (`ganzoo.narrowing`).

    Args:
        source: `WHERE:generator`.
        target: `generator`.
        gan: whose generator has the same layers as the source's.

    Raises:
        WeightsError: another part is named, or the generators differ in more than their channels.
    """
    from ganzoo.narrowing import COMPARED, narrow
    from ganzoo.variables import named_variables

    where, _, part = source.rpartition(":")
    if (part, target) != ("generator", "generator"):
        raise WeightsError(f"`narrow` is for generator=WHERE:generator alone. Received: {target}={source}.")
    wide = load(where)
    inputs = wide.draw_latents(COMPARED, seed=1) | wide.draw_conditions(COMPARED)
    try:
        narrow(wide.generator_ema, gan.generator, inputs)
    except WeightsError as error:
        raise WeightsError(f"{source} cannot be narrowed to the generator of {gan.recipe.entry}: {error}") from None
    for weight, value in zip(gan.generator_ema.weights, gan.generator.weights, strict=True):
        weight.assign(value)
    wanted, made = (np.asarray(one(inputs, training=False)) for one in (wide.generator_ema, gan.generator))
    share = float(np.mean(np.square(made - wanted)) / np.mean(np.var(wanted, axis=0)))
    log.log(
        logging.INFO if share < _USELESS else logging.WARNING,
        "%s: narrowed, its samples differ from the wider one's by %.2f of their variance (2: unrelated ones).",
        target,
        share,
    )
    teachers = wide.pretrained_sources()
    gan.inherited_sources = distinct([*gan.inherited_sources, *teachers])
    return TransferReport(target, source, tuple(named_variables(gan.generator)), teachers=tuple(teachers))


def read_part(where: str, part: str) -> tuple[dict[str, np.ndarray], list[dict[str, str]]]:
    """The weights of a part of an entry, a run or a preset, by `layer/variable`; the networks that taught them.

    Raises:
        WeightsError: there are no weights, or none of such a part.
    """
    path = weights_file(where)
    arrays = _read(path, where)
    found = _below(arrays, part.replace(".", "/"))
    if not found:
        groups = sorted(
            {".".join(name.split("/")[:depth]) for name in arrays for depth in (1, 2) if name.count("/") > depth}
        )
        raise WeightsError(unknown_name(f"part of {where}", part, groups))
    return found, teachers_of(path.parent)


def _transfer(
    network: "keras.Model",
    arrays: Mapping[str, np.ndarray],
    target: str,
    source: str,
    gan: "PhasedModel",
    skip: Sequence[str],
    partial: bool,
    teachers: Sequence[dict[str, str]] = (),
) -> TransferReport:
    from ganzoo.variables import named_variables

    variables = named_variables(network)
    names = [*variables, *(name for name in arrays if name not in variables)]
    skipped = tuple(name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in skip))
    loaded, mismatched = [], []
    for name in names:
        if name in skipped:
            continue
        if name not in arrays:
            mismatched.append(f"{name}: not in the source")
        elif name not in variables:
            mismatched.append(f"{name}: not in the target")
        elif (given := tuple(arrays[name].shape)) != (wanted := tuple(variables[name].shape)):
            mismatched.append(f"{name}: {given} in the source, {wanted} in the target")
        else:
            loaded.append(name)
    if mismatched and not partial:
        first = "; ".join(mismatched[:3]) + ("; ..." if len(mismatched) > 3 else "")
        narrower = " A generator with fewer channels keeps most by --init generator=SOURCE,narrow."
        raise WeightsError(
            f"The weights of {source} do not fit {target}: {len(mismatched)} of {len(names)} ({first}). Use the recipe "
            "(sizes, channels, classes) that the source was made with, name them under `skip`, or load what fits with "
            f"`partial: true` (--init PART=SOURCE,partial).{narrower if target == 'generator' else ''}"
        )
    if wrong := checkpoints.not_finite({name: arrays[name] for name in loaded}):
        raise WeightsError(f"{source} cannot be loaded into {target}: {wrong}.")
    if not loaded:
        raise WeightsError(f"No weight of {source} fits {target}: {'; '.join(mismatched[:3]) or 'all are skipped'}.")
    for one in (network, *_averages_of(gan, network)):
        into = named_variables(one)
        for name in loaded:
            into[name].assign(arrays[name].astype(into[name].dtype))
    gan.inherited_sources = distinct([*gan.inherited_sources, *teachers])
    sizes = {name: math.prod(variable.shape) for name, variable in variables.items()}
    share = sum(sizes[name] for name in loaded) / sum(sizes.values())
    return TransferReport(
        target, source, tuple(loaded), skipped, tuple(mismatched), share=share, teachers=tuple(teachers)
    )


def _averages_of(gan: "PhasedModel", network: "keras.Model") -> "list[keras.Model]":
    """The averaged networks that follow a network, or their layers that follow a nested one."""
    found = []
    for average, live in gan.averages().values():
        if live is network:
            found.append(average)
        elif any(layer is network for layer in live.layers):
            found.append(average.get_layer(network.name))
    return found


def samples_seen(folder: Path) -> int | None:
    """The reals that a preset's GAN had seen when it was saved; None where there is no whole preset.

    Raises:
        WeightsError: the file says something else there than a number.
    """
    metadata = checkpoints.read_metadata(folder / WEIGHTS_FILE)
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
        checkpoints.check_recipe(folder / WEIGHTS_FILE, folder / registry.RUN_RECIPE)
        return samples_seen(folder)
    except GanzooError:
        return None


def teachers_of(folder: Path) -> list[dict[str, str]]:
    """The pretrained networks that taught a preset's model.

    Raises:
        WeightsError: the file says something else there than a list of networks.
    """
    text = (checkpoints.read_metadata(folder / WEIGHTS_FILE) or {}).get(TAUGHT, "[]")
    try:
        found = parse_json(text)
    except (FileProblem, ValueError):
        found = None
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise WeightsError(f"{folder / WEIGHTS_FILE} is damaged: '{text[:60]}' is not a list of pretrained networks.")
    return found


def class_names(gan: "GAN", folder: Path) -> tuple[str, ...]:
    """The names of a GAN's classes that are kept in a folder: with a preset, a run or a teacher; empty if not known."""
    return find_names(gan.recipe, folder, count_of(gan), lambda name: registry.get_entry(name).recipe())


def read_weights(name: str) -> dict[str, np.ndarray]:
    """All weights of an entry, a run or a preset, by `part/layer/variable`."""
    return _read(weights_file(name), name)


def _read(path: Path, name: str) -> dict[str, np.ndarray]:
    """All weights of a preset's file, checked: its checksum, where it has one, and that they are finite numbers."""
    arrays, checked = read_checked(path)
    if wrong := checkpoints.not_finite(arrays):
        raise WeightsError(f"{path} is damaged: {wrong}. Train again, or take weights from before.")
    if not checked and name not in registry.list_entries():  # published ones have a sha256 in their YAML
        log.info("%s has no checksum: it was written by an earlier version of ganzoo.", path)
    return arrays


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


def weights_file(name: str) -> Path:
    """The path of the weights of an entry, a run or a preset; published ones are checked against their sha256."""
    entry = registry.get_entry(name)
    if entry.name in registry.list_entries():
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


def _from_backbone(
    name: str, part: str, target: str, gan: "PhasedModel", skip: Sequence[str], partial: bool
) -> TransferReport:
    if part != "trunk":
        raise WeightsError(f"{IMAGENET}{name} has one part, 'trunk'. Received: '{part}'.")
    from ganzoo import backbones
    from ganzoo.variables import named_variables

    network = gan.part(target)
    shapes = [tuple(tensor.shape[1:]) for tensor in network.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 3:
        raise WeightsError(f"{target} takes {shapes}, {IMAGENET}{name}:trunk one image: they do not fit.")
    wanted = named_variables(network)
    for fold in (True, False):  # with normalisations folded into convolutions, as far as that goes, or all there
        source = backbones.create(name, shapes[0], input_size=_SOURCE_SIDE, fold=fold, trainable=True)
        arrays = {key: np.array(variable) for key, variable in named_variables(source).items()}
        if wanted.keys() <= arrays.keys():
            break
    if not wanted.keys() & arrays.keys():
        raise WeightsError(
            f"{target} is not a network like {name}: its weights fit nowhere. Take an entry whose discriminator may be "
            f"one, such as image/projected_mobile_64 with --set model.trunk={name}."
        )
    if wanted.keys() <= arrays.keys():
        arrays = {key: arrays[key] for key in wanted}  # without the layers above the target's level
    teachers = [source.info.source_entry()]
    return _transfer(network, arrays, target, f"{IMAGENET}{name}:trunk", gan, skip, partial, teachers)


def _below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(f"{prefix}/"): a for name, a in arrays.items() if name.startswith(f"{prefix}/")}


def _assign(network: "keras.Model", arrays: Mapping[str, np.ndarray], target: str, source: str) -> None:
    from ganzoo.variables import fill

    if wrong := fill(network, arrays):
        raise WeightsError(
            f"The weights of {source} do not fit {target}: {wrong}. Use the recipe (sizes, channels, classes) that the "
            "source was made with."
        )
