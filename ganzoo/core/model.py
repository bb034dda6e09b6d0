"""A Keras model that is trained in phases, by a recipe: one train step for every architecture and every pretraining.

A subclass makes its networks and says in which phases a step trains them. Averaged networks, guards, lazy penalties,
scaling over replicas, exact states and resuming then serve it as they stand.
"""

import contextlib
import itertools
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import keras
import numpy as np
import tensorflow as tf

from ganzoo import distribution
from ganzoo.core import batches as given_batches
from ganzoo.core import optimizers as given_optimizers
from ganzoo.core.batches import as_dict
from ganzoo.core.freezing import Late, Thaw, correct_late, layers_of, set_trainable
from ganzoo.core.inputs import ClassCondition, Latent
from ganzoo.core.normalisations import batch_norms
from ganzoo.core.phases import Batch, Phase, gradient, phase_gradients
from ganzoo.core.precision import dtype_policy, with_global_policy
from ganzoo.core.registration import register_classes
from ganzoo.distribution import GlobalRandom
from ganzoo.domains import get_domain
from ganzoo.errors import DataError, RecipeError, TrainingError, WeightsError, unknown_name
from ganzoo.recipes.schema import Optimizer, Recipe, Section, validate
from ganzoo.startup import require_tensorflow
from ganzoo.weights.variables import misfits, named_variables, restored

if TYPE_CHECKING:
    from ganzoo.data.sample_set import SampleSet

NOT_FINITE = "is not finite"
UNEVEN = "The samples of a batch are no multiple of what a step deals out in turn"
_FIRST_BATCHES = 1_024  # of the data, which may repeat for ever, are looked at most before the first step
TOO_FEW = "A batch has fewer samples than a step takes apart (training.d_steps)"


