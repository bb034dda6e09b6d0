"""The GAN: a generator and a discriminator, their losses, sampling.

A subclass names its `Options` and supplies `build_generator` and `build_discriminator`; an unusual topology overrides
`networks`, `phases` and what they call. How a step is taken is defined in `ganzoo.core.model`.
"""

import itertools
import math
import re
from collections.abc import Mapping
from typing import Any, Self, TypeVar

import keras
import numpy as np
import tensorflow as tf

from ganzoo import progress
from ganzoo.augmentations.diff_augment import augment
from ganzoo.core.addon import AddOn, composed
from ganzoo.core.batches import as_dict, class_ids, first_batches, is_arrays
from ganzoo.core.inputs import ClassCondition, Latent, checked_inputs, given_conditions
from ganzoo.core.model import PhasedModel
from ganzoo.core.normalisations import recompute
from ganzoo.core.phases import Batch, Phase
from ganzoo.data.names import class_names as printable_names
from ganzoo.distribution import GlobalRandom
from ganzoo.errors import DataError, RecipeError, TrainingError
from ganzoo.losses.adversarial import get_objective, sum_of_heads
from ganzoo.recipes.schema import Recipe
from ganzoo.weights.sources import distinct

GRID_SAMPLES = 64
Kind = TypeVar("Kind", bound=AddOn)


