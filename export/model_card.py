"""The model card: `model_card.json` for programs, `MODEL_CARD.md` for people; and what stands inside TFLite files."""

import base64
import importlib.metadata
import json
import math
import os
import platform
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import yaml
from keras import layers

from ganzoo.errors import GanzooError
from ganzoo.recipes import entries
from ganzoo.recipes.schema import Recipe
from ganzoo.runs.class_names import generated_classes
from ganzoo.runs.kept_data import described as described_data
from ganzoo.runs.kept_data import run_of

from . import gpu
from .choose import RULE
from .directions import principal_directions
from .files import AUTO, CARD, CLOSEST, MARKDOWN
from .generator import Generator
from .reference import Reference

METADATA_VERSION = 1
CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)
_UNKNOWN = "unknown"


def describe(generator: Generator, name: str | None) -> dict[str, Any]:
    """What a client has to know, as JSON types: it stands in each TFLite file (`ganzoo.export.metadata`).

    Returns:
        `metadata_version`, `entry`, `summary`, `inputs` and `outputs` (see `ganzoo.export.signature.describe`),
        `class_names`, `licence`, `training_data`, `scores`, and `directions`: for each input of latents `shape` (count,
        dim) and `float16`, unit vectors in base64, little-endian, the strongest first.
    """
    recipe = generator.gan.recipe
    data = described_data(run_of(Path(name))) if name and recipe.weights is None else {}
    licence, trained_on = _origin(recipe, data)
    described = {
        "metadata_version": METADATA_VERSION,
        "entry": recipe.entry,
        "summary": recipe.summary + (f", distilled from {_teacher(recipe)}" if recipe.distillation else ""),
        "inputs": list(generator.signature["inputs"]),
        "outputs": list(generator.signature["outputs"]),
        "class_names": list(generated_classes(generator.gan)),
        "licence": licence,
        "training_data": trained_on,
        "scores": dict(recipe.scores) if recipe.weights else {},
        "directions": {
            latents: _packed(principal_directions(generator.network, latents))
            for latents, spec in generator.gan.latents_spec().items()
            if len(spec.shape) == 1
        },
    }
    return unicode(described)


def unicode(value: Any) -> Any:
    """A nested value whose texts can be written: what a file's name may hold beside characters becomes `\\udc80`."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {unicode(key): unicode(one) for key, one in value.items()}
    return [unicode(one) for one in value] if isinstance(value, list | tuple) else value


def inline(text: Any) -> str:
    """A text as one line of Markdown that shows it as it is: names may hold marks, tags and line breaks."""
    line = " ".join("".join(one if one.isprintable() else " " for one in unicode(str(text))).split())
    return re.sub(r"([\\`*\[\]<>|~])", r"\\\1", line)


def _origin(recipe: Recipe, data: Mapping[str, Any], students: tuple[str, ...] = ()) -> tuple[str, str]:
    """Licence and training data: of published weights, of a run's data, or of a teacher's.

    Args:
        recipe: whose origin is asked for.
        data: what the run kept of its data.
        students: teachers that led here; a recipe may name itself.
    """
    if recipe.weights:
        return recipe.weights.licence, recipe.weights.data
    source = data.get("source") or _UNKNOWN
    if given := data.get("given"):  # where it lay is nobody's business
        source = source.replace(given, Path(given).name)
    if not recipe.distillation:
        return _UNKNOWN, source
    teacher, called = recipe.distillation.teacher, _teacher(recipe)
    if not recipe.distillation.alone:
        return _UNKNOWN, f"{source}; distilled from {called}"
    if teacher in students:
        return _UNKNOWN, f"samples of {called}"
    try:
        of_teacher = entries.get_entry(teacher).recipe()
    except GanzooError:  # no longer there
        return _UNKNOWN, f"samples of {called}"
    licence, trained_on = _origin(of_teacher, described_data(run_of(Path(teacher))), (*students, teacher))
    return licence, f"samples of {called}, which was trained on: {trained_on}"


def _teacher(recipe: Recipe) -> str:
    """The name of the entry or run whose samples were taught; where a run lay is nobody's business."""
    teacher = recipe.distillation.teacher
    return teacher if teacher in entries.list_entries() else run_of(Path(teacher).resolve()).name


