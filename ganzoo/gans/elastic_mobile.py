"""A mobile generator that is trained at several widths at once: one training, a file for each kind of phone.

The narrower generators have the first channels of each layer of the whole one, and none of their own (slimmable
networks: Yu et al. 2019, https://arxiv.org/abs/1812.08928; of GANs: Hou et al. 2021, https://arxiv.org/abs/2012.05660;
Anycost GAN: Lin et al. 2021, https://arxiv.org/abs/2103.03243). In a batch every other sample is made by the whole
generator, the rest by the narrower ones in turn, and one discriminator judges them all. A narrower generator is drawn
to what the whole one makes of the same latents, so that a phone of either kind shows the same picture.

Statistics of normalisations belong to a width. In training they are those of the batch; `at_width` takes them anew
over fresh latents (as Yu and Huang 2019, https://arxiv.org/abs/1903.05134, do).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import keras
import numpy as np
import pydantic
import tensorflow as tf

from ganzoo import distribution, presets, registry
from ganzoo.config import NonNegativeFloat, validate
from ganzoo.domains import get_domain
from ganzoo.errors import TrainingError
from ganzoo.gan import GAN
from ganzoo.gans.projected_mobile import ProjectedMobileGAN
from ganzoo.narrowing import sort_channels
from ganzoo.phases import Batch
from ganzoo.variables import fill, named_variables

_PLAIN = "projected_mobile"  # what a GAN at one width is
_ELASTIC = __name__.rpartition(".")[2]
_COMPARED = 256  # samples by which channels are sorted
_OWN = ("narrower", "consistency")


def _falling(shares: tuple[float, ...]) -> tuple[float, ...]:
    if list(shares) != sorted(set(shares), reverse=True):
        raise ValueError("each share once, the greatest first")
    return shares


Share = pydantic.confloat(gt=0.0, lt=1.0)


class ElasticMobileGAN(ProjectedMobileGAN):
    """A mobile generator with narrower ones within it."""

    class Options(ProjectedMobileGAN.Options):
        """Those of `projected_mobile`; and the narrower generators.

        `narrower`: their shares of each layer's channels. `consistency`: the weight of
        mean (G_narrow(z) - G_whole(z))^2, through which the whole generator learns nothing.
        """

        narrower: Annotated[tuple[Share, ...], pydantic.Field(min_length=1), pydantic.AfterValidator(_falling)] = (
            0.75,
            0.5,
        )
        consistency: NonNegativeFloat = 10.0

    def build_networks(self) -> None:
        """As `GAN`; and the narrower generators, whose weights are pieces of the whole one's."""
        super().build_networks()
        self.narrow = [self.build_of_widths(_narrowed(self.options.widths, s)) for s in self.options.narrower]

    def compile(self, run_eagerly: bool = False, jit_compile: bool | None = None) -> None:
        """As `GAN.compile`; each width needs its share of a batch on each replica."""
        period = 2 * len(self.narrow)
        share = self.recipe.training.batch_size // distribution.strategy_of(self).num_replicas_in_sync
        if share % period:
            raise TrainingError(
                f"training.batch_size: each replica has {share} samples, which must be a multiple of {period}, twice "
                "the number of model.narrower."
            )
        super().compile(run_eagerly, jit_compile)

    def begin(self) -> None:
        """As `GAN`; where the generator begins as one that was trained at one width, its best channels come first."""
        if (init := self.recipe.init.get("generator")) and not _is_elastic(init.source):
            inputs = self.draw_latents(_COMPARED) | self.draw_conditions(_COMPARED)
            sort_channels(self.generator_ema, [self.generator], inputs)
        super().begin()

    def make(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """As `GAN.make`: every other sample of the whole generator, the rest of the narrower ones in turn."""
        count = len(self.narrow)
        whole = super().make({name: value[::2] for name, value in inputs.items()})
        narrow = [
            self._made_by(network, {name: value[1 + 2 * index :: 2 * count] for name, value in inputs.items()})
            for index, network in enumerate(self.narrow)
        ]
        return _alternating(whole, _alternating(*narrow))

    def _made_by(self, network: keras.Model, inputs: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Samples of a generator with the live one's weights (or pieces of them), which changes no variable."""
        weights = _pieces(self.generator, network.trainable_variables, network)
        rest = [variable.value for variable in network.non_trainable_variables]
        samples, _ = network.stateless_call(weights, rest, inputs, training=True)
        return tf.cast(samples, tf.float32)

    def generator_terms(self, fake: tf.Tensor, batch: Batch) -> dict[str, tf.Tensor]:
        """As `projected_mobile`; and how far the narrower generators' samples are from the whole one's."""
        terms = super().generator_terms(fake, batch)
        if self.options.consistency:
            inputs = {name: value[1::2] for name, value in {**batch.latents, **batch.conditions}.items()}
            wanted = tf.stop_gradient(self._made_by(self.generator, inputs))
            error = tf.reduce_mean(tf.square(fake[1::2] - wanted), axis=(1, 2, 3))
            terms["consistency"] = self.options.consistency * _alternating(tf.zeros_like(error), error)
        return terms

    def widths(self) -> tuple[float, ...]:
        """The whole generator, and the narrower ones."""
        return (1.0, *self.options.narrower)

    def at_width(self, share: float) -> GAN:
        """A `projected_mobile` with the first channels of each layer of the averaged generator, and this discriminator.

        Raises:
            RecipeError: the generator was not trained for that width.
        """
        super().at_width(share)
        raw = self.recipe.to_dict()
        model = {key: value for key, value in raw["model"].items() if key not in _OWN}
        model["widths"] = _narrowed(self.options.widths, share)
        summary = f"{raw['summary']}, {share:.0%} of the channels" if share < 1.0 else raw["summary"]
        raw |= {"gan": _PLAIN, "model": model, "summary": summary, "init": {}, "freeze": [], "scores": {}}
        kind = registry.gan_class(_PLAIN)
        gan = kind(validate(raw, get_domain(raw["domain"]).Options, kind.Options))
        parts = {**self.networks(), **self.fixed_networks()}
        for name, network in {**gan.networks(), **gan.fixed_networks()}.items():
            if name != "generator":
                fill(network, {key: np.array(value) for key, value in named_variables(parts[name]).items()})
        for whole, network in ((self.generator, gan.generator), (self.generator_ema, gan.generator_ema)):
            for variable, piece in zip(network.variables, _pieces(whole, network.variables, network), strict=True):
                variable.assign(piece)
        gan.samples_seen.assign(self.samples_seen)
        gan.inherited_sources = self.pretrained_sources()
        gan.calibrate()
        return gan


def _is_elastic(source: str) -> bool:
    """Whether a part's source is a GAN of this kind, whose channels have their places."""
    where, colon, _ = source.rpartition(":")
    return bool(colon) and registry.get_entry(str(presets.weights_file(where).parent)).raw.get("gan") == _ELASTIC


def _narrowed(widths: Sequence[int], share: float) -> tuple[int, ...]:
    return tuple(max(round(width * share), 1) for width in widths)


def _alternating(*tensors: tf.Tensor) -> tf.Tensor:
    """The first rows of all tensors, then the second ones, ..."""
    return tf.reshape(tf.stack(tensors, axis=1), (-1, *tensors[0].shape[1:]))


def _pieces(whole: keras.Model, variables: Sequence[Any], network: keras.Model) -> list[tf.Tensor]:
    """For each of a narrower network's variables the piece of the whole one's of the same name."""
    names = {id(variable): name for name, variable in named_variables(network).items()}
    values = named_variables(whole)
    return [_piece(names[id(v)], tf.convert_to_tensor(values[names[id(v)]]), v.shape) for v in variables]


def _piece(name: str, value: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """The first channels along each axis; of a group's channels where an axis holds several groups."""
    for axis, size in enumerate(shape):
        if value.shape[axis] != size:
            groups = _groups(name, axis)
            before, after = value.shape[:axis], value.shape[axis + 1 :]
            value = tf.reshape(value, (*before, groups, value.shape[axis] // groups, *after))
            value = value[(*[slice(None)] * (axis + 1), slice(size // groups))]
            value = tf.reshape(value, (*before, size, *after))
    return value


def _groups(name: str, axis: int) -> int:
    """In how many groups an axis of a variable holds channels: 16 positions, or a gated unit's values and gates."""
    layer = name.split("/")[0]
    if layer == "dense" and axis == 1:
        return 16
    gated = layer.endswith(("_depthwise", "_norm")) or (layer.endswith("_pointwise") and axis == 3)
    return 2 if gated else 1