class GAN(PhasedModel):
    """A generator and a discriminator trained against each other, by a recipe.

    `gan.compile(); gan.fit(dataset)` trains it. A batch of the dataset is a tensor of reals, or a dict with `real` and
    the conditions (`class_id`); images are uint8, or float32 in [-1, 1]. It has `training.batch_size *
    training.d_steps` samples.

    Args:
        recipe: a validated recipe (`ganzoo.get_entry(name).recipe()`).

    Attributes:
        class_names: the names of the classes in the order of their numbers, where they are known: `ganzoo.load` and
            `ganzoo.train` set them, presets keep them, and `evaluate`, `generate` and `export` use them. May be set.
    """

    remedy = "Lower the learning rates, add or strengthen a regularizer (r1), or use precision float32."

    def __init__(self, recipe: Recipe):
        super().__init__(recipe, "gan")
        self.objective = get_objective(recipe.objective)
        self.class_names: tuple[str, ...] = ()

    def build_networks(self) -> None:
        """The generator, the discriminator and the averaged generator."""
        self.generator = self.build_generator()
        self.discriminator = self.build_discriminator()
        self.generator_ema = self.build_generator()
        if self.recipe.guards.act and not self.recipe.guards.every:
            raise RecipeError("guards.act says what is done at a warning, but guards.every = 0: nothing is checked.")
        self.augment_probability = self.recipe.augment.probability  # a number, or the variable of an add-on
        self.addons = composed(self.recipe)
        for addon in self.addons:
            addon.build(self)
            for name, network in addon.networks().items():
                setattr(self, name, network)  # Keras saves the networks among a model's attributes

    def addon(self, kind: type[Kind]) -> Kind | None:
        """The GAN's add-on of a class; None where it has none."""
        return next((addon for addon in self.addons if isinstance(addon, kind)), None)

    def get_config(self) -> dict[str, Any]:
        """As of every model, and the names of the classes."""
        return {**super().get_config(), "class_names": list(self.class_names)}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A GAN from what `get_config` returned, with fresh weights."""
        gan = super().from_config(config)
        gan.class_names = printable_names(config.get("class_names", ()))
        return gan

    # What a subclass supplies.

    def build_generator(self) -> keras.Model:
        """A functional model from a dict of latents and conditions to samples; every layer named."""
        raise NotImplementedError

    def build_discriminator(self) -> keras.Model:
        """A functional model from a dict `samples` and conditions to logits; its parts are nested models."""
        raise NotImplementedError

    def latents_spec(self) -> dict[str, Latent]:
        """The latent inputs of the generator, by name."""
        return {"latents": Latent((self.options.latent_dim,))}

    def conditions_spec(self) -> dict[str, ClassCondition]:
        """The conditions, by name; empty where the entry has none."""
        classes = getattr(self.options, "classes", None)
        return {"class_id": ClassCondition(classes)} if classes else {}

    def widths(self) -> tuple[float, ...]:
        """The shares of its channels at which the generator makes samples, see `at_width`; the whole one first."""
        return (1.0,)

    def at_width(self, share: float) -> "GAN":
        """A GAN of its own whose generator has this share of the channels, with this one's weights.

        Raises:
            RecipeError: the generator was not trained for that width (`widths`).
        """
        if share not in self.widths():
            several = len(self.widths()) > 1
            known = f"the widths {list(self.widths())}" if several else "one width, 1, only"
            hint = "" if several else " image/elastic_mobile_64 is an entry with several."
            raise RecipeError(f"{self.recipe.entry} makes samples at {known}. Received: {share:g}.{hint}")
        return self

    def averages(self) -> dict[str, tuple[keras.Model, keras.Model]]:
        """The averaged generator, which is what is shown, scored and exported."""
        return {"generator_ema": (self.generator_ema, self.generator)}

    def sample_shapes(self) -> list[tuple[int, ...]]:
        """Those of what the generator makes."""
        return [tuple(output.shape[1:]) for output in tf.nest.flatten(self.generator.outputs)]

    def show(self, examples: Mapping[str, np.ndarray] | None) -> np.ndarray | None:
        """A grid's samples of the averaged generator, of fixed latents."""
        return self.generate(GRID_SAMPLES, seed=self.recipe.seed)

    def preset_parts(self) -> dict[str, keras.Model]:
        """All networks, the averaged generator as `generator`."""
        return {**self.networks(), **self.fixed_networks(), "generator": self.generator_ema}

    def compile(self, optimizer: Any = None, **kwargs: Any) -> None:
        """As `PhasedModel.compile`."""
        for addon in self.addons:
            addon.on_compile(self)
        super().compile(optimizer, **kwargs)

    def begin(self) -> None:
        """What the add-ons fix."""
        for addon in self.addons:
            addon.on_first_weights(self)

    def numbers(self) -> dict[str, Any]:
        """The add-ons'."""
        return {name: variable for addon in self.addons for name, variable in addon.numbers().items()}

    def trunk_sources(self) -> list[dict[str, str]]:
        """The pretrained networks of which the discriminator's trunk is made, see `pretrained_sources`."""
        return []

    def pretrained_sources(self) -> list[dict[str, str]]:
        """Those of the trunk, of the add-ons, and of the weights that it began with."""
        taught = [source for addon in self.addons for source in addon.pretrained_sources()]
        return distinct([*self.trunk_sources(), *taught, *super().pretrained_sources()])

    def only_for_training(self) -> dict[str, keras.Model]:
        """The add-ons'."""
        return {name: network for addon in self.addons for name, network in addon.only_for_training().items()}

    def networks(self) -> dict[str, keras.Model]:
        """The trained networks by name, one optimizer each."""
        return {"generator": self.generator, "discriminator": self.discriminator, **self._added_networks()}

    def _added_networks(self) -> dict[str, keras.Model]:
        return {name: network for addon in self.addons for name, network in addon.networks().items()}

    def trains_as(self, network: str) -> str:
        """The add-ons' networks train as the discriminator does."""
        return "discriminator" if network in self._added_networks() else super().trains_as(network)

    def observe(self, samples: Any, conditions: Mapping[str, tf.Tensor]) -> Any:
        """What the trained part of the discriminator looks at: the samples, or features of a frozen network."""
        return samples

    def score(self, observed: Any, conditions: Mapping[str, tf.Tensor]) -> Any:
        """Logits of the discriminator for what it observes: a tensor, or a list of one tensor a head."""
        return self.discriminator({"samples": observed, **conditions}, training=True)

    def head_weights(self) -> list | None:
        """A factor for each head of the discriminator; None for ones."""
        return None

    def generator_terms(self, fake: Any, batch: Batch) -> dict[str, tf.Tensor]:
        """Named terms added to the generator's loss and logged, per example `(batch,)` or one scalar for all."""
        return {}

    def phases(self) -> list[Phase]:
        """The phases of a step, in turn."""
        return [
            Phase(
                "discriminator",
                loss=self._discriminator_loss,
                prepare=self._real_and_fake,
                critic=self._critic,
                penalties=self.recipe.regularizers,
                steps=self.recipe.training.d_steps,
                also=tuple(self._added_networks()),
            ),
            Phase(
                "generator",
                loss=self._generator_loss,
                reuses=self.recipe.training.reuse_fakes,
                direct=any(addon.reads_weights for addon in self.addons),
            ),
        ]

    # The two losses.

    def _look(self, samples: Any, batch: Batch, purpose: str) -> Any:
        policy, probability = self.recipe.augment.policy, self.augment_probability
        seen = augment(samples, policy, batch.random.child(purpose), probability)
        return self.observe(seen, batch.conditions)

    def _fake(self, batch: Batch) -> Any:
        if batch.fake is not None:
            return batch.fake
        return self.make({**batch.latents, **batch.conditions})

    def make(self, inputs: dict[str, tf.Tensor]) -> Any:
        """Samples of the live generator, in training mode, float32."""
        return tf.nest.map_structure(lambda leaf: tf.cast(leaf, tf.float32), self.generator(inputs, training=True))

    def _real_and_fake(self, batch: Batch) -> dict[str, Any]:
        return {
            "real": self._look(batch.real, batch, "augment_real"),
            "fake": self._look(self._fake(batch), batch, "augment_fake"),
        }

    def _discriminator_loss(self, batch: Batch, context: Any) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        real = self.score(context["real"], batch.conditions)
        fake = self.score(context["fake"], batch.conditions)
        loss = self.objective.discriminator(real, fake, self.head_weights())
        logs = {"real_logits": self._mean_of_heads(real), "fake_logits": self._mean_of_heads(fake)}
        for addon in self.addons:
            terms, more = addon.discriminator_terms(batch)
            logs |= more
            for term in terms:
                loss += term
        return loss, logs

    def _mean_of_heads(self, logits: Any) -> tf.Tensor:
        """The mean by the heads' weights: what does not judge yet counts nothing."""
        heads, weights = tf.nest.flatten(logits), self.head_weights()
        whole = len(heads) if weights is None else tf.maximum(tf.add_n([tf.cast(w, tf.float32) for w in weights]), 1e-8)
        return sum_of_heads(heads, weights) / whole

    def _generator_loss(self, batch: Batch, context: Any) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        fake = self._fake(batch)
        logits = self.score(self._look(fake, batch, "augment_fake"), batch.conditions)
        real = logits
        if self.recipe.objective == "relativistic":
            real = self.score(self._look(batch.real, batch, "augment_real"), batch.conditions)
        terms = self.generator_terms(fake, batch)
        for addon in self.addons:
            terms |= addon.generator_terms(self, fake, batch)
        return sum(terms.values(), self.objective.generator(real, logits, self.head_weights())), terms

    def _critic(self, batch: Batch, observed: Any) -> tf.Tensor:
        return sum_of_heads(tf.nest.flatten(self.score(observed, batch.conditions)), self.head_weights())

    # Sampling.

    def call(self, inputs: Any) -> Any:
        """Samples of the averaged generator in inference mode, float32; images are in [-1, 1].

        Args:
            inputs: a dict of latents and conditions by name (`latents_spec`, `conditions_spec`), or the latents alone
                where there is nothing else.
        """
        return self.generator_ema(self._inputs(inputs), training=False)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Samples of the averaged generator for given latents, as `keras.Model.predict`; images are in [-1, 1].

        `generate` draws the latents itself and returns uint8 images.

        Args:
            x: as for `call`: an array `(samples, latent_dim)`, or a dict with `class_id` too.
            args: see `kwargs`.
            kwargs: as in `keras.Model.predict` (`batch_size`, `verbose`, ...).

        Raises:
            DataError: the inputs are not those of the generator.
        """
        if is_arrays(x):
            self._inputs(x)  # before anything is traced, where the shapes are known
        with self._errors_in_words():
            return super().predict(x, *args, **kwargs)

    def predict_step(self, data: Any) -> Any:
        """Samples for a batch of latents and conditions."""
        inputs = self._inputs(data[0] if isinstance(data, tuple | list) else data)
        return self.generator_ema(inputs, training=False)

    def _inputs(self, inputs: Any) -> dict[str, Any]:
        return checked_inputs(self.recipe.entry, self.latents_spec(), self.conditions_spec(), inputs)

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        steps: int | None = None,
        callbacks: Any = None,
        return_dict: bool = False,
        **kwargs: Any,
    ) -> Any:
        """The domain's quick score of the averaged generator: lower is better, and no network is needed.

        For images it is the sliced Wasserstein distance x1000 between real samples and as many generated ones, of the
        same classes. `fit(validation_data=...)` logs it at the end of each epoch as `val_` and its name:
        `val_sliced_wasserstein_x1000`. `ganzoo.evaluate(gan, data)` gives the whole scorecard.

        Args:
            x: real samples, as for `fit`; the first `evaluation.every_samples` (1,000) of them count.
            y: None; class ids belong to the dict.
            steps: at most so many batches.
            callbacks: Keras' list of callbacks, while `fit` runs.
            return_dict: `{name: score}` instead of the score.
            kwargs: other arguments of `keras.Model.evaluate`, which change nothing here.

        Raises:
            DataError: the samples do not suit, as in `fit`.
            EvaluationError: there are too few samples, or too small ones.
        """
        if y is not None:
            as_dict((x, y))
        if x is None:
            raise DataError("No data. Give real samples: gan.evaluate(dataset).")
        hooks = callbacks if isinstance(callbacks, keras.callbacks.CallbackList) else None
        if hooks:
            hooks.on_test_begin()
        reals, conditions = self._real_samples(x, steps)
        with self.calibrated():
            fakes = self.generate(len(reals), seed=self.recipe.seed, conditions=conditions)
        logs = {score_name(self.domain.QUICK_SCORE): float(self.domain.quick_score(reals, fakes))}
        if hooks:
            hooks.on_test_end(logs)
        return logs if return_dict else next(iter(logs.values()))

    def _real_samples(self, x: Any, steps: int | None) -> tuple[np.ndarray, dict[str, np.ndarray] | None]:
        """The first real samples of what `fit` takes, in the domain's units, and their conditions."""
        most, pixels = self.recipe.evaluation.every_samples, self.domain.PixelRange()
        batches: list[Mapping[str, Any]] = []
        for batch in itertools.islice(first_batches(x)[0], steps):
            self._check_first(batch)
            pixels.see(batch["real"])
            batches.append(batch)
            if sum(len(one["real"]) for one in batches) >= most:
                break
        pixels.finish()
        if not batches:
            raise DataError("The data to evaluate on are empty. Give real samples.")
        reals = np.concatenate([one["real"] for one in batches])[:most]
        if reals.dtype != np.uint8:
            reals = self.domain.from_unit(self.domain.to_unit(reals))
        conditions = {
            name: np.concatenate([class_ids(name, one[name], spec.classes) for one in batches])[:most].astype("int32")
            for name, spec in self.conditions_spec().items()
        }
        return reals, conditions or None

    def export(self, filepath: Any, format: str | None = None, **options: Any) -> dict[str, Any]:
        """Export the averaged generator to a folder, as `ganzoo.export_generator`; returns its card.

        Args:
            filepath: the folder.
            format: one of `tflite`, `saved_model`, `onnx`, or Keras' name for it; the first two by default.
            options: those of `ganzoo.export_generator` (`formats`, `quantize`, `target`, `data`, `width`).

        Raises:
            ExportError: as `ganzoo.export_generator`.
        """
        import ganzoo

        if format is not None:
            options["formats"] = ({"tf_saved_model": "saved_model", "litert": "tflite"}.get(format, format),)
        options = {key: value for key, value in options.items() if key not in ("verbose", "input_signature")}
        return ganzoo.export_generator(self, filepath, **options)

    def draw_latents(self, count: int, seed: int = 0) -> dict[str, np.ndarray]:
        """Latents by name, `(count, *shape)` float32, standard normal; the same seed gives the same."""
        random = GlobalRandom(seed, 0, "draw", count)
        specs = self.latents_spec().items()
        return {name: random.normal(spec.shape, name).numpy().astype("float32") for name, spec in specs}

    def truncate(self, latents: Mapping[str, tf.Tensor], truncation: tf.Tensor) -> dict[str, tf.Tensor]:
        """Latents drawn towards their mean, which is 0 here: z' = truncation z, so that 1 leaves them as they are.

        Less than 1 trades variety for likeliness, as the truncated distribution of Brock et al. 2019
        (https://arxiv.org/abs/1809.11096) does, but a seed's sample stays recognisable, and an exported generator can
        do it by itself. A GAN that maps its latents to styles overrides this (Karras et al. 2019 truncate those).

        Args:
            latents: by name, `(batch, *shape)`.
            truncation: `(batch,)`, more than 0.
        """
        return {
            name: values * tf.reshape(truncation, (-1, *[1] * (len(values.shape) - 1)))
            for name, values in latents.items()
        }

    def draw_conditions(self, count: int) -> dict[str, np.ndarray]:
        """Conditions by name, every class in turn."""
        return {
            name: (np.arange(count) % spec.classes).astype("int32") for name, spec in self.conditions_spec().items()
        }

    def generate(
        self,
        count: int,
        seed: int = 0,
        truncation: float | None = None,
        conditions: Mapping[str, np.ndarray] | None = None,
        live: bool = False,
        batch_size: int = 64,
    ) -> np.ndarray:
        """Samples in the domain's own units (images: uint8, `(count, height, width, channels)`).

        Args:
            count: how many.
            seed: the same seed gives the same samples.
            truncation: see `truncate`.
            conditions: by name, `(count,)`; every class in turn by default.
            live: the generator as it is trained now, not its average.
            batch_size: how many at once; has no influence on the samples.

        Raises:
            TrainingError: a truncation that is not positive, or memory that does not suffice.
            DataError: a count below 1, or conditions that are not `count` class ids of this GAN.
        """
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
            raise DataError(f"count must be an integer of 1 or more. Received: {count!r}.")
        if truncation is not None and not 0 < truncation < math.inf:
            raise TrainingError(f"truncation must be positive: 1 is none, less is more. Received: {truncation}.")
        given = (
            self.draw_conditions(count)
            if conditions is None
            else given_conditions(self.conditions_spec(), conditions, count)
        )
        generator = self.generator if live else self.generator_ema
        samples = []
        try:
            inputs = self.draw_latents(count, seed)
            if truncation is not None:
                drawn = self.truncate(inputs, tf.fill((count,), tf.constant(truncation, tf.float32)))
                inputs = {name: np.asarray(values) for name, values in drawn.items()}
            inputs |= given
            for start in progress.each(range(0, count, batch_size), "Generating samples"):
                part = {name: value[start : start + batch_size] for name, value in inputs.items()}
                samples.append(self.domain.from_unit(np.asarray(generator(part, training=False), "float32")))
            return np.concatenate(samples)
        except (tf.errors.ResourceExhaustedError, MemoryError):
            raise TrainingError(
                f"Out of memory with {count:,} samples. Generate fewer at a time, each time with another seed."
            ) from None

    def calibrate(self, batches: int = 8, batch_size: int = 64) -> None:
        """Recompute the BatchNorm statistics of `generator_ema` as a plain average over fresh latents.

        Those of frozen layers stay as they are, as they do in the generator itself.
        """

        def inputs_of(index: int) -> dict[str, np.ndarray]:
            return self.draw_latents(batch_size, seed=index) | self.draw_conditions(batch_size)

        recompute(self.generator_ema, self.generator, inputs_of, batches)


def score_name(text: str) -> str:
    """The name of a score as a key of Keras' logs: `sliced Wasserstein x1000` is `sliced_wasserstein_x1000`."""
    return re.sub(r"\W+", "_", text).strip("_").lower()