def build(
    generator: Generator,
    files: Sequence[Mapping[str, Any]],
    reference: Reference,
    described: Mapping[str, Any],
    keras_latency: Mapping[str, Any],
    fid: float | None,
    memorised: Mapping[str, Any] | None,
    chosen: str | None,
) -> dict[str, Any]:
    """The card as JSON types.

    Args:
        generator: what is exported.
        files: what `ganzoo.export.verify.check` returns for each file, and what is known of it beside.
        reference: what the files were compared with.
        described: what `describe` returns.
        keras_latency: what `ganzoo.export.verify.time_keras` returned in the same run.
        fid: of Keras' samples, where real samples were available.
        memorised: what `ganzoo.export.quality.Judge.memorised` returned.
        chosen: why `auto` took what it took.
    """
    recipe = generator.gan.recipe
    times = {way: keras_latency[way]["minimum_ms"] for way in keras_latency}
    return {
        "entry": described["entry"],
        "summary": described["summary"],
        "paper": unicode(recipe.paper),
        "metadata": dict(described),
        "signature": dict(generator.signature),
        "parameters": generator.network.count_params(),
        "multiply_adds": multiply_adds(generator.network),
        "samples_seen": int(generator.gan.samples_seen),
        "compared_with": {"samples": len(reference.samples), "deviation": reference.deviation},
        "fid": fid,
        "fid_samples": recipe.export.samples if fid is not None else None,
        "chosen": chosen,
        "files": [
            {
                **file,
                "time_against_keras": {
                    way: next(iter(file["steady"].values()))["minimum_ms"] / times[way] for way in times
                },
                "gpu": gpu.doubts(file["operators"]) if file["operators"] else None,
            }
            for file in files
        ],
        "memorised": memorised,
        "keras_latency": dict(keras_latency),
        "measured_on": {"machine": platform.machine(), "processors": os.cpu_count()},
        "versions": {
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "ai_edge_litert": importlib.metadata.version("ai-edge-litert"),
            "litert_quantizer": importlib.metadata.version("litert-quantizer"),
        },
    }


def write(card: Mapping[str, Any], folder: Path) -> None:
    """Write both forms of a card into a folder."""
    (folder / MARKDOWN).write_text(to_markdown(card), encoding="utf-8")
    (folder / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def multiply_adds(model: keras.Model) -> int:
    """Multiply-adds for one sample in all convolutions and dense layers, each as often as the model calls it.

    A convolution has the product of its kernel's shape for each output position, a transposed one for each input
    position, a dense layer for each vector.
    """
    functional = getattr(model, "_functional", None) or model
    total = 0
    for node in chain.from_iterable(functional._nodes_by_depth.values()):
        layer = node.operation
        if isinstance(layer, keras.Model):
            total += multiply_adds(layer)
        elif isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED, layers.Dense)):
            side = node.output_tensors[0] if isinstance(layer, CONVOLUTIONS) else node.input_tensors[0]
            total += math.prod(side.shape[1:-1]) * math.prod(layer.kernel.shape)
    return total


def to_markdown(card: Mapping[str, Any]) -> str:
    """A card as text for people, with the front matter that Hugging Face reads."""
    machine, versions = card["measured_on"], card["versions"]
    lines = [
        *_about(card),
        *_signature(card),
        *_files(card),
        *_operators(card["files"]),
        "## Does it repeat its training samples?",
        "",
        _memorised(card["memorised"]),
        "",
        f"Measured on {machine['processors']} processors ({machine['machine']}), with Keras {versions['keras']}, "
        f"TensorFlow {versions['tensorflow']}, LiteRT {versions['ai_edge_litert']}. Times against Keras are ratios of "
        "minimums in the same run.",
    ]
    return "\n".join(lines) + "\n"


def _about(card: Mapping[str, Any]) -> list[str]:
    described = card["metadata"]
    conditional = any("classes" in one for one in described["inputs"])
    front = {
        "license": described["licence"].lower(),
        "library_name": "tflite",
        **({} if conditional else {"pipeline_tag": "unconditional-image-generation"}),
        "tags": ["gan", "litert", "tflite", "ganzoo", card["entry"]],
    }
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False).rstrip(),
        "---",
        "",
        f"# {inline(card['entry'])}",
        "",
        inline(card["summary"]),
        "",
        f"- Paper: {inline(card['paper']) or 'not named'}",
        f"- Trained on: {inline(described['training_data'])}; licence {inline(described['licence'])}",
        f"- Parameters: {card['parameters']:,}",
        f"- Multiply-adds for a sample: {card['multiply_adds']:,}",
    ]
    if card["samples_seen"]:
        lines.append(f"- Samples seen in training: {card['samples_seen']:,}")
    scores = (f"- {inline(name.replace('_', ' '))}: {inline(score)}" for name, score in described["scores"].items())
    return [*lines, *scores, ""]


def _signature(card: Mapping[str, Any]) -> list[str]:
    described = card["metadata"]
    samples = described["outputs"][0]
    low, high = samples["range"]
    colours = f", {samples['colours']}" if "colours" in samples else ""
    lines = [
        f"## Signature `{card['signature']['name']}`",
        "",
        "| input | shape | type | values |",
        "|---|---|---|---|",
        *(
            f"| `{given['name']}` | {_shape(given)} | {given['dtype']} | {given['distribution']} |"
            for given in described["inputs"]
        ),
        "",
        "| output | shape | type | values |",
        "|---|---|---|---|",
        f"| `{samples['name']}` | {_shape(samples)} ({samples['layout']}{colours}) | float32 | {low:g} to {high:g} |",
        "",
    ]
    if described["class_names"]:
        lines += [f"Classes, from 0 on: {', '.join(map(inline, described['class_names']))}.", ""]
    return [
        *lines,
        "Inputs have no fixed order: use their names. The TFLite files contain all of this, as JSON in "
        "their metadata `ganzoo`.",
        "",
    ]


