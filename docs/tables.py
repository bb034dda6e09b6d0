"""Write the tables of the docs that are made of raw results in `tests/benchmarks/`.

    python docs/tables.py          # write them
    python docs/tables.py --check  # exit with 1 where a table is out of date

In a page, the lines between `<!-- Table, by docs/tables.py: KIND PART -->` and `<!-- End of table. -->` are written
here. So are the Markdown files in `tests/benchmarks/`: those of the studies, `NAME_study.md` with all columns, from the
`results.json` of `ganzoo bench NAME --out DIR --data SET=DATA`. No TensorFlow is loaded.
"""

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ganzoo.metrics import bands
from ganzoo.recipes import entries
from ganzoo.recipes.yaml_files import read_yaml
from ganzoo.reports import scores_study
from ganzoo.reports import study as study_report

TOP = Path(__file__).parents[1]
RAW = TOP / "tests/benchmarks"
PLACE = re.compile(r"(<!-- Table, by docs/tables\.py: (\w+) (\w+) -->\n).*?(<!-- End of table\. -->)", re.DOTALL)
STUDIES = ("pretraining", "finetuning", "guards", "stability")

# The trials of `imagenet_teacher.json` that the current code can repeat: `imagenet_teacher.py DATA VARIANT OUT`.
_STRIDES = "strides 2 to 32 at 128 pixels, each 4th step"
REPEATABLE = {
    "plain": "plain",
    f"plain and drifting 5 falling to 0 at 40,000, {_STRIDES} (the recipe)": "recipe",
    f"plain and drifting 10, {_STRIDES}": "matching_stays_strong",
    f"plain and drifting 10 of random weights, {_STRIDES}": "matching_random_stays_strong",
}
BASES = {"recipe": "plain", "matching_stays_strong": "matching_random_stays_strong"}
NEWEST_MACHINE = "machine"  # only the last trials name it; those before were of other code


def raw(name: str) -> Any:
    """Raw results."""
    return json.loads((RAW / f"{name}.json").read_text(encoding="utf-8"))


def of_script(name: str) -> ModuleType:
    """A script of `tests/benchmarks/` that makes tables of its raw results itself."""
    if str(RAW) not in sys.path:
        sys.path.append(str(RAW))
    return importlib.import_module(name)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def batch_sizes() -> str:
    """Last scores of runs with several batch sizes, of one seed."""
    spreads = study_report.spreads_of(raw("pretraining_study"))
    distance, kid = (study_report.factor(spreads[score], 1, (1, 1)) for score in ("sliced_wasserstein", "kid"))
    rows = []
    for run in raw("batch_sizes"):
        last, rate = run["looks"][-1], f"{run['learning_rate']:.0e}".replace("e-0", "e-")
        rows.append(
            [
                run["set"],
                f"{run['batch_size']}, {rate}",
                f"{last['sliced_wasserstein']:.1f}",
                f"{last['kid']:.3f}",
                f"{last['recall']:.2f}",
                f"{last['samples'] / 1000:.0f}k",
            ]
        )
    return (
        f"A ratio of one seed to one seed must lie beyond x or / {distance:.2f} (sliced W.), {kid:.2f} (KID), by the "
        "spread between seeds of the study below.\n\n"
    ) + markdown(["images", "batch, both rates", "sliced W.", "KID", "recall", "samples"], rows)


def spreads() -> str:
    """Beyond which factors a single ratio must lie in each study, by the spread between its seeds."""
    rows = []
    for study in STUDIES:
        found = study_report.spreads_of(raw(f"{study}_study"))
        cells = [study, str(found["kid"].degrees)]
        for counts in ((2, 2), (1, 1)):
            cells += [f"{study_report.factor(found[score], 1, counts):.2f}" for score in ("sliced_wasserstein", "kid")]
        rows.append(cells)
    head = ["study", "*f*", "two seeds to two: sliced W.", "KID", "one seed to one: sliced W.", "KID"]
    return markdown(head, rows)


