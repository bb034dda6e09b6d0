"""Runs that start from another GAN: fine-tuning on other data, and distillation into another generator."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import GanzooError, RecipeError, WeightsError, unknown_name
from ganzoo.recipes import entries, yaml_files
from ganzoo.runs.train import train
from ganzoo.weights import preset_files
from ganzoo.zoo.create import create
from ganzoo.zoo.load import load

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN

log = logging.getLogger("ganzoo")

FINETUNING = {
    "all": {"freeze": [], "consolidation": 0.0},
    "freeze_d": {"freeze": [{"part": "discriminator.trunk", "share": 0.5}], "consolidation": 0.0},
    "scale": {"freeze": [{"part": "generator", "keep": ["*norm*", "classes"]}], "consolidation": 0.0},
    "consolidate": {"freeze": [], "consolidation": 10_000.0},
}
_SAMPLES, _SEED = 5_000, 1  # of a teacher, where no other data are given


def finetune(name: str, data: Any, run: str | Path, how: str | None = None, **arguments: Any) -> dict[str, Any]:
    """Train from the published weights of an entry, or from a run's.

    Args:
        name: an entry with published weights, or a run directory.
        data: as in `train`.
        run: as in `train`.
        how: what is trained; None is `all`, or for an existing run what it started with. `all`: all weights.
            `freeze_d`: all but the lower half of the discriminator's trunk (Mo et al. 2020, arXiv:2002.10964).
            `scale`: of the generator only its normalisations' scales and shifts and its class embeddings, and the
            discriminator (Noguchi and Harada 2019, arXiv:1904.01774, fit these and the latents without one).
            `consolidate`: all, but weights that mattered to the source are held back (Li et al. 2020,
            arXiv:2012.02780).
        arguments: as in `train`. With `model.classes: null` among the overrides classes are those of the data, and
            their embeddings start from fresh weights.

    Returns:
        As `train`.

    Raises:
        GanzooError: says what is wrong and how to fix it; a `WeightsError` where `name` has no weights, or one does
            not fit.
    """
    if how is not None and how not in FINETUNING:
        raise RecipeError(unknown_name("way to fine-tune (--how)", how, FINETUNING))
    begun = entries.get_entry(str(run)).raw if (Path(run) / yaml_files.RUN_RECIPE).is_file() else {}
    if how is None and not begun:
        how = "all"
    overrides = yaml_files.nest(arguments.pop("overrides", None) or {})
    given = yaml_files.merge(FINETUNING[how] if how else {}, overrides)
    try:
        source = entries.get_entry(str(preset_files.weights_file(name).parent)).raw
    except GanzooError:
        if not begun:
            raise
        return train(str(run), data, run, overrides=given, **arguments)  # what the source gave is in the run
    adapted = entries.gan_class(source["gan"]).adapted
    groups = sorted({key.split("/")[0] for key in preset_files.read_weights(name)} - set(adapted))
    if not given.get("auxiliary", begun.get("auxiliary", True)):  # without losses that the source had
        groups = [group for group in groups if group != "auxiliary"]
    if "narrow" in groups and how in ("scale", "consolidate"):
        raise RecipeError(f"--how {how} is for generators of one width. Fine-tune {name} with all or freeze_d.")
    model = given.get("model")
    fresh = isinstance(model, Mapping) and model.get("classes", 0) is None  # the classes are those of the data
    skip = ["*classes/*"] if fresh else []
    init = {group: {"source": f"{name}:{group}", "skip": skip} for group in groups}
    for section in ("model", "data"):
        own = given.get(section, {})
        if isinstance(own, Mapping):  # the recipe refuses anything else
            given[section] = yaml_files.merge(source.get(section) or {}, own)
    arguments["init"] = init | dict(arguments.get("init") or {})
    try:
        return train(name, data, run, overrides=given, **arguments)
    except WeightsError as error:
        if not fresh:
            raise
        raise WeightsError(
            f"{error} If the data have no classes (a folder of images, not of folders), a conditional generator's "
            f"first layer has other inputs: `--init generator={name}:generator,partial` gives it fresh weights."
        ) from None


def distill(teacher: str, student: str, data: Any, run: str | Path, **arguments: Any) -> dict[str, Any]:
    """Train a generator to make what another one makes of the same latents (`ganzoo.addons.distillation`).

    The student takes the teacher's sizes: image, latents, classes. Its discriminator starts from the teacher's where
    that fits. Its generator starts from what it can keep of the teacher's (`ganzoo.weights.channel_pruning`), if it has
    the same layers with fewer channels.

    Args:
        teacher: an entry with published weights, or a run directory.
        student: an entry, whose generator is taught.
        data: the real images of the discriminator, as in `train`; None: 5,000 samples of the teacher.
        run: as in `train`; the same call on an existing run resumes it.
        arguments: as in `train`. The weights of the terms are `distillation.pixels` and `distillation.features` among
            the overrides.

    Returns:
        As `train`.

    Raises:
        GanzooError: says what is wrong and how to fix it; a `WeightsError` where the teacher has no weights, a
            `RecipeError` where the student cannot have its sizes.
    """
    from ganzoo.addons.distillation import check_fit
    from ganzoo.weights.channel_pruning import fits

    taught_by = load(teacher)
    recipe, options = taught_by.recipe, taught_by.options
    own = type(entries.get_entry(student).recipe().model).model_fields
    shared = {"latent_dim": options.latent_dim} if "latent_dim" in own and hasattr(options, "latent_dim") else {}
    if "classes" in own:
        shared["classes"] = getattr(options, "classes", None) or 0
    given = {
        "data": recipe.data.model_dump(mode="json"),
        "model": shared,
        "distillation": {"teacher": teacher, "sha256": preset_files.weights_digest(teacher), "alone": data is None},
    }
    given = yaml_files.merge(given, yaml_files.nest(arguments.pop("overrides", None) or {}))
    try:
        made = create(student, **given)
    except RecipeError as error:
        size = getattr(recipe.data, "size", None)
        raise RecipeError(f"{error} (The student takes the teacher's sizes, data.size = {size} among them.)") from None
    check_fit(taught_by, made)
    if "classes" in shared:
        log.info("%s is trained with %s classes, like the teacher.", student, shared["classes"] or "no")
    init = _fitting(teacher, taught_by, made)
    if fits(taught_by.generator_ema, made.generator):
        init["generator"] = {"source": f"{teacher}:generator", "narrow": True}
    elif "generator" not in init:
        log.info("The generator of %s cannot be narrowed to the student's, which starts from fresh weights.", teacher)
    arguments["init"] = init | dict(arguments.get("init") or {})
    if data is None:
        data = taught_by.generate(_SAMPLES, seed=_SEED)
        if conditions := taught_by.draw_conditions(_SAMPLES):
            data = (data, conditions["class_id"])
    return train(student, data, run, overrides=given, **arguments)


def _fitting(teacher: str, taught_by: "GAN", made: "GAN") -> dict[str, dict[str, Any]]:
    """The sources of those parts of a student that the teacher has, too; without its discriminator the generator's.

    A discriminator may have more in the teacher: heads for other widths.
    """
    from ganzoo.weights.variables import misfits, named_variables

    found = {}
    for name, network in {**taught_by.networks(), **taught_by.fixed_networks()}.items():
        if name != "narrow" and name not in taught_by.adapted and name in made.parts():
            theirs, own = named_variables(network), named_variables(made.part(name))
            more = sorted(theirs.keys() - own.keys()) if name == "discriminator" else []
            if own and not misfits(own, {key: variable for key, variable in theirs.items() if key not in more}):
                found[name] = {"source": f"{teacher}:{name}", "skip": more}
    if "discriminator" not in found:
        log.info("The discriminator of %s does not fit: the student's starts from fresh weights.", teacher)
        return {name: source for name, source in found.items() if name == "generator"}
    return found
