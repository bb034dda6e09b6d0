"""Every published generator in every form of an export, in one run: sizes, times, memory, errors, FID.

    python tests/benchmarks/exports.py OUT

Writes OUT.json and OUT.md. All latencies are of one sample, minimums in one run on one machine: compare ratios.
"""

import json
import sys
import tempfile
from pathlib import Path
from unittest import mock

from ganzoo.quiet import load_tensorflow

QUANTIZE = ("none", "float16", "dynamic", "int8", "auto")
HEAD = (
    "| entry | file | numbers | MB | of float32 | ms, 1 thread | of float32 | 2, 4 threads | first run, ms | memory, "
    "MB | largest, mean error | FID | change |"
)


def main(out: str) -> None:
    """Export, and write the tables."""
    load_tensorflow()
    from ganzoo import export, registry

    lines = [HEAD, "|---" * HEAD.count("|") + "|"]
    lines[1] = "|" + "---|" * (HEAD.count("|") - 1)
    ways = [
        "| entry | Keras `predict` | Keras call | SavedModel | ONNX Runtime | TFLite float32 | `auto` |",
        "|" + "---|" * 7,
    ]
    found = {}
    for name in registry.list_entries():
        if registry.get_entry(name).weights is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            card = export.export_generator(name, folder, export.FORMATS, QUANTIZE)
        found[name] = card | {"dynamic_depthwise": depthwise_in_int8(name)}
        files = {file["file"]: file for file in card["files"]}
        exact = files["generator_float32.tflite"]
        for file in card["files"]:
            steady = {threads: one["minimum_ms"] for threads, one in file["steady"].items()}
            alone = steady.get("1")
            more = ", ".join(f"{steady[threads]:.2f}" for threads in ("2", "4") if threads in steady)
            fid = ("", "") if file.get("fid") is None else (f"{file['fid']:.3f}", f"{file['fid_change']:+.2%}")
            lines.append(
                f"| `{name}` | `{file['file']}` | {file['precision']} | {file['bytes'] / 1e6:.2f} | "
                f"{file['bytes'] / exact['bytes']:.2f} | "
                + (f"{alone:.3f} | {alone / exact['steady']['1']['minimum_ms']:.2f}" if alone else " | ")
                + f" | {more} | {file['first_ms']:.1f} | {(file['peak_bytes'] or 0) / 1e6:.1f} | "
                f"{file['max_error']:.1g}, {file['mean_error']:.1g} | {fid[0]} | {fid[1]} |"
            )
        times = {way: one["minimum_ms"] for way, one in card["keras_latency"].items()}
        fast = exact["steady"]["1"]["minimum_ms"]
        others = [
            next(iter(files[file]["steady"].values()))["minimum_ms"]
            for file in ("saved_model", "generator.onnx", "generator_float32.tflite", "generator.tflite")
        ]
        ways.append(
            f"| `{name}` | " + " | ".join(f"{ms:.3f} ({ms / fast:.1f})" for ms in (*times.values(), *others)) + " |"
        )
    text = [
        "Minimum latencies of one sample; Keras and SavedModel use all cores. FID: to the training pictures, over the "
        "network that never saw ImageNet, 2,000 latents, the same for all files.",
        "",
        *lines,
        "",
        "ms, and in brackets as multiples of TFLite float32 on one thread:",
        "",
        *ways,
        "",
        *(f"- `{name}`: {card['chosen']}" for name, card in found.items()),
        *(
            f"- `{name}`: with 8-bit weights in its depthwise convolutions too, a `dynamic` file takes "
            f"{card['dynamic_depthwise']:.1f} times as long."
            for name, card in found.items()
            if card["dynamic_depthwise"]
        ),
    ]
    Path(f"{out}.md").write_text("\n".join(text) + "\n", encoding="utf-8")
    Path(f"{out}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def depthwise_in_int8(name: str) -> float | None:
    """The time of a `dynamic` file with depthwise convolutions in it as a ratio to one without; None where none are."""
    from ganzoo.export import generator, measure, quantize, reference, tflite

    from ganzoo import presets

    made = generator.of_gan(presets.load(name))
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
