"""Recipes: YAML with `extends`, validated into frozen objects.

A recipe says everything that a run needs. Its `data` section is validated by the domain's own schema and its `model`
section by the architecture's own schema, so that a new domain or a new GAN brings its keys with it.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic
import pydantic_core
import yaml

from ganzoo.errors import RecipeError

PositiveInt = pydantic.PositiveInt
"""An integer above 0."""
NonNegativeInt = pydantic.NonNegativeInt
"""An integer of 0 or more."""
PositiveFloat = pydantic.PositiveFloat
"""A number above 0."""
NonNegativeFloat = pydantic.NonNegativeFloat
"""A number of 0 or more."""
Fraction = pydantic.confloat(ge=0.0, le=1.0)
"""A number from 0 to 1."""


Patterns = Annotated[tuple[str, ...], pydantic.Strict(False)]  # after a validator's own step a list is no JSON any more
_PLAIN = pydantic.TypeAdapter(Any, config=pydantic.ConfigDict(ser_json_inf_nan="constants"))
FeatureNetworkName = Literal[
    "self_supervised",
    "random",
    "squeezenet",
    "efficientnet_lite2",
    "inception_clean_fid",
    "inception_torch_fidelity",
]


class Section(pydantic.BaseModel):
    """A part of a recipe: frozen, every key known, types exact (an integer may stand for a float)."""

    model_config = pydantic.ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=()
    )


class Optimizer(Section):
    """One network's optimizer: a Keras optimizer's name and its arguments; `beta_*` and `epsilon` are Adam's."""

    name: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    learning_rate: PositiveFloat = 2e-4
    beta_1: Fraction = 0.5
    beta_2: Fraction = 0.999
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.0


class Regularizer(Section):
    """A penalty on the discriminator's gradients; with `every: k` it is computed each k-th step, times k."""

    name: Literal["r1", "r2", "gradient_penalty"]
    weight: PositiveFloat
    every: PositiveInt = 1


class Augment(Section):
    """Differentiable augmentation of real and generated images: `policy`, and the `probability` for each image."""

    policy: tuple[Literal["colour", "translation", "cutout"], ...] = ()
    probability: Fraction = 1.0


class Training(Section):
    """How long and how a run trains. Intervals and limits are counted in real images that the discriminator has seen.

    `reuse_fakes`: the generator's step uses the samples of the discriminator's last step instead of new ones, which
    saves making them twice. `clock`: whether minutes are wall-clock time, or the processor time of all threads of the
    process, which compares runs fairly on a machine that does other work too.
    `snapshot_minutes`: a snapshot (grid, checkpoint, preset) is also taken when so many minutes have passed since the
    last one (0: never).
    """

    samples: PositiveInt = 200_000
    batch_size: PositiveInt = 64
    d_steps: PositiveInt = 1
    reuse_fakes: bool = False
    ema_half_life: PositiveInt = 10_000
    ema_ramp: NonNegativeFloat = 0.05
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    jit_compile: bool = False
    clock: Literal["wall", "processor"] = "wall"
    log_every: PositiveInt = 1_000
    snapshot_every: PositiveInt = 10_000
    snapshot_minutes: NonNegativeFloat = 2.0


class Evaluation(Section):
    """What `ganzoo evaluate` and the choice of the best weights use.

    While a run trains, the network-free score is measured every `every` samples (0: never) from `every_samples`
    generated images, and the best weights are kept. Scores over `check_networks` are measured at the same time.
    """

    networks: tuple[FeatureNetworkName, ...] = ("self_supervised", "squeezenet")
    check_networks: tuple[FeatureNetworkName, ...] = ()
    samples: PositiveInt = 2_000
    every: NonNegativeInt = 50_000
    every_samples: PositiveInt = 1_000


def _short(kind: type[Section], key: str) -> Any:
    """A section that may be written as the one text that it needs."""
    return Annotated[
        kind, pydantic.BeforeValidator(lambda value: kind(**{key: value}) if isinstance(value, str) else value)
    ]


class Auxiliary(Section):
    """A pretraining method as an additional loss on the discriminator's trunk (SS-GAN: Chen et al. 2019).

    The discriminator's loss gets `weight` times the method's loss on real images, the generator's `generator_weight`
    times the method's loss on samples. `stride: k` uses each k-th image of a batch. `options` are the method's keys.
    """

    method: str
    weight: PositiveFloat = 1.0
    generator_weight: NonNegativeFloat = 0.0
    stride: PositiveInt = 1
    options: dict[str, Any] = {}


