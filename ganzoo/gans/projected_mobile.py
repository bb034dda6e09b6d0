"""A small generator for phones, taught by a frozen ImageNet network.

The frozen network can teach in two ways, each with its weight:

- Projected discriminators: Sauer et al. 2021, "Projected GANs Converge Faster", https://arxiv.org/abs/2111.01007 (fixed
  random mixing across channels and scales, a small discriminator on each scale), alone or beside a plain discriminator
  on the pictures as in Kumari et al. 2022, https://arxiv.org/abs/2112.09130.
- Matching: generated features drift towards the real ones (`ganzoo.matching`), which needs no discriminator. It leads
  while the plain discriminator is still untrained, and may fade.

Generator: after Liu et al. 2021, https://arxiv.org/abs/2101.04775 (skip-layer excitation, gated linear units), with
depthwise-separable convolutions.

What the small discriminators see are features, so penalties of the recipe (R1, R2) are taken with respect to features,
and to the pictures themselves where there is a plain discriminator.
"""

import logging
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import keras
import numpy as np
import pydantic
import tensorflow as tf
from keras import layers

from ganzoo import backbones, distribution
from ganzoo.config import NonNegativeFloat, NonNegativeInt, PositiveInt, Section
from ganzoo.errors import RecipeError
from ganzoo.gan import GAN
from ganzoo.layers.batch_norm import BatchNorm
from ganzoo.layers.channel_scale import standardise, standardiser
from ganzoo.layers.resample import Double, SmoothStart
from ganzoo.layers.skip_excitation import skip_excitation
from ganzoo.layers.spectral_norm import SpectralConv2D
from ganzoo.matching import drifting_loss, summaries
from ganzoo.phased_model import Batch

_PROJECTED = ("levels", "mixing", "mixing_width", "projected_from", "projected_ramp", "projected_width")

log = logging.getLogger("ganzoo")


def _distinct(levels: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(levels)) < len(levels):
        raise ValueError("each level once")
    return levels


Levels = Annotated[tuple[PositiveInt, ...], pydantic.Field(min_length=1), pydantic.AfterValidator(_distinct)]


