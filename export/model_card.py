"""The model card: `model_card.json` for programs, `MODEL_CARD.md` for people."""

import importlib.metadata
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from ganzoo.gan import GAN

from .verify import CARD, MARKDOWN, Reference

CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D, layers.DepthwiseConv1D, layers.DepthwiseConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)


def build(
    gan: GAN,
    generator: keras.Model,
    signature: Mapping[str, Any],
    files: Sequence[Mapping[str, Any]],
    reference: Reference,
    keras_latency: Mapping[str, Any],
) -> dict[str, Any]:
    """The card as JSON types.

    Args:
        gan: what is exported.
        generator: its averaged generator in float32.
        signature: what `ganzoo.export.signature.describe` returns.
        files: what `ganzoo.export.verify.check` returns for each file.
        reference: what the files were compared with.
        keras_latency: what `ganzoo.export.verify.time_keras` returned in the same run.
    """
    recipe = gan.recipe
    times = {way: keras_latency[way]["minimum_ms"] for way in keras_latency}
    return {
        "entry": recipe.entry,
        "summary": recipe.summary,
        "paper": recipe.paper,
        "signature": dict(signature),
        "parameters": generator.count_params(),
        "multiply_adds": multiply_adds(generator),
        "samples_seen": int(gan.samples_seen),
        "published_weights": recipe.weights.model_dump(mode="json") if recipe.weights else None,
        "compared_with": {"samples": len(reference.samples), "deviation": reference.deviation},
        "files": [
            {**file, "time_against_keras": {way: file["latency"]["minimum_ms"] / times[way] for way in times}}
            for file in files
        ],
        "keras_latency": dict(keras_latency),
        "measured_on": {"machine": platform.machine(), "processors": os.cpu_count()},
        "versions": {
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
            "ai_edge_litert": importlib.metadata.version("ai-edge-litert"),
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
    """A card as text for people."""
    samples = card["signature"]["outputs"][0]
    compared, (low, high) = card["compared_with"], samples["range"]
    lines = [
        f"# {card['entry']}",
        "",
        card["summary"],
        "",
        f"- Paper: {card['paper'] or 'not named'}",
        f"- Parameters: {card['parameters']:,}",
        f"- Multiply-adds for a sample: {card['multiply_adds']:,}",
    ]
    if card["samples_seen"]:
        lines.append(f"- Samples seen in training: {card['samples_seen']:,}")
    published = card["published_weights"]
    if published:
        lines.append(f"- The entry's published weights: trained on {published['data']}; licence {published['licence']}")
    lines += [
        "",
        f"## Signature `{card['signature']['name']}`",
        "",
        "| input | shape | type | values |",
        "|---|---|---|---|",
    ]
    for given in card["signature"]["inputs"]:
        lines.append(f"| `{given['name']}` | {_shape(given)} | {given['dtype']} | {given['distribution']} |")
    lines += ["", "| output | shape | type | values |", "|---|---|---|---|"]
    lines.append(f"| `{samples['name']}` | {_shape(samples)} ({samples['layout']}) | float32 | {low:g} to {high:g} |")
    lines += [
        "",
        "Inputs have no fixed order: read their names.",
        "",
        "## Files",
        "",
        f"Errors are against Keras on {compared['samples']} samples, which differ among themselves by a standard "
        f"deviation of {compared['deviation']:.2g}, on a range of {high - low:g}. Latency is that of one sample.",
        "",
        "| file | batch | maximum error | mean error | allowed | size in bytes | latency: median, minimum | threads | "
        "time against Keras: `predict`, call |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for file in card["files"]:
        timed, against = file["latency"], file["time_against_keras"]
        lines.append(
            f"| `{file['file']}` | {file['batch']} | {file['max_error']:.2g} | {file['mean_error']:.2g} | "
            f"{file['tolerance']:g} | {file['bytes']:,} | {timed['median_ms']:.3g} ms, {timed['minimum_ms']:.3g} ms | "
            f"{timed['threads']} | {against['predict']:.2g}, {against['call']:.2g} |"
        )
    lines.append("")
    for file in card["files"]:
        if file["operators"]:
            listed = ", ".join(f"{name} {count}" for name, count in file["operators"].items())
            lines += [f"Operators of `{file['file']}`: {listed}.", ""]
    machine, versions = card["measured_on"], card["versions"]
    lines.append(
        f"Measured on {machine['processors']} processors ({machine['machine']}), with Keras {versions['keras']}, "
        f"TensorFlow {versions['tensorflow']}, LiteRT {versions['ai_edge_litert']}. Times against Keras are ratios of "
        "minimums in the same run."
    )
    return "\n".join(lines) + "\n"


def _shape(tensor: Mapping[str, Any]) -> str:
    return "batch" + "".join(f" x {size}" for size in tensor["shape"])