class Init(Section):
    """Where a part's first weights come from: `source` is `WHERE:PART`.

    Every weight must fit, by name and shape, except those that a pattern of `skip` matches (`up_64*`, `*/bias`). With
    `partial`, weights that do not fit keep their fresh values and are listed. `mapping` is a YAML file for a source
    that is a file of tensors (`ganzoo.weights.foreign`). `narrow`: the source is a generator with the same layers and
    more channels, of which those that matter are kept and refitted (`ganzoo.weights.channel_pruning`). It excludes the
    other rules.
    """

    source: str
    skip: Patterns = ()
    partial: bool = False
    mapping: str | None = None
    narrow: bool = False

    @pydantic.model_validator(mode="after")
    def _alone(self) -> "Init":
        if self.narrow and (self.skip or self.partial or self.mapping):
            raise ValueError("narrow goes with no skip, partial or mapping")
        return self


class Freeze(Section):
    """Layers of a part that are not trained: those that a pattern of `layers` matches, and none of `keep`.

    `share`: only this share of them, from the first on, such as the lower half of a discriminator (0.5). `until`: they
    are unfrozen after so many samples. Frozen layers are in inference mode.
    """

    part: str
    layers: Patterns = ("*",)
    keep: Patterns = ()
    share: pydantic.confloat(gt=0.0, le=1.0) = 1.0
    until: PositiveInt | None = None


class Guards(Section):
    """The check for collapse (`ganzoo.runs.collapse_guard`), every `every` samples (0: never), on `samples` generated
    images.

    It warns. `act` lists what else it may do while a warning lasts, at most once in three checks: `augment` raises
    `augment.probability` by 0.1 (up to 0.9), `slow_discriminator` halves the discriminator's learning rate (down to a
    sixteenth of the recipe's), `go_back` returns to the last state without a warning (unless the discriminator's lead
    is the only sign).
    """

    every: NonNegativeInt = 5_000
    samples: PositiveInt = 256
    act: tuple[Literal["augment", "slow_discriminator", "go_back"], ...] = ()


class Distillation(Section):
    """The GAN whose samples this one's generator learns to make (`ganzoo.addons.distillation`).

    `teacher`: an entry or a run; `sha256`: that of its weights when the run started. `pixels`, `features`: the weights
    of both terms. `alone`: the only data are samples of the teacher.
    """

    teacher: str
    sha256: str | None = None
    pixels: NonNegativeFloat = 0.3
    features: NonNegativeFloat = 0.0
    alone: bool = False


class Export(Section):
    """What `ganzoo export` requires of its files.

    `fid_within`: `auto` takes a file only if its FID is at most this share above the float32 file's, over the same
    `samples` latents. `memorised_within`: an export is refused if a greater share of samples is as close to a
    training image as only a tenth of these are to each other (new images have 0.1; null: never refused).
    """

    fid_within: NonNegativeFloat = 0.02
    samples: PositiveInt = 2_000
    memorised_within: Fraction | None = None


class Weights(Section):
    """Published weights of an entry: a preset's folder beside the YAML, or a path; what they were trained on.

    `class_names`: of a conditional entry's classes, in their order.
    """

    uri: str
    sha256: str
    licence: str
    data: str
    class_names: tuple[str, ...] = ()


class Recipe(Section):
    """A validated recipe. `data` and `model` hold the objects of the domain's and the architecture's schemas.

    `consolidation` is the weight of `ganzoo.addons.weight_consolidation`'s penalty, which keeps a generator near its
    first weights. `pretrain` is empty in a GAN's recipe; in a pretraining's it holds `method` and that method's
    options.
    """

    entry: str
    summary: str = ""
    paper: str = ""
    gan: str
    domain: str
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**32)] = 0
    data: Any = {}
    model: Any = {}
    objective: Literal["minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"] = (
        "non_saturating"
    )
    regularizers: tuple[Regularizer, ...] = ()
    auxiliary: tuple[_short(Auxiliary, "method"), ...] = ()
    consolidation: NonNegativeFloat = 0.0
    distillation: Distillation | None = None
    augment: Augment = Augment()
    optimizers: dict[str, Optimizer] = {}
    training: Training = Training()
    evaluation: Evaluation = Evaluation()
    guards: Guards = Guards()
    export: Export = Export()
    init: dict[str, _short(Init, "source")] = {}
    pretrain: dict[str, Any] = {}
    freeze: tuple[_short(Freeze, "part"), ...] = ()
    weights: Weights | None = None
    scores: dict[str, Any] = {}
    tiny: dict[str, Any] = {}

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain YAML and JSON types."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """The recipe as YAML text that `read_yaml` reads back."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)