def _files(card: Mapping[str, Any]) -> list[str]:
    compared, (low, high) = card["compared_with"], card["metadata"]["outputs"][0]["range"]
    text = (
        f"Errors are against Keras on {compared['samples']} samples, which differ among themselves by a standard "
        f"deviation of {compared['deviation']:.2g}, on a range of {high - low:g}. Times are of one sample: opening the "
        "file and the first run, then minimums by number of threads. Memory is what the process grew by."
    )
    if card["fid"] is not None:
        text += (
            f" FIDs (network that never saw ImageNet) are over the same {card['fid_samples']:,} latents; Keras has "
            f"{card['fid']:.4g}."
        )
    return [
        "## Files",
        "",
        *([f"`{AUTO}` is {card['chosen']}", ""] if card["chosen"] else []),
        *([RULE, ""] if any("rounds_ms" in one for file in card["files"] for one in file.get("tried", ())) else []),
        text,
        "",
        "| file | numbers | bytes | maximum, mean error | FID, change | first run | threads: ms | memory | time to "
        "Keras' `predict`, call |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(file) for file in card["files"]),
        "",
        *(line for file in card["files"] for line in _remarks(file)),
    ]


def _row(file: Mapping[str, Any]) -> str:
    against = file["time_against_keras"]
    steady = ", ".join(f"{threads}: {one['minimum_ms']:.3g}" for threads, one in file["steady"].items())
    fid = "not measured" if file.get("fid") is None else f"{file['fid']:.4g}, {file['fid_change']:+z.2%}"
    memory = "not known" if file["peak_bytes"] is None else f"{file['peak_bytes'] / 1e6:.1f} MB"
    return (
        f"| `{file['file']}` | {file['precision']} | {file['bytes']:,} | {file['max_error']:.2g}, "
        f"{file['mean_error']:.2g} | {fid} | {file['first_ms']:.3g} ms | {steady} | {memory} | "
        f"{against['predict']:.2g}, {against['call']:.2g} |"
    )


def _remarks(file: Mapping[str, Any]) -> list[str]:
    """What was done to an 8-bit file, and whether it is good."""
    lines = []
    if steps := file.get("fine_tuned_steps"):
        lines += [f"`{file['file']}` was fine-tuned for {steps} steps with simulated quantisation.", ""]
    if kept := file.get("in_float"):
        listed = ", ".join(f"{one['layer']} ({one['kind']}, {one['share_of_error']:.0%})" for one in kept)
        lines += [f"Activations of `{file['file']}` in float, with their share of the error of int8: {listed}.", ""]
    if file.get("passed") is False:
        lines += [f"`{file['file']}` does not reach the required quality of an 8-bit file.", ""]
    return lines


def _operators(files: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = []
    listed = [file for file in files if file["operators"]]
    for file in listed:
        counts = ", ".join(f"{name} {count}" for name, count in file["operators"].items())
        lines += [f"Operators of `{file['file']}`: {counts}.", ""]
    doubted = sorted({name for file in listed for name in file["gpu"]})
    return [*lines, "## On a phone's graphics processor", "", gpu.as_text(doubted), ""]


def _packed(vectors: np.ndarray) -> dict[str, Any]:
    content = base64.b64encode(vectors.astype("<f2").tobytes()).decode()
    return {"shape": list(vectors.shape), "float16": content}


def _memorised(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "Not checked: no training images were available."
    if found["closer_share"] is None:
        return f"Not judged: {found['reason']} The closest pairs are in `{CLOSEST}`, where the images were available."
    low, high = found["expected_range"]
    changed = (
        ", shifted by up to 2 pixels, mirrored or sharpened,"
        if found.get("variants")
        else " (as they are: shifted, mirrored or blurred copies are not found)"
    )
    text = (
        f"{found['closer_share']:.1%} of {found['samples']:,} samples{changed} are as close to one of "
        f"{found['training_samples']:,} training images as only a tenth of these are to each other, in the features of "
        f"a network that was fitted to them. Of samples that are as new as other real images, {low:.0%} to {high:.0%} "
        f"are; of copies, all. The closest pairs are in `{CLOSEST}`, where the images were available."
    )
    return f"{text} **{found['warning']}**" if found["warning"] else text


def _shape(tensor: Mapping[str, Any]) -> str:
    return "batch" + "".join(f" x {size}" for size in tensor["shape"])
