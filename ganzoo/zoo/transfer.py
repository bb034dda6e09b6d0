"""First weights of a GAN's parts, from parts of entries, runs and presets, backbones, and files of tensors."""

import fnmatch
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo.errors import WeightsError
from ganzoo.weights import integrity
from ganzoo.weights.foreign import SUFFIXES, is_weights_file, mapped
from ganzoo.weights.preset_files import read_part
from ganzoo.weights.sources import distinct
from ganzoo.zoo.load import averages_of, load

if TYPE_CHECKING:
    import keras

    from ganzoo.core.gan import GAN
    from ganzoo.core.model import PhasedModel

log = logging.getLogger("ganzoo")


IMAGENET = "imagenet/"
_USELESS = 0.8  # of the variance: a larger error is a warning
_SOURCE_SIDE = 128  # of a backbone that gives its weights, which are the same at any size: none refuses this one


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
        source: `WHERE:PART`, or a file of tensors (`ganzoo.weights.foreign`).
        target: a part of `gan`.
        skip: patterns of weights (`up_64*`, `*/bias`) that keep their values in the target, and need not exist.
        partial: weights that do not fit keep their values too, and are listed as mismatched.
        mapping: a YAML file that maps a file's tensors.

    Raises:
        WeightsError: what no pattern names is missing, left over or of another shape (unless `partial`), or nothing
            fits at all; nothing was loaded then.
    """
    from ganzoo.weights.variables import named_variables

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
    """Give the generator of `gan` what it can keep of one with more channels (`ganzoo.weights.channel_pruning`).

    Args:
        source: `WHERE:generator`.
        target: `generator`.
        gan: whose generator has the same layers as the source's.

    Raises:
        WeightsError: another part is named, or the generators differ in more than their channels.
    """
    from ganzoo.weights.channel_pruning import COMPARED, narrow
    from ganzoo.weights.variables import named_variables

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
    from ganzoo.weights.variables import named_variables

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
    if wrong := integrity.not_finite({name: arrays[name] for name in loaded}):
        raise WeightsError(f"{source} cannot be loaded into {target}: {wrong}.")
    if not loaded:
        raise WeightsError(f"No weight of {source} fits {target}: {'; '.join(mismatched[:3]) or 'all are skipped'}.")
    for one in (network, *averages_of(gan, network)):
        into = named_variables(one)
        for name in loaded:
            into[name].assign(arrays[name].astype(into[name].dtype))
    gan.inherited_sources = distinct([*gan.inherited_sources, *teachers])
    sizes = {name: math.prod(variable.shape) for name, variable in variables.items()}
    share = sum(sizes[name] for name in loaded) / sum(sizes.values())
    return TransferReport(
        target, source, tuple(loaded), skipped, tuple(mismatched), share=share, teachers=tuple(teachers)
    )


def _from_backbone(
    name: str, part: str, target: str, gan: "PhasedModel", skip: Sequence[str], partial: bool
) -> TransferReport:
    if part != "trunk":
        raise WeightsError(f"{IMAGENET}{name} has one part, 'trunk'. Received: '{part}'.")
    from ganzoo import backbones
    from ganzoo.weights.variables import named_variables

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
