"""Smaller generators against size and latency: widths of an elastic one, distilled and fresh ones, in one run.

    python tests/benchmarks/smaller.py OUT DATA "label=NAME" "label=NAME@0.5" ...

Each NAME (an entry or a run, at a width) is exported in float32 and as what `auto` takes, and scored on DATA. Labels
with the same words before a comma are one curve. Writes OUT.json, OUT.md and OUT.png. All latencies are of one sample,
minimums on one thread in one run on one machine: compare ratios.
"""

import json
import sys
import tempfile
from pathlib import Path

from ganzoo.startup import load_tensorflow

HEAD = ("generator", "M parameters", "M multiply-adds", "float32: MB", "ms", "FID", "`auto`", "MB", "ms", "FID")
SCORES = ("sliced W. x1000", "KID", "recall")


def measure(name: str, width: float, data: str) -> dict:
    """One row."""
    from ganzoo.domains import get_domain
    from ganzoo.export import export_generator
    from ganzoo.runs.evaluate import score
    from ganzoo.zoo.load import load

    gan = load(name)
    real = get_domain(gan.recipe.domain).read(data, gan.recipe.data)
    card = score(gan.at_width(width), real.samples, networks=("self_supervised",))
    with tempfile.TemporaryDirectory() as folder:
        exported = export_generator(name, folder, ["tflite"], ["none", "auto"], data=data, width=width)
    files = {file["file"]: file for file in exported["files"]}
    kept = {
        what: {
            "precision": files[file]["precision"],
            "megabytes": files[file]["bytes"] / 1e6,
            "milliseconds": files[file]["steady"]["1"]["minimum_ms"],
            "fid": files[file]["fid"],
            "fine_tuned": bool(files[file].get("fine_tuned_steps")),
        }
        for what, file in (("float32", "generator_float32.tflite"), ("auto", "generator.tflite"))
    }
    network = card.networks[0].scores
    return {
        "name": name,
        "width": width,
        "samples_seen": exported["samples_seen"],
        "parameters": exported["parameters"],
        "multiply_adds": exported["multiply_adds"],
        **kept,
        "scores": dict(
            zip(SCORES, (card.sliced_wasserstein["average"], network["kid"], network["recall"]), strict=True)
        ),
    }


def table(rows: dict) -> str:
    """Markdown."""
    lines = [f"| {' | '.join((*HEAD, *SCORES))} |", "|" + "---|" * (len(HEAD) + len(SCORES))]
    for label, row in rows.items():
        exact, auto = row["float32"], row["auto"]
        cells = [label, f"{row['parameters'] / 1e6:.2f}", f"{row['multiply_adds'] / 1e6:.1f}"]
        cells += [f"{exact['megabytes']:.2f}", f"{exact['milliseconds']:.2f}", f"{exact['fid']:.2f}"]
        cells += [auto["precision"] + ", fine-tuned" * auto["fine_tuned"]]
        cells += [f"{auto['megabytes']:.2f}", f"{auto['milliseconds']:.2f}", f"{auto['fid']:.2f}"]
        shown = zip(SCORES, ("{:.1f}", "{:.4f}", "{:.3f}"), strict=True)
        cells += [form.format(row["scores"][score]) for score, form in shown]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def draw(rows: dict, path: Path) -> None:
    """FID against size and against time: hollow marks are float32 files, full ones what `auto` takes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups: dict[str, list[dict]] = {}
    for label, row in rows.items():
        groups.setdefault(label.split(",")[0], []).append(row)
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for axis, key in zip(axes, ("megabytes", "milliseconds"), strict=True):
        for index, (group, members) in enumerate(groups.items()):
            for what, face in (("float32", "none"), ("auto", f"C{index}")):
                points = sorted((row[what][key], row[what]["fid"]) for row in members)
                label = group if what == "auto" else None
                axis.plot(*zip(*points, strict=True), "o-", color=f"C{index}", markerfacecolor=face, label=label)
        axis.set_xlabel("file, MB" if key == "megabytes" else "one sample, ms, one thread")
        axis.set_xlim(left=0)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("FID (network that never saw ImageNet)")
    axes[1].legend(title="hollow: float32, full: auto")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(out: str, data: str, *named: str) -> None:
    """Measure, write the table, draw the curves."""
    load_tensorflow()
    rows = {}
    for pair in named:
        label, _, where = pair.rpartition("=")
        name, _, width = where.partition("@")
        rows[label] = measure(name, float(width or 1), data)
        print(table({label: rows[label]}).splitlines()[-1], flush=True)
    Path(f"{out}.json").write_text(json.dumps(rows, indent=1) + "\n")
    Path(f"{out}.md").write_text(table(rows))
    draw(rows, Path(f"{out}.png"))


if __name__ == "__main__":
    main(*sys.argv[1:])