class ProjectedMobileGAN(GAN):
    """One generator; a plain discriminator, small discriminators on frozen features, or both."""

    adapted = ("standardise",)

    class Options(Section):
        """Weights and sizes.

        `plain_weight` and `projected_weight` scale the branches' losses; the projected branch comes in linearly over
        `projected_ramp` samples after `projected_from`. `backbone_size` is the side that pictures are resized to.
        `matching_weight` goes linearly to `matching_end` at `matching_until` samples (0: it stays); with
        `matching_every: k` it is computed each k-th step and counts k times. The pictures are shifted by up to
        `matching_shift` pixels first, so that no lattice of the network's strides is learnt. Levels are strides of the
        frozen network; level 1 of the matching is the pictures themselves. `smooth_start`: the enlarging blocks begin
        as interpolation.
        """

        latent_dim: PositiveInt = 128
        widths: tuple[PositiveInt, ...] = (256, 192, 128, 64, 16)
        smooth_start: bool = True
        output: Literal["tanh", "linear"] = "linear"
        output_penalty: NonNegativeFloat = 1.0
        backbone: str = "efficientnet_lite0"
        backbone_weights: Literal["default", "random"] = "default"
        backbone_size: PositiveInt | None = None
        levels: Levels = (4, 8, 16, 32)
        mixing: Literal["channels", "scales", "none"] = "scales"
        mixing_width: PositiveInt = 64
        projected_weight: NonNegativeFloat = 1.0
        projected_from: NonNegativeInt = 0
        projected_ramp: NonNegativeInt = 0
        projected_width: PositiveInt = 64
        matching_weight: NonNegativeFloat = 0.0
        matching_end: NonNegativeFloat = 0.0
        matching_until: NonNegativeInt = 0
        matching_every: PositiveInt = 1
        matching_shift: NonNegativeInt = 4
        matching_levels: Levels = (2, 4, 8, 16, 32)
        plain_weight: NonNegativeFloat = 1.0
        plain_width: PositiveInt = 32
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
        changed = options.model_dump(exclude_defaults=True)
        idle = [] if options.projected_weight else [f"model.{key}" for key in _PROJECTED if key in changed]
        if idle:
            log.warning("No effect while model.projected_weight is 0: %s.", ", ".join(idle))
        super().__init__(recipe)

    # Generator.

    def build_generator(self) -> keras.Model:
        """Latents `(batch, latent_dim)` -> pictures `(batch, size, size, channels)`, nominally in [-1, 1]."""
        latents = keras.Input((self.options.latent_dim,), name="latents")
        first, *widths = self.options.widths
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
        x = layers.Conv2D(self.recipe.data.channels, 1, name="to_picture")(x)
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

        def look(pictures: tf.Tensor) -> list[tf.Tensor]:
            pictures = _shifted(pictures, options.matching_shift, shift)
            maps = {1: 2.0 * pictures}  # colours have a deviation of about a half
            if self._uses_backbone():
                maps |= self.features(pictures)
            return summaries([maps[level] for level in levels])

        def skip() -> list[tf.Tensor]:
            shapes = {1: fake.shape[1:], **(self._map_shapes if self._uses_backbone() else {})}
            sizes = (m.shape[1:] for m in summaries([tf.zeros((1, *shapes[level])) for level in levels]))
            return [tf.zeros((tf.shape(fake)[0], *size)) for size in sizes]

        # Replicas cannot meet inside a condition: it ends before their features are gathered.
        looks = tf.cond(weight > 0.0, lambda: (look(batch.real), look(fake)), lambda: (skip(), skip()))
        pairs = zip(*tf.nest.map_structure(distribution.gather, looks), strict=True)
        return weight * tf.add_n([drifting_loss(r, f) for r, f in pairs]) / len(looks[0])

    # Discriminator.

    def build_discriminator(self) -> keras.Model:
        """Pictures and projected features -> a list of logit maps `(batch, h, w, 1)`, the plain one first."""
        inputs, logits = {}, []
        shape = (self.recipe.data.size, self.recipe.data.size, self.recipe.data.channels)
        if self.options.plain_weight > 0:
            inputs["samples"] = keras.Input(shape, name="samples")
            trunk = self._plain_trunk(shape)
            features = keras.Input(trunk.output.shape[1:], name="features")
            head = keras.Model(features, self._convolution(1, 4, 1, "logits", "valid")(features), name="head")
            logits.append(head(trunk(inputs["samples"])))
        if self._uses_backbone():
            self._build_features(shape)
        if self.options.projected_weight > 0:
            for name, map_shape in self._build_projection().items():
                inputs[name] = keras.Input(map_shape, name=name)
                logits.append(self._small(map_shape, name)(inputs[name]))
        return keras.Model(inputs, logits, name="discriminator")

    def _convolution(self, width: int, kernel: int, stride: int, name: str, padding: str = "same") -> layers.Layer:
        kind = SpectralConv2D if self.options.spectral else layers.Conv2D
        return kind(width, kernel, stride, padding, kernel_initializer="he_normal", name=name)

    def _plain_trunk(self, shape: tuple[int, ...]) -> keras.Model:
        x = pictures = keras.Input(shape, name="samples")
        width = self.options.plain_width
        while x.shape[1] > 4:
            size = x.shape[1] // 2
            x = layers.LeakyReLU(0.2, name=f"leaky_{size}")(self._convolution(width, 4, 2, f"down_{size}")(x))
            width = 2 * width
        return keras.Model(pictures, x, name="trunk")

    def _small(self, shape: tuple[int, ...], name: str) -> keras.Model:
        """A small discriminator on one scale: down to 4x4, then one logit a position."""
        x = features = keras.Input(shape, name="features")
        width = self.options.projected_width
        x = layers.LeakyReLU(0.2, name="leaky_in")(self._convolution(width, 1, 1, "in")(x))
        while x.shape[1] > 4:
            size = x.shape[1] // 2
            x = layers.LeakyReLU(0.2, name=f"leaky_{size}")(self._convolution(width, 4, 2, f"down_{size}")(x))
        x = layers.LeakyReLU(0.2, name="leaky_out")(self._convolution(width, 3, 1, "out")(x))
        return keras.Model(features, self._convolution(1, 1, 1, "logits")(x), name=f"head_{name}")

    # The frozen network.

    def _uses_backbone(self) -> bool:
        options = self.options
        return options.projected_weight > 0 or (options.matching_weight > 0 and max(options.matching_levels) > 1)

    def _build_features(self, shape: tuple[int, ...]) -> None:
        """Make the frozen network and what standardises its channels."""
        options = self.options
        levels = set(options.levels if options.projected_weight > 0 else ())
        levels |= set(options.matching_levels if options.matching_weight > 0 else ()) - {1}
        self.backbone = backbones.create(
            options.backbone,
            shape,
            levels=sorted(levels),
            weights=None if options.backbone_weights == "random" else "default",
            input_size=options.backbone_size,
            bottlenecks=True,
        )
        self._map_shapes = {n: m.shape[1:] for n, m in zip(self.backbone.levels, self.backbone.outputs, strict=True)}
        self.standardise = standardiser(list(self._map_shapes.values()), list(self._map_shapes))

    def features(self, pictures: tf.Tensor) -> dict[int, tf.Tensor]:
        """The frozen network's maps of pictures in [-1, 1] by stride, each channel standardised by `adapt`."""
        scaled = self.standardise(self.backbone(pictures, training=False), training=False)
        return dict(zip(self.backbone.levels, scaled, strict=True))

    def _build_projection(self) -> dict[str, tuple[int, ...]]:
        """Make the fixed random mixing; the shapes of what it gives, by name."""
        options = self.options
        pyramid = [keras.Input(self._map_shapes[level], name=f"level_{level}") for level in options.levels]
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
        """Standardise each channel of the frozen features by its mean and deviation on real pictures."""
        if self._uses_backbone():
            standardise(self.standardise, self.backbone, reals[:512])

    def fixed_networks(self) -> dict[str, keras.Model]:
        """What a checkpoint must keep beside the trained networks; the backbone's weights come from their package."""
        fixed = {"standardise": self.standardise} if self._uses_backbone() else {}
        return fixed | ({"projection": self.projection} if self.options.projected_weight > 0 else {})

    def pretrained_sources(self) -> list[dict[str, str]]:
        """The backbone, where it is used and has its weights."""
        if not self._uses_backbone() or self.options.backbone_weights == "random":
            return []
        info = self.backbone.info
        return [{"backbone": info.name, "family": info.family, "trained_on": info.trained_on}]

    def observe(self, samples: Any, conditions: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The pictures for the plain branch, mixed frozen features for the others."""
        seen = {"samples": samples} if self.options.plain_weight > 0 else {}
        if self.options.projected_weight > 0:
            features = self.features(samples)
            maps = self.projection([features[level] for level in self.options.levels], training=False)
            seen |= {f"scale_{level}": m for level, m in zip(self.options.levels, maps, strict=True)}
        return seen

    def score(self, observed: dict[str, tf.Tensor], conditions: Mapping[str, tf.Tensor]) -> list[tf.Tensor]:
        """One logit map a branch and scale."""
        return tf.nest.flatten(self.discriminator(observed, training=True))

    def head_weights(self) -> list:
        """The plain branch's weight, then the projected one's shared evenly by its scales."""
        options = self.options
        weights: list = [options.plain_weight] if options.plain_weight > 0 else []
        if options.projected_weight > 0:
            scales = len(options.levels)
            weight = options.projected_weight / scales
            if options.projected_from or options.projected_ramp:
                since = tf.cast(self.samples_seen.value, tf.float32) - options.projected_from
                weight *= tf.clip_by_value(since / max(options.projected_ramp, 1), 0.0, 1.0)
            weights += [weight] * scales
        return weights


class InRange(layers.Layer):
    """Cut to [-1, 1] in inference; in training as it is, so that a gradient always comes back."""

    def call(self, inputs, training=False):
        """Same shape."""
        return inputs if training else tf.clip_by_value(inputs, -1.0, 1.0)


def _shifted(pictures: tf.Tensor, most: int, shift: tf.Tensor) -> tf.Tensor:
    """Pictures moved by `shift - most` rows and columns (`shift` in 0..2 * most), mirrored at their edges."""
    shape = pictures.shape
    padded = tf.pad(pictures, [[0, 0], [most, most], [most, most], [0, 0]], "SYMMETRIC")
    # A slice with fixed sizes: one with computed ends has no static shape under XLA.
    return tf.ensure_shape(tf.slice(padded, (0, *tf.unstack(shift), 0), (tf.shape(pictures)[0], *shape[1:])), shape)


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
