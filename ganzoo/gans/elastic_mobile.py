"""A mobile generator that is trained at several widths at once: one training, a file for each kind of phone.

The narrower generators have the first channels of each layer of the whole one (slimmable networks: Yu et al. 2019,
https://arxiv.org/abs/1812.08928; Anycost GAN: Lin et al. 2021, https://arxiv.org/abs/2103.03243), but normalisations
and a last layer of their own. In a batch every other sample is made by the whole generator, the rest by the narrower
ones in turn, which are drawn to what the whole one makes of the same latents, so that a phone of either kind shows
much the same image (`consistency`: how much).

The discriminator has one trunk and a head for each width (as that of a slimmable GAN shares a part: Hou et al. 2021,
https://arxiv.org/abs/2012.05660). One head for all judges the mixture, which is right as soon as the errors of one
width outweigh those of another: the whole generator then had too much contrast, the half one too little, and neither
improved any more.

Statistics of normalisations are those of the batch in training; `at_width` takes them anew over fresh latents (as Yu
and Huang 2019, https://arxiv.org/abs/1903.05134, do).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any

import keras
import pydantic
import tensorflow as tf
from keras import layers

from ganzoo import distribution
from ganzoo.core.gan import GAN
from ganzoo.core.phases import Batch, Phase
from ganzoo.domains import get_domain
from ganzoo.errors import RecipeError, TrainingError
from ganzoo.gans.projected_mobile import ProjectedMobileGAN
from ganzoo.recipes import entries
from ganzoo.recipes.schema import NonNegativeFloat, validate
from ganzoo.weights.channel_pruning import COMPARED, Places, first_channels, refit, sort_channels
from ganzoo.weights.variables import named_variables

_PLAIN = "projected_mobile"  # what a GAN at one width is
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
        (G_narrow(z) - G_whole(z))^2 in a narrower generator's sample, with G_whole(z) as given.
        """

        narrower: Annotated[tuple[Share, ...], pydantic.Field(min_length=1), pydantic.AfterValidator(_falling)] = (
            0.75,
            0.5,
        )
        consistency: NonNegativeFloat = 0.3

    def __init__(self, recipe):
        options = recipe.model
        if options.plain_weight <= 0 or options.projected_weight > 0 or options.matching_weight > 0 or options.ensemble:
            raise RecipeError(
                "An elastic generator needs one discriminator head for each width, which only the plain discriminator "
                "has. Set model.plain_weight > 0, model.projected_weight = 0, matching_weight = 0 and ensemble = []."
            )
        if recipe.consolidation:
            raise RecipeError("consolidation works for generators of one width only. Set it to 0.")
        super().__init__(recipe)

    def build_networks(self) -> None:
        """As `GAN`; and the narrower generators, most of whose weights are pieces of the whole one's."""
        if self.recipe.training.precision == "mixed_float16":  # the recipe's own, or Keras' policy
            raise RecipeError("Widths share gradients between optimizers: take precision mixed_bfloat16.")
        super().build_networks()
        # What they are like: but for their own weights, which `narrow` holds, their variables are not used.
        self.shapes = [self.build_of_widths(_narrowed(self.options.widths, s)) for s in self.options.narrower]
        for share, network in zip(self.options.narrower, self.shapes, strict=True):
            network.name = f"generator_{share:g}"
        self.narrow, self.narrow_ema = self._build_own(), self._build_own()

    def _build_own(self) -> keras.Model:
        """The weights that belong to each width, as a network with one layer a width."""
        nothing = keras.Input((), name="nothing")
        shapes = [{name: tuple(value.shape) for name, value in _own(network).items()} for network in self.shapes]
        holders = [Held(one, name=f"width_{index}") for index, one in enumerate(shapes)]
        made = keras.Model(nothing, [holder(nothing) for holder in holders], name="narrow")
        for holder, network in zip(holders, self.shapes, strict=True):
            holder.take(_own(network))
        return made

    def build_discriminator(self) -> keras.Model:
        """As `projected_mobile`; the plain trunk has a head for each width, `head` that of the whole generator."""
        base = super().build_discriminator()
        features = base.get_layer("head")._inbound_nodes[-1].input_tensors[0]
        more = []
        for index in range(len(self.options.narrower)):
            given = keras.Input(features.shape[1:], name="features")
            logits = self._convolution(1, 4, 1, "logits", "valid")(given)
            more.append(keras.Model(given, logits, name=f"head_{index}")(features))
        return keras.Model(base.input, [*base.outputs, *more], name="discriminator")

    def score(self, observed: dict[str, tf.Tensor], conditions: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """Logits `(batch, 1, 1, 1)`, each row's those of the head for the width whose sample stands in that row."""
        whole, *narrower = super().score(observed, conditions)
        step = self.deals_out()
        return [_alternating(whole[::2], _alternating(*(h[1 + 2 * i :: step] for i, h in enumerate(narrower))))]

    def networks(self) -> dict[str, keras.Model]:
        """As `GAN`; and what the narrower generators have of their own."""
        return super().networks() | {"narrow": self.narrow}

    def averages(self) -> dict[str, tuple[keras.Model, keras.Model]]:
        """As `GAN`; and of that."""
        return super().averages() | {"narrow_ema": (self.narrow_ema, self.narrow)}

    def preset_parts(self) -> dict[str, keras.Model]:
        """As `GAN`; and the average of that."""
        return super().preset_parts() | {"narrow": self.narrow_ema}

    def trains_as(self, network: str) -> str:
        """The narrower generators train as the whole one does."""
        return "generator" if network == "narrow" else super().trains_as(network)

    def phases(self) -> list[Phase]:
        """As `GAN`; the generator's phase trains the narrower ones, too."""
        return [
            replace(phase, also=(*phase.also, "narrow")) if phase.network == "generator" else phase
            for phase in super().phases()
        ]

    def compile(self, optimizer: Any = None, **kwargs: Any) -> None:
        """As `GAN.compile`; each width needs its share of a batch on each replica."""
        period = self.deals_out()
        share = self.recipe.training.batch_size // distribution.strategy_of(self).num_replicas_in_sync
        if share % period:
            raise TrainingError(
                f"training.batch_size: each replica has {share} samples, which must be a multiple of {period}, twice "
                "the number of model.narrower."
            )
        super().compile(optimizer, **kwargs)

    def begin(self) -> None:
        """As `GAN`; where only the whole generator was given weights, its best channels come first.

        What the narrower ones have of their own is fitted to it then, and their heads begin as the whole one's.
        """
        if "generator" in self.recipe.init and "narrow" not in self.recipe.init:
            inputs = self.draw_latents(COMPARED, seed=1) | self.draw_conditions(COMPARED)
            sort_channels(self.generator_ema, [self.generator], inputs)
            for index, network in enumerate(self.shapes):
                _give(self.generator_ema, {}, network)
                refit(self.generator_ema, network, inputs, {name.split("/")[0] for name in _own(network)})
                for narrow in (self.narrow, self.narrow_ema):
                    narrow.get_layer(f"width_{index}").take(_own(network))
                self._head(index).set_weights(self._head().get_weights())
        super().begin()

    def _head(self, index: int | None = None) -> keras.Model:
        return self.discriminator.get_layer("head" if index is None else f"head_{index}")

    def deals_out(self) -> int:
        """Every other sample is the whole generator's, the rest are the narrower ones' in turn."""
        return 2 * len(self.options.narrower)

    def make(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """As `GAN.make`: every other sample of the whole generator, the rest of the narrower ones in turn."""
        step = self.deals_out()
        whole = super().make({name: value[::2] for name, value in inputs.items()})
        narrow = [
            self._made_by(network, {name: value[1 + 2 * index :: step] for name, value in inputs.items()}, index)
            for index, network in enumerate(self.shapes)
        ]
        return _alternating(whole, _alternating(*narrow))

    def _made_by(self, network: keras.Model, inputs: Mapping[str, tf.Tensor], index: int | None = None) -> tf.Tensor:
        """Samples of the generator of a width (None: the whole one), which changes no variable."""
        weights = _pieces(self.generator, _held(self.narrow, index), network, network.trainable_variables)
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
        kind = entries.gan_class(_PLAIN)
        gan = kind(validate(raw, get_domain(raw["domain"]).Options, kind.Options))
        index = None if share == 1.0 else self.options.narrower.index(share)
        for name, source in (("trunk", self.discriminator.get_layer("trunk")), ("head", self._head(index))):
            gan.discriminator.get_layer(name).set_weights(source.get_weights())
        _give(self.generator, _held(self.narrow, index), gan.generator)
        _give(self.generator_ema, _held(self.narrow_ema, index), gan.generator_ema)
        gan.samples_seen.assign(self.samples_seen)
        gan.inherited_sources = self.pretrained_sources()
        gan.class_names = self.class_names
        gan.calibrate()
        return gan


@keras.saving.register_keras_serializable(package="ganzoo")
class Held(layers.Layer):
    """Weights that other networks use; returns its input.

    Args:
        shapes: the shape of each weight, by name.
    """

    def __init__(self, shapes: Mapping[str, Sequence[int]], **kwargs):
        super().__init__(**kwargs)
        self._shapes = {name: tuple(shape) for name, shape in shapes.items()}

    def build(self, input_shape):
        """Make them."""
        for name, shape in self._shapes.items():
            self.add_weight(name=name.replace("/", "."), shape=shape)

    def call(self, inputs):
        """The same."""
        return inputs

    def get_config(self) -> dict[str, Any]:
        """Its arguments."""
        return {**super().get_config(), "shapes": {name: list(shape) for name, shape in self._shapes.items()}}

    def held(self) -> dict[str, Any]:
        """The weights."""
        return dict(zip(self._shapes, self.weights, strict=True))

    def take(self, values: Mapping[str, Any]) -> None:
        """Set them."""
        for name, weight in self.held().items():
            weight.assign(values[name])


def _own(network: keras.Model) -> dict[str, Any]:
    """Of a narrower generator's variables those that are no pieces of the whole one's."""
    return {
        name: variable
        for name, variable in named_variables(network).items()
        if name.startswith("to_image/") or name.endswith(("/gamma", "/beta"))
    }


def _held(narrow: keras.Model, index: int | None) -> dict[str, Any]:
    """What the generator of a width has of its own; nothing of the whole one (None)."""
    return {} if index is None else narrow.get_layer(f"width_{index}").held()


def _give(whole: keras.Model, own: Mapping[str, Any], network: keras.Model) -> None:
    """Set the weights of a network of some width."""
    for variable, value in zip(network.variables, _pieces(whole, own, network, network.variables), strict=True):
        variable.assign(value)


def _narrowed(widths: Sequence[int], share: float) -> tuple[int, ...]:
    return tuple(max(round(width * share), 1) for width in widths)


def _alternating(*tensors: tf.Tensor) -> tf.Tensor:
    """The first rows of all tensors, then the second ones, ..."""
    return tf.reshape(tf.stack(tensors, axis=1), (-1, *tensors[0].shape[1:]))


def _pieces(
    whole: keras.Model, own: Mapping[str, Any], network: keras.Model, variables: Sequence[Any]
) -> list[tf.Tensor]:
    """For each of a network's variables its own value, or the piece of the whole network's of the same name."""
    names = {id(variable): name for name, variable in named_variables(network).items()}
    values = named_variables(whole)
    places = first_channels(whole, network)
    return [
        tf.convert_to_tensor(own[name]) if name in own else _piece(tf.convert_to_tensor(values[name]), places[name])
        for v in variables
        for name in (names[id(v)],)
    ]


def _piece(value: tf.Tensor, places: Places) -> tf.Tensor:
    """What an array holds at some places."""
    for axis, indices in places.items():
        if len(indices) < value.shape[axis]:
            value = tf.gather(value, indices, axis=axis)
    return value