def imagenet_teacher() -> str:
    """The trials that the current code can repeat, with ratios of the recipe to the plain discriminator."""
    groups: dict[tuple[str, int], list[dict]] = {}
    for trial in raw("imagenet_teacher"):
        if trial["variant"] in REPEATABLE and NEWEST_MACHINE in trial:
            key = REPEATABLE[trial["variant"]], trial["processor_seconds"]
            groups.setdefault(key, []).append(trial)
    found = {
        "sliced W.": {key: [one["sliced_wasserstein"]["average"] for one in mine] for key, mine in groups.items()},
        "KID": {key: [one["self_supervised"]["kid"] for one in mine] for key, mine in groups.items()},
    }
    spreads = {score: bands.pooled(list(values.values())) for score, values in found.items()}
    rows = []
    for (name, seconds), mine in groups.items():
        base = (BASES.get(name, ""), seconds)
        cells = [f"`{name}`", str(seconds), ", ".join(str(one["seed"]) for one in mine)]
        cells.append(", ".join(f"{one['samples_seen']:,}" for one in mine))
        for score, digits in (("sliced W.", 1), ("KID", 3)):
            values = found[score]
            cells.append(", ".join(f"{value:.{digits}f}" for value in values[name, seconds]))
            band = bands.compared(values[name, seconds], values[base], spreads[score], 2) if base in groups else None
            cells.append(study_report.in_words(band) if band else "")
        cells.append(", ".join(f"{one['self_supervised']['recall']:.2f}" for one in mine))
        rows.append(cells)
    head = ["variant", "seconds", "seeds", "images seen", "sliced W.", "ratio", "KID", "ratio", "recall"]
    return (
        "Ratio: to `plain` after the same time, and of ImageNet's weights to random ones; with its 95% band, from the "
        f"spread between seeds of these rows ({spreads['KID'].degrees} degrees of freedom), corrected for both ratios "
        "of a column (Bonferroni).\n\n"
    ) + markdown(head, rows)


def projected_heads() -> str:
    """Scores over time by the normalisation of the small discriminators."""
    titles = {"none": "none", "spectral": "spectral norm", "batch": "batch norm", "both": "both"}
    found = raw("projected_heads")
    counts = [check["samples"] for check in found["none"]["checks"]]
    rows = []
    for heads, title in titles.items():
        for score, digits in (("kid", 1), ("precision", 2), ("recall", 2)):
            values = [check["self_supervised"][score] for check in found[heads]["checks"]]
            rows.append([title, score.replace("kid", "KID"), *(f"{value:.{digits}f}" for value in values)])
    return markdown(["heads", "score", *(f"{count:,} images" for count in counts)], rows)


def smaller() -> str:
    """Generators by size."""
    return of_script("smaller").table(raw("smaller")).strip()


def exports_sizes() -> str:
    """Sizes of the published generators."""
    rows = []
    for name, card in raw("exports").items():
        size = {
            file["precision"]: file["bytes"] / 1e6 for file in card["files"] if file["file"].startswith("generator_")
        }
        rows.append(
            [
                f"`{name}`",
                f"{card['parameters'] / 1e6:.2f} M",
                f"{card['multiply_adds'] / 1e6:.1f} M",
                f"{size['float32']:.2f} MB, {size['float16']:.2f} MB, {size['int8']:.2f} MB",
            ]
        )
    return markdown(["entry", "parameters", "multiply-adds", "TFLite float32, float16, int8"], rows)


def exports_auto() -> str:
    """What `auto` took, compared with float32, Keras and ONNX Runtime."""
    rows = []
    for name, card in raw("exports").items():
        files = {file["file"]: file for file in card["files"]}
        times = {file: one["steady"]["1"]["minimum_ms"] for file, one in files.items() if "1" in one["steady"]}
        exact, auto = files["generator_float32.tflite"], files["generator.tflite"]
        fast = times["generator_float32.tflite"]
        rows.append(
            [
                f"`{name}`",
                auto["precision"] + ", fine-tuned" * bool(auto.get("fine_tuned_steps")),
                f"{auto['bytes'] / exact['bytes']:.2f}",
                f"{times['generator.tflite'] / fast:.2f}",
                f"{exact['fid']:.2f}, {auto['fid']:.2f}",
                f"1/{card['keras_latency']['predict']['minimum_ms'] / fast:.0f}",
                f"{fast / times['generator.onnx']:.2f}",
            ]
        )
    head = ["entry", "`auto` took", "of float32's size", "of its time, one thread", "FID: float32, `auto`"]
    return markdown([*head, "TFLite float32 to Keras' `predict`", "to ONNX Runtime"], rows)