def validate(raw: Mapping[str, Any], data_schema: type[Section], model_schema: type[Section]) -> Recipe:
    """A frozen recipe from raw keys.

    Raises:
        RecipeError: an unknown key, a wrong type or an impossible combination; names the key's path.
    """
    schema = pydantic.create_model(
        "Recipe", __base__=Recipe, data=(data_schema, data_schema()), model=(model_schema, model_schema())
    )
    # Strict JSON rules: a YAML list may stand for a tuple, but "5" is no number.
    recipe = _validated(dict(raw), schema, "")
    _check(recipe)
    return recipe


def validate_section(given: Mapping[str, Any], schema: type[Section], path: str) -> Section:
    """A section of its own from raw keys; raises `RecipeError` as `validate` does, naming keys below `path`."""
    return _validated(dict(given), schema, path)


def _validated(given: dict[str, Any], schema: type[pydantic.BaseModel], path: str) -> Any:
    try:
        return schema.model_validate_json(_PLAIN.dump_json(given))
    except pydantic.ValidationError as error:
        raise RecipeError("\n".join(_explain(schema, detail, path) for detail in error.errors())) from None
    except (pydantic_core.PydanticSerializationError, ValueError, RecursionError) as error:
        raise RecipeError(f"A recipe holds plain values only (texts, numbers, lists, mappings): {error}") from None


def _check(recipe: Recipe) -> None:
    """Refuse combinations that cannot train."""
    step = recipe.training.batch_size * recipe.training.d_steps
    if recipe.training.samples < step:
        raise RecipeError(
            f"training.samples = {recipe.training.samples} is less than one step (batch_size x d_steps = {step})."
        )
    if recipe.objective == "wasserstein" and not recipe.regularizers and not getattr(recipe.model, "spectral", False):
        raise RecipeError(
            "objective = 'wasserstein' needs a Lipschitz discriminator: add a regularizer "
            "({name: gradient_penalty, weight: 10}) or spectral normalisation, where the architecture has it."
        )
    if recipe.regularizers and getattr(recipe.model, "discriminator_norm", None) == "batch":
        raise RecipeError(
            "regularizers: a gradient penalty is defined for each sample, but model.discriminator_norm = 'batch' "
            "couples the samples of a batch. Set model.discriminator_norm to 'none' or 'layer'."
        )


def _explain(schema: type[pydantic.BaseModel], detail: Mapping[str, Any], above: str = "") -> str:
    path = ".".join([*([above] if above else []), *(str(part) for part in detail["loc"])])
    received = repr(detail.get("input"))
    received = received if len(received) < 80 else received[:77] + "..."
    if detail["type"] == "extra_forbidden":
        allowed = sorted(_fields_at(schema, detail["loc"][:-1]))
        near = difflib.get_close_matches(str(detail["loc"][-1]), allowed, n=1, cutoff=0.5)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        return f"Unknown key '{path}' in the recipe.{hint} Allowed here: {allowed}."
    if detail["type"] == "literal_error":
        allowed = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
        near = difflib.get_close_matches(str(detail.get("input")), allowed, n=1, cutoff=0.4)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        return f"Wrong value of '{path}' in the recipe.{hint} Allowed: {allowed}. Received: {received}."
    if detail["type"] == "missing":
        return f"The recipe lacks the key '{path}'."
    return (
        f"Wrong value of '{path}' in the recipe: {detail['msg'].removeprefix('Value error, ')}. Received: {received}."
    )


def _fields_at(schema: Any, location: tuple) -> list[str]:
    """The allowed keys of the section at a path."""
    for part in location:
        if isinstance(part, int):
            continue
        annotation = schema.model_fields[part].annotation if part in getattr(schema, "model_fields", {}) else None
        inner = [a for a in _leaves(annotation) if isinstance(a, type) and issubclass(a, pydantic.BaseModel)]
        schema = inner[0] if inner else schema
    return list(getattr(schema, "model_fields", {}))


def _leaves(annotation: Any) -> list[Any]:
    arguments = getattr(annotation, "__args__", ())
    return [annotation] if not arguments else [leaf for argument in arguments for leaf in _leaves(argument)]
