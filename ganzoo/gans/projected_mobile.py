"""A small generator for phones, taught by a frozen ImageNet network.

The frozen network can teach in two ways, each with its weight:

- Projected discriminators: Sauer et al. 2021, "Projected GANs Converge Faster", https://arxiv.org/abs/2111.01007 (fixed
  random mixing across channels and scales, a small discriminator on each scale), alone or beside a plain discriminator
  on the images as in Kumari et al. 2022, https://arxiv.org/abs/2112.09130.
- Matching: generated features drift towards the real ones (`ganzoo.losses.drifting`), which needs no discriminator. It
  leads while the plain discriminator is still untrained, and may fade.

Several frozen networks can join the plain discriminator one after the other, each with small discriminators of its own:
an ensemble as in vision-aided GANs, where the network joins whose features tell reals from samples most surely
(`ganzoo.discriminators.ensemble` measures it). And the plain discriminator's trunk may itself be an ImageNet network
that is trained further, wholly or (with the recipe's `freeze`) partly.

Generator: after Liu et al. 2021, https://arxiv.org/abs/2101.04775 (skip-layer excitation, gated linear units), with
depthwise-separable convolutions.

What the small discriminators see are features, so penalties of the recipe (R1, R2) are taken with respect to features,
and to the images themselves where there is a plain discriminator.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import keras
import numpy as np
import pydantic
import tensorflow as tf
from keras import layers

from ganzoo import backbones, distribution
from ganzoo.backbones.features import FrozenFeatures
from ganzoo.core.gan import GAN
from ganzoo.core.phases import Batch
from ganzoo.data.sample_set import SampleSet
from ganzoo.discriminators.ensemble import NEVER, Ensemble, Joining
from ganzoo.errors import RecipeError
from ganzoo.layers.batch_norm import BatchNorm
from ganzoo.layers.resample import Double, SmoothStart
from ganzoo.layers.skip_excitation import skip_excitation
from ganzoo.layers.spectral_norm import SpectralConv2D
from ganzoo.losses.drifting import drifting_loss, summaries
from ganzoo.recipes.schema import NonNegativeFloat, NonNegativeInt, PositiveInt, Section
from ganzoo.weights.sources import distinct

_PROJECTED = ("levels", "mixing", "mixing_width", "projected_from", "projected_ramp")
_TRUNK_SIDES = (8, 16, 32, 64, 128)  # strides 2 to 32
_ENSEMBLE = ("ensemble_from", "ensemble_every", "ensemble_most", "ensemble_weight", "ensemble_levels")

log = logging.getLogger("ganzoo")


def _distinct(levels: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(levels)) < len(levels):
        raise ValueError("each level once")
    return levels


Levels = Annotated[tuple[PositiveInt, ...], pydantic.Field(min_length=1), pydantic.AfterValidator(_distinct)]


class ProjectedMobileGAN(GAN):
    """One generator; a plain discriminator, small discriminators on frozen features, or both."""

    adapted = ("standardise", "ensemble")

    class Options(Section):
        """Weights and sizes.

        `plain_weight` and `projected_weight` scale the branches' losses; the projected branch comes in linearly over
        `projected_ramp` samples after `projected_from`. `backbone_size` is the side that images are resized to,
        `backbone_weights` is `default`, `random`, a file or a run's trunk, as `ganzoo.backbones.create` takes them.
        Levels are strides of the frozen network. `heads_norm: batch` gives the small discriminators batch
        normalisation, and `spectral` normalises the convolutions of all discriminators; Sauer et al. use both.

        `matching_weight` goes linearly to `matching_end` at `matching_until` samples (0: it stays); with
        `matching_every: k` it is computed each k-th step and counts k times. The images are shifted by up to
        `matching_shift` pixels first, so that no lattice of the network's strides is learnt. Level 1 of the matching
        is the images themselves. `smooth_start`: the enlarging blocks begin as interpolation.

        `ensemble`: backbones of which up to `ensemble_most` join the plain discriminator, each with the weight
        `ensemble_weight`: one at `ensemble_from` samples and one every `ensemble_every` samples from then on. `trunk`:
        the backbone that is the plain discriminator's trunk, instead of convolutions of its own; its normalisations
        stay in inference mode, folded into convolutions where they can be.
        """

        latent_dim: PositiveInt = 128
        widths: tuple[PositiveInt, ...] = (256, 192, 128, 64, 16)
        smooth_start: bool = True
        output: Literal["tanh", "linear"] = "linear"
        output_penalty: NonNegativeFloat = 1.0
        backbone: str = "efficientnet_lite0"
        backbone_weights: str = "default"
        backbone_size: PositiveInt | None = None
        levels: Levels = (4, 8, 16, 32)
        mixing: Literal["channels", "scales", "none"] = "scales"
        mixing_width: PositiveInt = 64
        projected_weight: NonNegativeFloat = 1.0
        projected_from: NonNegativeInt = 0
        projected_ramp: NonNegativeInt = 0
        projected_width: PositiveInt = 64
        heads_norm: Literal["none", "batch"] = "none"
        matching_weight: NonNegativeFloat = 0.0
        matching_end: NonNegativeFloat = 0.0
        matching_until: NonNegativeInt = 0
        matching_every: PositiveInt = 1
        matching_shift: NonNegativeInt = 4
        matching_levels: Levels = (2, 4, 8, 16, 32)
        plain_weight: NonNegativeFloat = 1.0
        plain_width: PositiveInt = 32
        trunk: str | None = None
        ensemble: tuple[str, ...] = ()
        ensemble_weight: NonNegativeFloat = 1.0
        ensemble_from: NonNegativeInt = 10_000
        ensemble_every: PositiveInt = 10_000
        ensemble_most: PositiveInt = 2
        ensemble_levels: Levels = (8, 16, 32)
        spectral: bool = False

    def __init__(self, recipe):
        options = recipe.model
        if options.matching_shift >= recipe.data.size:
            raise RecipeError(
                f"model.matching_shift must be less than data.size = {recipe.data.size}. Received: "
                f"{options.matching_shift}."
            )
        if options.matching_weight > 0 and recipe.training.batch_size < 2:
            raise RecipeError(
                "model.matching_weight compares samples of a batch: training.batch_size must be 2 or more."
            )
        if options.matching_end and not options.matching_until:
            raise RecipeError(
                f"model.matching_end = {options.matching_end:g} is reached at model.matching_until samples, which is 0."
            )
        if options.plain_weight <= 0 and options.projected_weight <= 0:
            raise RecipeError("model.plain_weight and model.projected_weight are both zero: one must be positive.")
        if recipe.data.size != 4 * 2 ** (len(options.widths) - 1):
            raise RecipeError(
                f"model.widths has one width for each resolution from 4 up to data.size = {recipe.data.size}. "
                f"Received {len(options.widths)} widths, enough for {4 * 2 ** (len(options.widths) - 1)}."
            )
        if options.plain_weight <= 0 and (options.ensemble or options.trunk):
            raise RecipeError(
                "model.ensemble joins, and model.trunk is, the plain discriminator: model.plain_weight is 0."
            )
        used = {*options.ensemble, *([options.trunk] if options.trunk else [])}
        used |= {options.backbone} if options.projected_weight > 0 or options.matching_weight > 0 else set()
        if options.backbone_weights not in ("default", "random") and len(used) > 1:
            raise RecipeError(
                f"model.backbone_weights = '{options.backbone_weights}' is a file for one network, but the recipe uses "
                f"{sorted(used)}."
            )
        if len(set(options.ensemble)) < len(options.ensemble):
            raise RecipeError(f"model.ensemble names a backbone twice: {list(options.ensemble)}.")
        changed = options.model_dump(exclude_defaults=True)
        for switch, keys, off in (("projected_weight", _PROJECTED, "0"), ("ensemble", _ENSEMBLE, "empty")):
            idle = [] if getattr(options, switch) else [f"model.{key}" for key in keys if key in changed]
            if idle:
                log.warning("These keys have no effect while model.%s is %s: %s.", switch, off, ", ".join(idle))
        super().__init__(recipe)

    def build_networks(self) -> None:
        """As `GAN`; and when each network of the ensemble joined."""
        self._can_join = False
        self.joined = self._counter("joined", NEVER, (len(self.options.ensemble),))
        super().build_networks()

    def numbers(self) -> dict[str, Any]:
        """When the networks of the ensemble joined, beside a GAN's own."""
        return super().numbers() | ({"joined": self.joined} if self.options.ensemble else {})

    # Generator.

    def build_generator(self) -> keras.Model:
        """Latents `(batch, latent_dim)` -> images `(batch, size, size, channels)`, nominally in [-1, 1]."""
        return self.build_of_widths(self.options.widths)

    def build_of_widths(self, widths: Sequence[int]) -> keras.Model:
        """A generator with other widths than the recipe's."""
        latents = keras.Input((self.options.latent_dim,), name="latents")
        first, *widths = widths
        x = layers.Dense(4 * 4 * first, use_bias=False, kernel_initializer="he_normal", name="dense")(latents)
        x = layers.ReLU(name="relu_4")(
            BatchNorm(momentum=0.9, name="norm_4")(layers.Reshape((4, 4, first), name="reshape")(x))
        )
        maps = {4: x}
        for width in widths:
            size = 2 * x.shape[1]
            x = _gated(x, width, f"up_{size}", enlarge=True, smooth=self.options.smooth_start)
            if size <= 16:
                x = layers.Add(name=f"add_{size}")([x, _gated(x, width, f"more_{size}")])
            maps[size] = x
            if size >= 32 and size // 8 in maps:
                maps[size] = x = skip_excitation(x, maps[size // 8], f"excite_{size}")
        x = layers.Conv2D(self.recipe.data.channels, 1, name="to_image")(x)
        if self.options.output == "linear":
            last = InRange(dtype="float32", name="samples")
        else:
            last = layers.Activation("tanh", dtype="float32", name="samples")
        return keras.Model({"latents": latents}, last(x))

    def generator_terms(self, fake: Any, batch: Batch) -> dict[str, tf.Tensor]:
        """output_penalty * mean(max(0, |x| - 1)^2), which keeps a linear output within [-1, 1]; and the matching."""
        terms = {}
        if self.options.output == "linear":
            outside = tf.square(tf.nn.relu(tf.abs(fake) - 1.0))
            terms["outside_range"] = self.options.output_penalty * tf.reduce_mean(outside, axis=(1, 2, 3))
        if self.options.matching_weight > 0:
            terms["matching"] = self._matching(fake, batch)
        return terms

    def _matching(self, fake: tf.Tensor, batch: Batch) -> tf.Tensor:
        """The weighted loss that lets generated features drift to the real ones, those of the global batch."""
        options, levels = self.options, self.options.matching_levels
        weight = tf.constant(options.matching_weight)
        if options.matching_until:
            share = tf.minimum(tf.cast(self.samples_seen.value, tf.float32) / options.matching_until, 1.0)
            weight += (options.matching_end - weight) * share
        due = tf.equal(batch.random.step % options.matching_every, 0)
        weight *= tf.where(due, float(options.matching_every), 0.0)
        shift = batch.random.shared_integers((2,), "matching", 0, 2 * options.matching_shift + 1)

        def look(images: tf.Tensor) -> list[tf.Tensor]:
            images = _shifted(images, options.matching_shift, shift)
            maps = {1: 2.0 * images}  # colours have a deviation of about a half
            if self.frozen:
                maps |= self.frozen.maps(images)
            return summaries([maps[level] for level in levels])

        def skip() -> list[tf.Tensor]:
            shapes = {1: fake.shape[1:], **(self.frozen.shapes if self.frozen else {})}
            sizes = (m.shape[1:] for m in summaries([tf.zeros((1, *shapes[level])) for level in levels]))
            return [tf.zeros((tf.shape(fake)[0], *size)) for size in sizes]

        # Replicas cannot meet inside a condition: it ends before their features are gathered.
        looks = tf.cond(weight > 0.0, lambda: (look(batch.real), look(fake)), lambda: (skip(), skip()))
        pairs = zip(*tf.nest.map_structure(distribution.gather, looks), strict=True)
        return weight * tf.add_n([drifting_loss(r, f) for r, f in pairs]) / len(looks[0])

    # Discriminator.

    def build_discriminator(self) -> keras.Model:
        """Images and projected features -> a list of logit maps `(batch, h, w, 1)`, the plain one first."""
        inputs, logits = {}, []
        shape = (self.recipe.data.size, self.recipe.data.size, self.recipe.data.channels)
        if self.options.plain_weight > 0:
            inputs["samples"] = keras.Input(shape, name="samples")
            trunk = self._plain_trunk(shape)
            features = keras.Input(trunk.output.shape[1:], name="features")
            head = keras.Model(features, self._convolution(1, 4, 1, "logits", "valid")(features), name="head")
            logits.append(head(trunk(inputs["samples"])))
        self.frozen = self._build_frozen(shape)
        maps = self._build_projection() if self.options.projected_weight > 0 else {}
        self.ensemble = Ensemble(self.options, shape, self._backbone_weights(), self.options.backbone_size, self.joined)
        self._ensemble_scales = self.ensemble.scales  # Keras looks for networks among a model's attributes
        maps |= self.ensemble.shapes()
        self._frozen_networks = [[one.network, one.standardise] for one in self._all_frozen()]
        for name, map_shape in maps.items():
            inputs[name] = keras.Input(map_shape, name=name)
            logits.append(self._small(map_shape, name)(inputs[name]))
        return keras.Model(inputs, logits, name="discriminator")

    def _convolution(self, width: int, kernel: int, stride: int, name: str, padding: str = "same") -> layers.Layer:
        kind = SpectralConv2D if self.options.spectral else layers.Conv2D
        return kind(width, kernel, stride, padding, kernel_initializer="he_normal", name=name)

    def _plain_trunk(self, shape: tuple[int, ...]) -> keras.Model:
        """Images -> maps of 4x4."""
        if self.options.trunk:
            side = self.options.backbone_size or shape[0]
            if side not in _TRUNK_SIDES:
                raise RecipeError(
                    f"A trunk ends with maps of 4 x 4: with model.trunk, model.backbone_size (data.size by default) is "
                    f"one of {_TRUNK_SIDES}. Received: {side}."
                )
            weights = self._backbone_weights()
            found = backbones.create(
                self.options.trunk, shape, [side // 4], weights, True, side, bottlenecks=True, fold=True
            )
            self._trunk_source = found.info.source_entry()
            return keras.Model(found.input, found.outputs[0], name="trunk")
        x = images = keras.Input(shape, name="samples")
        width = self.options.plain_width
        while x.shape[1] > 4:
            size = x.shape[1] // 2
            x = layers.LeakyReLU(0.2, name=f"leaky_{size}")(self._convolution(width, 4, 2, f"down_{size}")(x))
            width = 2 * width
        return keras.Model(images, x, name="trunk")

    def _small(self, shape: tuple[int, ...], name: str) -> keras.Model:
        """A small discriminator on one scale: down to 4x4, then one logit a position."""
        x = features = keras.Input(shape, name="features")
        width = self.options.projected_width

        def block(x, kernel: int, stride: int, label: str, at: str):
            x = self._convolution(width, kernel, stride, label)(x)
            if self.options.heads_norm == "batch":
                x = BatchNorm(momentum=0.9, name=f"norm_{at}")(x)
            return layers.LeakyReLU(0.2, name=f"leaky_{at}")(x)

        x = block(x, 1, 1, "in", "in")
        while x.shape[1] > 4:
            size = x.shape[1] // 2
            x = block(x, 4, 2, f"down_{size}", f"{size}")
        x = block(x, 3, 1, "out", "out")
        return keras.Model(features, self._convolution(1, 1, 1, "logits")(x), name=f"head_{name}")

    # The frozen networks.

    def _backbone_weights(self) -> str | None:
        given = self.options.backbone_weights
        return None if given == "random" else given

    def _build_frozen(self, shape: tuple[int, ...]) -> FrozenFeatures | None:
        """The network of the projected discriminators and of the matching, where one of them is used."""
        options = self.options
        levels = set(options.levels if options.projected_weight > 0 else ())
        levels |= set(options.matching_levels if options.matching_weight > 0 else ()) - {1}
        if not levels:
            return None
        return FrozenFeatures(options.backbone, shape, levels, self._backbone_weights(), options.backbone_size)

    def _build_projection(self) -> dict[str, tuple[int, ...]]:
        """Make the fixed random mixing; the shapes of what it gives, by name."""
        options = self.options
        pyramid = [keras.Input(self.frozen.shapes[level], name=f"level_{level}") for level in options.levels]
        mixed = list(pyramid)
        if options.mixing != "none":
            mixed = [_fixed(options.mixing_width, 1, f"channels_{i}")(x) for i, x in enumerate(mixed)]
        if options.mixing == "scales":
            above = mixed[-1]
            for i in reversed(range(len(mixed) - 1)):
                size = mixed[i].shape[1]
                above = layers.Resizing(size, size, interpolation="bilinear", name=f"enlarge_{i}")(above)
                above = layers.Add(name=f"join_{i}")([mixed[i], _fixed(options.mixing_width, 3, f"scales_{i}")(above)])
                above = layers.Rescaling(0.7071, name=f"halve_{i}")(above)
                mixed[i] = above
        self.projection = backbones.trunk_class()(pyramid, mixed, name="projection")
        self.projection.trainable = False
        return {f"scale_{level}": m.shape[1:] for level, m in zip(options.levels, mixed, strict=True)}

    def adapt(self, reals: np.ndarray) -> None:
        """Standardise each channel of the frozen features by its mean and deviation on real images."""
        for member in self._all_frozen():
            member.adapt(reals)

    def _all_frozen(self) -> list[FrozenFeatures]:
        return [*([self.frozen] if self.frozen else []), *self.ensemble.members]

    def fixed_networks(self) -> dict[str, keras.Model]:
        """What a checkpoint must keep beside the trained networks; the backbones' weights come from their packages."""
        fixed = {"standardise": self.frozen.standardise} if self.frozen else {}
        if self.ensemble.scales:
            fixed["ensemble"] = self.ensemble.scales
        return fixed | ({"projection": self.projection} if self.options.projected_weight > 0 else {})

    def pretrained_sources(self) -> list[dict[str, str]]:
        """The networks that teach and have their weights, of the ensemble those that joined; and the source's."""
        waiting = self.ensemble.candidates()
        found = [one.source() for one in self._all_frozen() if one is self.frozen or one.name not in waiting]
        return distinct([*(source for source in found if source), *super().pretrained_sources()])

    def trunk_sources(self) -> list[dict[str, str]]:
        """The network that is the trunk."""
        if self.options.trunk is None or self.options.backbone_weights == "random":
            return super().trunk_sources()
        return [self._trunk_source]

    # The ensemble.

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> keras.callbacks.History:
        """As `PhasedModel.fit`; says so where nothing was asked for that lets the networks of an ensemble join."""
        if self.options.ensemble and not self._can_join:
            log.warning(
                "No network of model.ensemble will join: pass `callbacks=gan.callbacks(run, data)`, or use train."
            )
        return super().fit(x, y, **kwargs)

    def period(self) -> int:
        """As `GAN.period`, with the matching."""
        return max(super().period(), self.options.matching_every if self.options.matching_weight > 0 else 1)

    def callbacks(self, run: Path, data: SampleSet | None) -> list[keras.callbacks.Callback]:
        """What lets the networks of the ensemble join."""
        self._can_join = True
        return [Joining(run, data)] if self.options.ensemble else []

    def late(self) -> list[tuple[list[Any], Callable[[], tf.Tensor]]]:
        """As `GAN.late`; and the heads of the projected branch and of the ensemble."""
        heads = {layer.name: layer for layer in self.discriminator.layers}

        def weights(names: Iterable[str]) -> list[Any]:
            return [weight for name in names for weight in heads[f"head_{name}"].trainable_variables]

        found = super().late()
        if self.options.projected_weight > 0 and self.options.projected_from:
            scales = [f"scale_{level}" for level in self.options.levels]
            found.append((weights(scales), partial(self._has_seen, self.options.projected_from + 1)))
        for index, member in enumerate(self.ensemble.members):
            maps = [f"ensemble_{index}_{level}" for level in member.shapes]
            found.append((weights(maps), partial(self.ensemble.has_joined, index)))
        return found

    def observe(self, samples: Any, conditions: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The images for the plain branch, frozen features (of the projected branch mixed) for the others."""
        seen = {"samples": samples} if self.options.plain_weight > 0 else {}
        if self.options.projected_weight > 0:
            features = self.frozen.maps(samples)
            maps = self.projection([features[level] for level in self.options.levels], training=False)
            seen |= {f"scale_{level}": m for level, m in zip(self.options.levels, maps, strict=True)}
        return seen | self.ensemble.observe(samples)

    def score(self, observed: dict[str, tf.Tensor], conditions: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """One logit map a branch and scale."""
        return tf.nest.flatten(self.discriminator(observed, training=True))

    def head_weights(self) -> list:
        """The plain branch's weight, then the projected one's shared evenly by its scales, then the ensemble's."""
        options = self.options
        weights: list = [options.plain_weight] if options.plain_weight > 0 else []
        if options.projected_weight > 0:
            scales = len(options.levels)
            weight = options.projected_weight / scales
            if options.projected_from or options.projected_ramp:
                since = tf.cast(self.samples_seen.value, tf.float32) - options.projected_from
                weight *= tf.clip_by_value(since / max(options.projected_ramp, 1), 0.0, 1.0)
            weights += [weight] * scales
        return weights + self.ensemble.head_weights()


@keras.saving.register_keras_serializable(package="ganzoo")
class InRange(layers.Layer):
    """Cut to [-1, 1] in inference; in training as it is, so that a gradient always comes back."""

    def call(self, inputs, training=False):
        """Same shape."""
        return inputs if training else tf.clip_by_value(inputs, -1.0, 1.0)


def _shifted(images: tf.Tensor, most: int, shift: tf.Tensor) -> tf.Tensor:
    """Images moved by `shift - most` rows and columns (`shift` in 0..2 * most), mirrored at their edges."""
    shape = images.shape
    padded = tf.pad(images, [[0, 0], [most, most], [most, most], [0, 0]], "SYMMETRIC")
    # A slice with fixed sizes: one with computed ends has no static shape under XLA.
    return tf.ensure_shape(tf.slice(padded, (0, *tf.unstack(shift), 0), (tf.shape(images)[0], *shape[1:])), shape)


def _fixed(width: int, kernel: int, name: str) -> layers.Layer:
    return layers.Conv2D(width, kernel, padding="same", use_bias=False, kernel_initializer="lecun_normal", name=name)


def _gated(x, width: int, name: str, enlarge: bool = False, smooth: bool = False):
    """Pointwise, depthwise 3x3, normalisation, gated linear unit: a * sigmoid(b).

    The pointwise convolution comes first, so that it works at the lower resolution where the block enlarges.
    """
    x = layers.Conv2D(2 * width, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_pointwise")(x)
    x = layers.DepthwiseConv2D(
        3,
        padding="same",
        use_bias=False,
        depthwise_initializer=SmoothStart() if smooth else "he_normal",
        name=f"{name}_depthwise",
    )(Double(name=f"{name}_double")(x) if enlarge else x)
    values, gates = keras.ops.split(BatchNorm(momentum=0.9, name=f"{name}_norm")(x), 2, axis=-1)
    return layers.Multiply(name=f"{name}_gate")([values, layers.Activation("sigmoid", name=f"{name}_sigmoid")(gates)])