class PhasedModel(keras.Model):
    """Networks that are trained in phases.

    `model.compile(); model.fit(dataset)` trains it. A batch of the dataset is a tensor of samples, or a dict with
    `real` and the conditions (`class_id`). Images are integers in 0..255 or floats in [-1, 1];
    `ganzoo.data.images.pixel_range` says how that is checked.

    Args:
        recipe: a validated recipe.
        name: the Keras model's name.
    """

    Options: type[Section] = Section
    adapted: tuple[str, ...] = ()  # the fixed networks that `adapt` sets anew for other data
    remedy = "Lower the learning rates, or use precision float32."  # against values that are not finite
    first_reals = 512  # how many real samples `adapt` is given, if there are so many

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register each class with Keras, so that `keras.saving.load_model` finds it."""
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable(package=cls.__module__.partition(".")[0])(cls)

    def __init__(self, recipe: Recipe, name: str):
        require_tensorflow()
        super().__init__(name=name, dtype="float32")  # its networks have the recipe's precision
        register_classes()
        recipe = with_global_policy(recipe)
        self.recipe = recipe
        self.options = recipe.model
        self.domain = get_domain(recipe.domain)
        with dtype_policy(recipe.training.precision):
            self.build_networks()
        for name, network in self.networks().items():
            network.name = name
        for name, (average, live) in self.averages().items():
            average.name = name
            average.trainable = False
            for mean, weight in zip(average.weights, live.weights, strict=True):
                mean.assign(weight)
        self.step, self.samples_seen = self._counter("step"), self._counter("samples_seen")
        self.built = True
        self._begun = False
        self._range: Any = None  # what `train_on_batch` has seen of the pixels
        self._given: dict[str, Any] = {}  # the optimizers that `compile` was given
        self.inherited_sources: list[dict[str, str]] = []  # of the weights that it began with
        # Of two rules for a layer the later moment has the last word.
        rules = sorted(recipe.freeze, key=lambda rule: math.inf if rule.until is None else rule.until)
        self._frozen = [(rule.until, layers_of(self.part(rule.part), rule)) for rule in rules]
        for _, layers in self._frozen:
            set_trainable(layers, False)
        self._begun_at = [self._counter(f"late_{index}", -1) for index in range(len(self.late()))]

    def _counter(self, name: str, first: int = 0, shape: tuple[int, ...] = ()) -> Any:
        """An int64 variable of the run's state, the same on all replicas."""
        return self.add_weight(
            name=name,
            shape=shape,
            dtype="int64",
            initializer=keras.initializers.Constant(first),
            trainable=False,
            aggregation="only_first_replica",
        )

    # What a subclass supplies.

    @classmethod
    def options_of(cls, raw: Mapping[str, Any]) -> type[Section]:
        """The schema of the `model` section of a recipe for this class, from its raw keys."""
        return cls.Options

    def build_networks(self) -> None:
        """Make the networks as attributes."""
        raise NotImplementedError

    def networks(self) -> dict[str, keras.Model]:
        """The trained networks by name, one optimizer each."""
        raise NotImplementedError

    def phases(self) -> list[Phase]:
        """The phases of a step, in turn."""
        raise NotImplementedError

    def optimizer_options(self, network: str) -> Optimizer | None:
        """What the recipe says of a network's optimizer, or of that which the network follows."""
        return self.recipe.optimizers.get(network) or self.recipe.optimizers.get(self.trains_as(network))

    def trains_as(self, network: str) -> str:
        """The network whose optimizer a network's is like where it is given none of its own."""
        return network

    def sample_shapes(self) -> list[tuple[int, ...]]:
        """The shapes of a sample's leaves, without the batch."""
        raise NotImplementedError

    def make(self, inputs: dict[str, tf.Tensor]) -> Any:
        """Samples made of latents and conditions, for a phase that reuses them."""
        raise NotImplementedError

    def averages(self) -> dict[str, tuple[keras.Model, keras.Model]]:
        """Averaged networks by name, each with the live one that it follows."""
        return {}

    def fixed_networks(self) -> dict[str, keras.Model]:
        """Networks that are never trained but belong to the run's state, by name."""
        return {}

    def only_for_training(self) -> dict[str, keras.Model]:
        """More networks of the run's state, which no preset keeps, by name."""
        return {}

    def numbers(self) -> dict[str, Any]:
        """Variables of the run's state beside the networks', by name."""
        return {}

    def latents_spec(self) -> dict[str, Latent]:
        """The latent inputs, by name."""
        return {}

    def conditions_spec(self) -> dict[str, ClassCondition]:
        """The conditions, by name; empty where there are none."""
        return {}

    def adapt(self, reals: np.ndarray) -> None:
        """Learn fixed statistics of the data before the first step, from some real samples."""

    def begin(self) -> None:
        """Fix what depends on the first weights, before the first step."""

    def deals_out(self) -> int:
        """Samples of a batch are treated differently in turn, all alike again after so many."""
        return 1

    def period(self) -> int:
        """After so many steps all that is not done in each of them has been done."""
        return max((penalty.every for phase in self.phases() for penalty in phase.penalties), default=1)

    def frozen_layers(self) -> dict[str, list[str]]:
        """The names of the layers that the recipe's `freeze` keeps as they are now, by part."""
        found: dict[str, list[str]] = {}
        for rule, (_, layers) in zip(self.recipe.freeze, self._frozen, strict=True):
            found.setdefault(rule.part, []).extend(layer.name for layer in layers if not layer.trainable)
        return found

    def callbacks(self, run: Path, data: "SampleSet | None") -> list[keras.callbacks.Callback]:
        """What a run must do beside the steps, on its samples (None where they cannot be looked at)."""
        return []

    def calibrate(self) -> None:
        """Make the averaged networks ready for use."""

    def show(self, examples: Mapping[str, np.ndarray] | None) -> np.ndarray | None:
        """Samples in the domain's units that show how far the training is; None where there is nothing to look at.

        Args:
            examples: up to 64 real samples (`real`) and, where the data have classes, their `class_id`; None where the
                data cannot be looked at.
        """
        raise NotImplementedError

    def pretrained_sources(self) -> list[dict[str, str]]:
        """The pretrained networks that taught this model, now or before: `backbone`, `family`, `trained_on` of each."""
        return self.inherited_sources

    def preset_parts(self) -> dict[str, keras.Model]:
        """The networks that a preset of this model keeps, by name."""
        raise NotImplementedError

    # The step.

    def compile(
        self,
        optimizer: Any = None,
        *,
        optimizers: Mapping[str, Any] | None = None,
        run_eagerly: bool = False,
        jit_compile: bool | None = None,
        **unknown: Any,
    ) -> None:
        """Build one optimizer for each network: the recipe's, unless others are given.

        Afterwards `model.optimizers` holds them by network, and `model.optimizer` is a
        `ganzoo.core.optimizers.JointOptimizer`: setting its learning rate scales all of them.

        Args:
            optimizer: one for all networks, of which each gets a copy: a Keras optimizer or a name, such as
                `keras.optimizers.Adam(2e-4, beta_1=0.5)`. A name has Keras' defaults (of "adam" a learning rate of
                1e-3, beta_1 0.9), which are high for most GANs.
            optimizers: by network (`generator`, `discriminator`); networks that are not named keep the recipe's.
            run_eagerly: run steps without a graph, to debug them.
            jit_compile: compile losses and gradients with XLA; the recipe's `training.jit_compile` by default. It
                is left off where there are several replicas.
            unknown: other arguments of `keras.Model.compile`, which are refused: the losses are the recipe's.

        Raises:
            GanzooError: an unknown network or optimizer, an argument that does not apply, or a batch size that the
                replicas cannot share.
        """
        self._check_compile(unknown)
        self._given = given_optimizers.chosen(optimizer, optimizers, self.networks())
        jit = self.recipe.training.jit_compile if jit_compile is None else jit_compile
        if jit and distribution.strategy_of(self).num_replicas_in_sync > 1:
            # What is summed over replicas inside a loss (batch normalisation) cannot be compiled here.
            logging.getLogger("ganzoo").info("training.jit_compile is left off: there are several replicas.")
            jit = False
        super().compile(optimizer=None, jit_compile=False, run_eagerly=run_eagerly)
        self._jit = jit and not run_eagerly
        self._build_optimizers()
        self.thaw()

    def _check_compile(self, unknown: Mapping[str, Any]) -> None:
        if unknown := {key: value for key, value in unknown.items() if value is not None}:
            raise TrainingError(
                f"compile does not take {sorted(unknown)}. The losses of {self.recipe.entry} are set by its recipe "
                "(ganzoo.create(NAME, objective=..., regularizers=...)); compile takes optimizer, optimizers, "
                "run_eagerly and jit_compile."
            )
        if unknown := set(self.recipe.optimizers) - set(self.networks()):
            raise RecipeError(unknown_name("network (key 'optimizers')", min(unknown), self.networks()))
        size, replicas = self.recipe.training.batch_size, distribution.strategy_of(self).num_replicas_in_sync
        if size % replicas:
            raise TrainingError(
                f"training.batch_size = {size} cannot be shared by {replicas} replicas. Take "
                f"{max(size // replicas, 1) * replicas}, or --strategy none."
            )

    def _build_optimizers(self) -> None:
        later = [layers for until, layers in self._frozen if until is not None]
        for layers in later:
            set_trainable(layers, True)  # an optimizer must know from the start what it will train
        with distribution.scope(distribution.strategy_of(self)):
            self.optimizers = {name: self._build_optimizer(name, network) for name, network in self.networks().items()}
        self.optimizer = given_optimizers.JointOptimizer(self.optimizers)
        self._late, groups = {}, self.late()
        for name, network in self.networks().items():
            own = {id(weight) for weight in network.trainable_variables}
            found = [
                Late([weight for weight in weights if id(weight) in own], active, begun)
                for (weights, active), begun in zip(groups, self._begun_at, strict=True)
            ]
            self._late[name] = [late for late in found if late.weights]
            correct_late(self.optimizers[name], self._late[name])

    def late(self) -> list[tuple[list[Any], Callable[[], tf.Tensor]]]:
        """Groups of weights that are not trained from the first step on, each with whether it is trained in this step.

        A group's weights are of one network.
        """
        return [
            ([weight for layer in layers for weight in layer.trainable_variables], partial(self._has_seen, until))
            for until, layers in self._frozen
            if until is not None
        ]

    def _has_seen(self, samples: int) -> tf.Tensor:
        return self.samples_seen.value >= samples

    def get_compile_config(self) -> dict[str, Any]:
        """What `compile` was given beside the recipe; empty before `compile`."""
        if not self.compiled:
            return {}
        kept = {name: keras.saving.serialize_keras_object(self._clone_given(name)) for name in self._given}
        return {"jit_compile": self._jit, "optimizers": kept or None}

    def compile_from_config(self, config: Mapping[str, Any]) -> None:
        """Compile as before saving."""
        kept = config.get("optimizers") or {}
        given = {name: keras.saving.deserialize_keras_object(one) for name, one in kept.items()}
        self.compile(optimizers=given or None, jit_compile=config.get("jit_compile"))

    def _clone_given(self, network: str) -> keras.optimizers.Optimizer:
        return given_optimizers.cloned(self._given[network], network)

    def _build_optimizer(self, name: str, network: keras.Model) -> keras.optimizers.Optimizer:
        followed = name if name in self._given else self.trains_as(name)
        if followed in self._given:
            optimizer = given_optimizers.cloned(self._given[followed], name)
        elif (options := self.optimizer_options(name)) is not None:
            optimizer = given_optimizers.from_options(options, name)
        else:
            raise TrainingError(f"The recipe {self.recipe.entry} has no optimizer for '{name}': add optimizers.{name}.")
        if self.recipe.training.precision == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, name=f"{name}_scale")
        optimizer.build(network.trainable_variables)
        return optimizer

    def fit(self, x: Any = None, y: Any = None, **kwargs: Any) -> keras.callbacks.History:
        """Train, as `keras.Model.fit`; afterwards averaged networks are calibrated and ready.

        Args:
            x: a `tf.data.Dataset` of batches, a `PyDataset`, a generator, an array `(samples, ...)`, or a dict of
                arrays (`real` and the conditions). Arrays are cut into batches of the recipe's
                `training.batch_size * training.d_steps` samples by default. Images are integers in 0..255 or floats in
                [-1, 1]: `ganzoo.data.images.pixel_range` describes what the first samples decide.
            y: None; class ids belong to the dict.
            kwargs: as in `keras.Model.fit` (`epochs`, `steps_per_epoch`, `callbacks`, `validation_data`, ...).

        Raises:
            DataError: shape, range or class ids of the samples are not those that the recipe expects.
            TrainingError: a loss or a gradient became NaN or infinite (before it reached a weight), or memory ran out.
        """
        if y is not None:
            as_dict((x, y))
        x = self.look_at(x)
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # a dataset has its own order, and Keras would warn
        elif given_batches.is_arrays(x) and kwargs.get("batch_size") is None:
            kwargs["batch_size"] = self.recipe.training.batch_size * self.recipe.training.d_steps
        if any(until is not None for until, _ in self._frozen):
            kwargs["callbacks"] = [*(kwargs.get("callbacks") or ()), Thaw()]
        with self._errors_in_words():
            history = super().fit(x, **kwargs)
        self.calibrate()
        return history

    def train_on_batch(self, x: Any, y: Any = None, return_dict: bool = False, **kwargs: Any) -> Any:
        """One step on a batch, as `keras.Model.train_on_batch`; the losses.

        Call `calibrate` after the last one, before samples are made or saved: `fit` does it by itself.

        Args:
            x: as a batch of `fit`.
            y: None; class ids belong to the dict.
            return_dict: the losses by name, instead of a list in the order of their names.
            kwargs: sample and class weights, which do not apply to a GAN.

        Raises:
            DataError, TrainingError: as `fit`.
        """
        if given := sorted(key for key, value in kwargs.items() if value is not None):
            raise TrainingError(f"train_on_batch does not take {given}: a GAN's losses have no weights for samples.")
        if y is not None:
            as_dict((x, y))
        batch = {name: tf.nest.map_structure(np.asarray, value) for name, value in as_dict(x).items()}
        self._check_first(batch)
        if self._range is None:
            self._range = self.domain.PixelRange()
        self._range.see(batch["real"])
        self._prepare([batch["real"]])
        self.thaw()
        with self._errors_in_words():
            return super().train_on_batch(x, return_dict=return_dict)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """There is none: losses say nothing about quality."""
        raise TrainingError("A loss of a GAN measures no quality. Use evaluate(data), which scores the samples.")

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """A subclass that makes samples scores them."""
        raise TrainingError(f"{type(self).__name__} makes no samples that could be scored. Evaluate a GAN.")

    @contextlib.contextmanager
    def _errors_in_words(self) -> Iterator[None]:
        """Turn what TensorFlow says about a step into errors that say what to do."""
        try:
            yield
        except tf.errors.InvalidArgumentError as error:
            text = str(error)
            if TOO_FEW in text:
                raise DataError(f"{TOO_FEW}. Batch the data with drop_remainder=True.") from None
            if UNEVEN in text:
                raise DataError(
                    f"{UNEVEN} ({self.deals_out()}). Batch the data so, with drop_remainder=True."
                ) from None
            for begin in (self.domain.OUT_OF_RANGE, given_batches.WRONG_CLASS):
                if found := re.search(rf"{begin}[^\n]*", text):
                    raise DataError(re.sub(r"\]? \[", " ", found.group()).replace("\\'", "'").strip("]")) from None
            if NOT_FINITE not in text:
                raise
            raise TrainingError(self._diagnosis(text)) from None
        except (tf.errors.ResourceExhaustedError, MemoryError):
            batch = self.recipe.training.batch_size
            raise TrainingError(
                f"Out of memory with training.batch_size = {batch}. Try --set training.batch_size={max(1, batch // 2)} "
                "in a new run directory (--init takes over weights)."
            ) from None

    def look_at(self, data: Any) -> Any:
        """Check the first samples of whatever `fit` takes; before the first step also `adapt` to them, and `begin`.

        Returns:
            What goes to `fit`: the same, but for a generator, whose first batches are given again.

        Raises:
            DataError: the samples have another shape, range or other classes than the recipe says.
        """
        if data is None:
            raise DataError("No data. Give a tf.data.Dataset, a PyDataset, a generator or arrays: model.fit(dataset).")
        found, data = given_batches.first_batches(data)
        adapts = not (self.step_count or self._begun) and type(self).adapt is not PhasedModel.adapt
        pixels, reals, count = self.domain.PixelRange(), [], 0
        for batch in itertools.islice(found, _FIRST_BATCHES):
            self._check_first(batch)
            pixels.see(batch["real"])
            if adapts:
                reals.append(batch["real"])
                count += len(batch["real"])
            if pixels.decided and (not adapts or count >= self.first_reals):
                break
        pixels.finish()
        self._prepare(reals)
        return data

    def _check_first(self, batch: Mapping[str, Any]) -> None:
        """Check a batch of arrays before anything is traced."""
        self._check_names(batch)
        self._check_shape(batch["real"])
        for name, spec in self.conditions_spec().items():
            given_batches.check_ids(name, given_batches.class_ids(name, batch[name], spec.classes), spec.classes)

    def _prepare(self, reals: list[np.ndarray]) -> None:
        """Before the first step, once: `adapt` to these samples, and `begin`."""
        if self.step_count or self._begun:
            return
        if reals and type(self).adapt is not PhasedModel.adapt:
            first = np.concatenate(reals)[: self.first_reals]
            self.adapt(first if first.dtype == np.uint8 else self.domain.from_unit(self.domain.to_unit(first)))
        self.begin()
        self._begun = True

    def thaw(self) -> bool:
        """Let those layers be trained whose time has come, and no others; whether that changed anything."""
        before = [layer.trainable for _, layers in self._frozen for layer in layers]
        for until, layers in self._frozen:
            set_trainable(layers, until is not None and self.sample_count >= until)
        return before != [layer.trainable for _, layers in self._frozen for layer in layers]

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step: every phase in turn, then the averages. Returns the global means of the losses."""
        real, conditions = self._unpack(data)
        logs: dict[str, tf.Tensor] = {}
        phases = self.phases()
        parts = max(phase.steps for phase in phases)
        count = tf.shape(tf.nest.flatten(real)[0])[0]
        checks = [tf.debugging.assert_greater_equal(count, parts, TOO_FEW)]
        if (period := parts * self.deals_out()) > parts:
            checks.append(tf.debugging.assert_equal(count % period, 0, UNEVEN))
        with tf.control_dependencies(checks):
            real = tf.nest.map_structure(tf.identity, real)
        checked: list[tf.Tensor] = []
        tape = None
        for phase, following in zip(phases, [*phases[1:], None], strict=True):
            for index in range(phase.steps):
                if not phase.reuses:
                    batch = self._part(real, conditions, parts, index, phase.network)
                    if following and following.reuses and index == phase.steps - 1:
                        batch, tape = self._made(batch)
                gradients, new = self._update(phase, batch, tape)
                checked, logs = checked + gradients, logs | new
        seen = tf.cast(count * distribution.replicas(), tf.int64)
        # A step that was stopped by a check neither counts nor enters the average.
        with tf.control_dependencies(checked):
            self.step.assign_add(1)
            self.samples_seen.assign_add(seen)
            self._average(tf.cast(seen, tf.float32))
        return {name: distribution.sum_over_replicas(value) for name, value in logs.items()}

    def _unpack(self, data: Any) -> tuple[Any, dict[str, tf.Tensor]]:
        batch = as_dict(data)
        self._check_names(batch)
        batch["real"] = given_batches.with_shapes(batch["real"], self.sample_shapes())
        self._check_shape(batch["real"])
        checks = [check for leaf in tf.nest.flatten(batch["real"]) for check in self.domain.check_batch(leaf)]
        conditions = {}
        for name, spec in self.conditions_spec().items():
            ids = tf.cast(given_batches.class_ids(name, batch[name], spec.classes), tf.int32)
            checks.append(given_batches.assert_ids(name, ids, spec.classes))
            conditions[name] = ids
        with tf.control_dependencies(checks):
            real = tf.nest.map_structure(
                lambda leaf: tf.debugging.check_numerics(leaf, f"the data: a sample {NOT_FINITE}"),
                self.domain.to_unit(tf.nest.map_structure(tf.identity, batch["real"])),
            )
            return real, {name: tf.identity(ids) for name, ids in conditions.items()}

    def _check_names(self, batch: Mapping[str, Any]) -> None:
        wanted = {"real", *self.conditions_spec()}
        if not wanted <= set(batch):
            raise DataError(
                f"A batch of {self.recipe.entry} needs {sorted(wanted)}. Received: {sorted(batch)}. Map your dataset "
                "with `lambda x, y: {'real': x, 'class_id': y}`; model.classes = 0 trains without classes."
            )
        if "class_id" in batch and getattr(self.options, "classes", 0) is None:
            raise DataError(
                "The batches have classes, but the recipe has no number of them: create the entry with "
                "model={'classes': NUMBER}."
            )

    def _check_shape(self, real: Any) -> None:
        given_batches.check_shapes(self.recipe.entry, real, self.sample_shapes())

    def _part(self, real: Any, conditions: dict, parts: int, index: int, purpose: str) -> Batch:
        # Every parts-th sample, so that the parts of a global batch are the same however many replicas share it.
        def take(leaf: tf.Tensor) -> tf.Tensor:
            return leaf[index::parts]

        real = tf.nest.map_structure(take, real)
        count = tf.shape(tf.nest.flatten(real)[0])[0]
        random = GlobalRandom(self.recipe.seed, self.step.value, f"{purpose}/{index}", count)
        # Nothing starts before the reals were checked, not even what makes no use of them.
        with tf.control_dependencies(tf.nest.flatten(real)):
            latents = {name: random.normal(spec.shape, name) for name, spec in self.latents_spec().items()}
        return Batch(real, {name: take(value) for name, value in conditions.items()}, latents, random)

    def _made(self, batch: Batch) -> tuple[Batch, tf.GradientTape]:
        """The batch with its fakes, and the tape that leads from them back to the generator's weights."""
        with tf.GradientTape() as tape:
            fake = self._compiled(self.make)({**batch.latents, **batch.conditions})
        return replace(batch, fake=fake), tape

    def _compiled(self, function: Callable) -> Callable:
        return tf.function(function, jit_compile=True, reduce_retracing=True) if self._jit else function

    def _update(
        self, phase: Phase, batch: Batch, tape: tf.GradientTape | None
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """One optimizer step; the gradients that it took, checked, and the logs."""
        groups = {name: self.networks()[name].trainable_variables for name in (phase.network, *phase.also)}
        variables = [variable for group in groups.values() for variable in group]
        optimizer = self.optimizers[phase.network]
        gradients_of = self._compiled(partial(phase_gradients, phase, variables, optimizer, self.recipe.seed))
        purpose = phase.network if phase.reuses else batch.random.purpose
        arguments = (batch.real, batch.conditions, batch.latents, batch.fake, batch.random.step)
        gradients, logs = gradients_of(purpose, *arguments)
        if phase.reuses:
            leaves = tf.nest.flatten(batch.fake)
            led, direct = gradients[: len(leaves)], gradients[len(leaves) :]
            gradients = gradient(tape, leaves, variables, led)
            if direct:
                gradients = [g + d for g, d in zip(gradients, direct, strict=True)]
        if not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            # Loss scaling meets infinite gradients by design, and skips them itself.
            checks = [
                tf.debugging.check_numerics(g, f"the {phase.network}: the gradient of {v.path} {NOT_FINITE}")
                for g, v in zip(gradients, variables, strict=True)
            ]
        else:
            checks = []
        checks += [
            tf.debugging.check_numerics(value, f"the {phase.network}: {name} {NOT_FINITE}")
            for name, value in logs.items()
        ]
        with tf.control_dependencies(checks):
            gradients = [tf.identity(gradient) for gradient in gradients]
            start = 0
            for name, group in groups.items():
                for late in self._late[name]:
                    late.look(self.optimizers[name])
                self.optimizers[name].apply(gradients[start : start + len(group)], group)
                start += len(group)
        return gradients, logs

    def _average(self, seen: tf.Tensor) -> None:
        """EMA with a half-life in samples that is short at first: w_ema = w + (w_ema - w) * 2^(-seen / half-life)."""
        training = self.recipe.training
        half_life = tf.cast(training.ema_half_life, tf.float32)
        if training.ema_ramp > 0:
            half_life = tf.minimum(half_life, training.ema_ramp * tf.cast(self.samples_seen.value, tf.float32))
        decay = 0.5 ** (seen / tf.maximum(half_life, 1e-8))
        for averaged, live in self.averages().values():
            for mean, weight in zip(averaged.weights, live.weights, strict=True):
                mean.assign(weight + (mean - weight) * tf.cast(decay, mean.dtype))

    def _diagnosis(self, text: str) -> str:
        found = re.search(rf"the [\w. ]+: [^:]*{NOT_FINITE}", text)
        reason = found.group() if found else f"a number {NOT_FINITE}"
        if reason.startswith("the data:"):
            return (
                f"Training stopped at step {self.step_count}: {reason}. It did not reach the weights. Find the step of "
                "your data that makes NaN or infinite values (a division by a deviation of 0?), or leave such samples "
                "out with dataset.filter."
            )
        rates = ", ".join(f"{name} {o.learning_rate:g}" for name, o in self.recipe.optimizers.items())
        return (
            f"Training stopped at step {self.step_count}, {self.sample_count} samples: {reason}. It did not reach the "
            f"weights. Learning rates: {rates}; precision {self.recipe.training.precision}. {self.remedy} That is "
            "another run: name a new directory (--init takes over weights)."
        )

    @contextlib.contextmanager
    def calibrated(self) -> Iterator[None]:
        """Calibrate for the time of a `with` block; afterwards the statistics are as before."""
        averaged = [average for average, _ in self.averages().values()]
        layers = [layer for network in averaged for layer in batch_norms(network)]
        with restored([variable for layer in layers for variable in layer.non_trainable_variables]):
            self.calibrate()
            yield

    # Parts and state.

    @property
    def step_count(self) -> int:
        """Steps done."""
        return int(np.array(self.step))

    @property
    def sample_count(self) -> int:
        """Reals that the discriminator has seen."""
        return int(np.array(self.samples_seen))

    def parts(self) -> dict[str, keras.Model]:
        """Networks, fixed ones too, and their nested models: `generator`, `discriminator.trunk`, ..."""
        found = {**self.networks(), **self.fixed_networks()}
        for name, network in self.networks().items():
            found |= {f"{name}.{layer.name}": layer for layer in network.layers if isinstance(layer, keras.Model)}
        return found

    def part(self, name: str) -> keras.Model:
        """The part of a name; raises `WeightsError` naming those that exist."""
        parts = self.parts()
        if name not in parts:
            raise WeightsError(unknown_name(f"part of {self.recipe.entry}", name, parts))
        return parts[name]

    def state(self) -> dict[str, np.ndarray]:
        """Everything a run needs to go on, as arrays: weights, averaged weights, optimizer states, counters."""
        return {name: np.array(variable, order="C") for name, variable in self._state_variables().items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Set what `state` returned; raises `WeightsError` on anything missing, unknown or of another shape."""
        variables = self._state_variables()
        if wrong := misfits(variables, state):
            raise WeightsError(
                f"A checkpoint does not fit {self.recipe.entry}: {wrong}. The recipe was changed since it was written."
            )
        for name, variable in variables.items():
            variable.assign(state[name])
        if self.thaw():
            self.train_function = None  # it was made for other layers

    def _state_variables(self) -> dict[str, Any]:
        found: dict[str, Any] = {"step": self.step, "samples_seen": self.samples_seen, **self.numbers()}
        networks = {
            **self.networks(),
            **self.fixed_networks(),
            **{name: average for name, (average, _) in self.averages().items()},
            **self.only_for_training(),
        }
        for group, network in networks.items():
            found |= {f"{group}/{name}": variable for name, variable in named_variables(network).items()}
        found |= {f"late/{index}": variable for index, variable in enumerate(self._begun_at)}
        for group, optimizer in getattr(self, "optimizers", {}).items():
            # Two layers of one name in different nested models share a path here: the position tells them apart.
            for index, variable in enumerate(optimizer.variables):
                found[f"optimizers/{group}/{index:04d}/{variable.path}"] = variable
        return found

    def get_config(self) -> dict[str, Any]:
        """The recipe, and the pretrained networks that the first weights came from."""
        sources = [dict(source) for source in self.inherited_sources]
        return {"recipe": self.recipe.to_dict(), "inherited_sources": sources}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """A model from what `get_config` returned, with fresh weights."""
        raw = config["recipe"]
        model = cls(validate(raw, get_domain(raw["domain"]).Options, cls.options_of(raw)))
        model.inherited_sources = [dict(source) for source in config.get("inherited_sources", ())]
        return model
