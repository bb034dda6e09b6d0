"""Every published generator in every form of an export, in one run: sizes, times, memory, errors, FID.

    python tests/benchmarks/exports.py OUT

Writes OUT.json and OUT.md. All latencies are of one sample, minimums in one run on one machine: compare ratios.
"""

import json
import sys
import tempfile
from pathlib import Path
from unittest import mock

from ganzoo.startup import load_tensorflow

QUANTIZE = ("none", "float16", "dynamic", "int8", "auto")
FILES = ["entry", "file", "numbers", "MB", "of float32", "ms, 1 thread", "of float32", "2, 4 threads"]
FILES += ["first run, ms", "memory, MB", "largest, mean error", "FID", "change"]
WAYS = ["entry", "Keras `predict`", "Keras call", "SavedModel", "ONNX Runtime", "TFLite float32", "`auto`"]


def main(out: str) -> None:
    """Export, and write the tables."""
    load_tensorflow()
    from ganzoo import export
    from ganzoo.recipes import entries

    found = {}
    for name in entries.list_entries():
        if entries.get_entry(name).weights is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found[name] = export.export_generator(name, folder, export.FORMATS, QUANTIZE)
        if ratio := depthwise_in_int8(name):
            found[name]["dynamic_depthwise"] = ratio
    Path(f"{out}.md").write_text(markdown(found), encoding="utf-8")
    Path(f"{out}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def markdown(found: dict[str, dict]) -> str:
    """The tables of all model cards."""
    files, ways, notes = [], [], []
    for name, card in found.items():
        by_name = {file["file"]: file for file in card["files"]}
        files += [file_row(name, file, by_name["generator_float32.tflite"]) for file in card["files"]]
        ways.append(way_row(name, card, by_name))
        notes.append(f"- `{name}`: {card['chosen']}")
        if ratio := card.get("dynamic_depthwise"):
            notes.append(
                f"- `{name}`: with 8-bit weights in its depthwise convolutions too, a `dynamic` file takes {ratio:.1f} "
                "times as long."
            )
    text = [
        "Minimum latencies of one sample; Keras and SavedModel use all cores. FID: to the training images, over the "
        "network that never saw ImageNet, 2,000 latents, the same for all files.",
        "",
        *table(FILES, files),
        "",
        "ms, and in brackets as multiples of TFLite float32 on one thread:",
        "",
        *table(WAYS, ways),
        "",
        *notes,
    ]
    return "\n".join(text) + "\n"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lines of Markdown."""
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def file_row(name: str, file: dict, exact: dict) -> list[str]:
    """What the first table says of a file, beside the float32 one."""
    steady = {threads: one["minimum_ms"] for threads, one in file["steady"].items()}
    alone = steady.get("1")
    judged = file.get("fid") is not None
    return [
        f"`{name}`",
        f"`{file['file']}`",
        file["precision"],
        f"{file['bytes'] / 1e6:.2f}",
        f"{file['bytes'] / exact['bytes']:.3f}",
        f"{alone:.3f}" if alone else "",
        f"{alone / exact['steady']['1']['minimum_ms']:.2f}" if alone else "",
        ", ".join(f"{steady[threads]:.2f}" for threads in ("2", "4") if threads in steady),
        f"{file['first_ms']:.1f}",
        f"{(file['peak_bytes'] or 0) / 1e6:.1f}",
        f"{file['max_error']:.1g}, {file['mean_error']:.1g}",
        f"{file['fid']:.3f}" if judged else "",
        f"{file['fid_change']:+z.2%}" if judged else "",
    ]


def way_row(name: str, card: dict, files: dict[str, dict]) -> list[str]:
    """What the second table says of a generator."""
    times = [one["minimum_ms"] for one in card["keras_latency"].values()]
    fast = files["generator_float32.tflite"]["steady"]["1"]["minimum_ms"]
    for file in ("saved_model", "generator.onnx", "generator_float32.tflite", "generator.tflite"):
        times.append(next(iter(files[file]["steady"].values()))["minimum_ms"])
    return [f"`{name}`", *(f"{ms:.3f} ({ms / fast:.1f})" for ms in times)]


def depthwise_in_int8(name: str) -> float | None:
    """The time of a `dynamic` file with depthwise convolutions in it as a ratio to one without; None where none are."""
    from ganzoo.export import generator, measure, quantize, reference, tflite
    from ganzoo.zoo.load import load

    made = generator.of_gan(load(name).at_width(1.0))
    one = reference.draw_reference(made, 1).first()
    quantizer = quantize.Quantizer(tflite.convert(made, "float32"), {})
    if not any(operator.kind in quantize.SLOW_IF_DYNAMIC for operator in quantizer.operators):
        return None
    times = []
    for slow in ((), quantize.SLOW_IF_DYNAMIC):
        with mock.patch.object(quantize, "SLOW_IF_DYNAMIC", slow):
            run = quantize.opened(quantizer.dynamic())
        times.append(measure.latency(lambda run=run: run(one))["minimum_ms"])
    return times[0] / times[1]


if __name__ == "__main__":
    main(*sys.argv[1:])