def memorisation() -> str:
    """Shares of close samples of known kinds, by the rule of an export."""
    shown = {"copies": "copies", "shifted": "shifted, to 2 pixels", "flipped": "mirrored", "blurred": "blurred"}
    shown |= {"half a pixel": "half a pixel", "blurred more": "blurred more", "flipped, shifted": "mirrored, shifted"}
    shown |= {"new": "*new*"}
    rows = []
    for rule, name in (("by variants", ""), ("by distance alone", ", by distance alone")):
        for data, result in raw("memorisation").items():
            for form, rules in result["rules"].items():
                if rule == "by distance alone" and form == "twice":
                    continue
                title = f"{data}: {result['training images']:,}{', two thirds of them twice' * (form == 'twice')}{name}"
                rows.append([title, *(f"{rules[rule][kind]:.2f}" for kind in shown)])
    return markdown(["training images", *shown.values()], rows)


def install_size() -> str:
    """What an installation takes, the largest packages by name."""
    found, mib = raw("install_size"), 2**20
    named = {name: size for name, size in found["packages"].items() if size >= 50 * mib or name == "ganzoo"}
    rest = found["unpacked"] - sum(named.values())
    notes = {
        "tensorflow": f", of which {found['headers'] / mib:,.0f} are C++ headers",
        "ganzoo": f", of which {found['shipped'] / mib:,.0f} are networks, features and digits",
    }
    rows = [["download", f"{found['download'] / mib:,.0f}"], ["**unpacked**", f"**{found['unpacked'] / mib:,.0f}**"]]
    rows += [[f"`{name}`", f"{size / mib:,.0f}{notes.get(name, '')}"] for name, size in named.items()]
    rows += [["all other packages", f"{rest / mib:,.0f}"]]
    return f"{found['machine']}, Python {found['python']}.\n\n" + markdown(["what", "MiB"], rows)


OTHERS = {
    "install_size": install_size,
    "batch_sizes": batch_sizes,
    "spreads": spreads,
    "imagenet_teacher": imagenet_teacher,
    "projected_heads": projected_heads,
    "smaller": smaller,
    "exports_sizes": exports_sizes,
    "exports_auto": exports_auto,
    "memorisation": memorisation,
}


def table(kind: str, part: str) -> str:
    """A table by its kind; that of a study by its set, too, of that of the scores by set and part (`SET_PART`)."""
    if kind == "scores":
        return scores_study.page_table(raw("scores_study"), *part.split("_"))
    return OTHERS[kind]() if kind in OTHERS else study_report.short_table(raw(f"{kind}_study"), part)


def pages() -> dict[Path, str]:
    """Every file with tables, as it should be."""
    plans = {name: read_yaml(path) for name, path in entries.recipe_paths("_studies").items() if name in STUDIES}
    found = {
        RAW / f"{name}_study.md": study_report.whole(raw(f"{name}_study"), plan.get("groups", ()))
        for name, plan in plans.items()
    }
    found[RAW / "scores_study.md"] = scores_study.tables(raw("scores_study"))
    found[RAW / "smaller.md"] = of_script("smaller").table(raw("smaller"))
    found[RAW / "exports.md"] = of_script("exports").markdown(raw("exports"))
    found[RAW / "memorisation.md"] = of_script("memorisation").table(raw("memorisation")) + "\n"
    for page in sorted((TOP / "docs").rglob("*.md")):
        before = page.read_text(encoding="utf-8")
        if PLACE.search(before):
            found[page] = PLACE.sub(lambda place: f"{place[1]}\n{table(place[2], place[3])}\n\n{place[4]}", before)
    return found


def main() -> None:
    """Write the tables, or check them."""
    made = pages()
    old = [path for path, text in made.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if "--check" not in sys.argv[1:]:
        for path in old:
            path.write_text(made[path], encoding="utf-8")
    elif old:
        raise SystemExit(f"Out of date: {', '.join(path.name for path in old)}. Run `python docs/tables.py`.")


if __name__ == "__main__":
    main()
