"""Results as short texts for a terminal: tables that fit into 80 columns, and a verdict."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.commands.terminal import table
from ganzoo.printing import printable
from ganzoo.progress import duration

if TYPE_CHECKING:
    from ganzoo.recipes.entries import ZooEntry

_FEW_GIGABYTES = 1.0


def entry_facts(entry: "ZooEntry") -> dict[str, Any]:
    """What `ganzoo list --json` says of an entry."""
    about, weights = entry.about, entry.weights or {}
    return {
        "name": entry.name,
        "summary": entry.summary,
        "paper": entry.paper,
        "domain": entry.raw.get("domain"),
        "size": (entry.raw.get("data") or {}).get("size"),
        "parameters": about.get("parameters"),
        "use": about.get("use"),
        "weights": bool(weights),
        "trained_on": weights.get("data"),
        "licence": weights.get("licence"),
    }


def entry_list(rows: Sequence[Mapping[str, Any]]) -> str:
    """Entries in two to four lines each: name, domain, size, parameters; what to take it for; the weights' data."""
    parts = []
    for row in rows:
        facts = [str(row["domain"])]
        facts += [f"{row['size']} x {row['size']}"] if row["size"] else []
        facts += [f"{millions(sum(row['parameters'].values()))} parameters"] if row["parameters"] else []
        lines = [f"{row['name']}: {', '.join(facts)}"]
        lines += _indented(row["use"] or f"{row['summary']}.")
        trained = str(row["trained_on"] or "").split(" (")[0]
        weights = f"Published weights: trained on {trained}." if row["weights"] else "No published weights."
        parts.append("\n".join([*lines, *_indented(weights)]))
    return "\n".join(parts)


def _indented(text: str) -> list[str]:
    return textwrap.wrap(text, 80, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def millions(count: int) -> str:
    """A number of parameters with its unit: `0.54 M`, `13 M`."""
    return f"{count / 1e6:.2f} M" if count < 1e7 else f"{count / 1e6:.0f} M"


def trained(result: Mapping[str, Any]) -> str:
    """What a training, a fine-tuning, a distillation or a pretraining did."""
    lines = [
        f"{result['samples']:,} samples in {duration(result['seconds'])} of training. This command took "
        f"{duration(result['total_seconds'])}, start-up, scores and images included.",
        f"Report: {result['report']}",
    ]
    if "parts" in result:
        lines.append(f"Parts:  {', '.join(result['parts'])}")
    return "\n".join(lines)


def exported(card: Mapping[str, Any], out: str | Path) -> str:
    """An export: a table of the files, what `auto` took, and a verdict."""
    lines = [f"{card['entry']} was exported to {out}.", "", _file_table(card["files"]), ""]
    if card.get("fid") is not None:
        lines.append(
            f"FID: distance to the real images, over {card['fid_samples']:,} samples; Keras has {card['fid']:.4g}. "
            "Lower is better."
        )
    if card.get("chosen"):
        lines.append(f"generator.tflite is {card['chosen']}")
    failed = [file["file"] for file in card["files"] if file.get("passed") is False]
    if failed:
        lines.append(f"Below the required quality of 8-bit files: {', '.join(failed)}.")
    memorised = card.get("memorised")
    if memorised is None:
        lines.append("Not checked for copies of training images: no training images were available.")
    elif memorised["closer_share"] is None:
        lines.append(f"Not judged whether training images are copied: {memorised['reason']}")
    lines.append(f"{_agree(card['files'])} Details: {Path(out) / 'MODEL_CARD.md'}")
    return "\n".join(lines)


def verified(result: Mapping[str, Any]) -> str:
    """A verification: a table of the files and a verdict."""
    return "\n".join([_file_table(result["files"]), "", f"{_agree(result['files'])} Nothing was changed or damaged."])


def _agree(files: Sequence[Mapping[str, Any]]) -> str:
    if len(files) == 1:
        return "Passed: the file gives the same samples as Keras, within its tolerance."
    return f"Passed: all {len(files)} files give the same samples as Keras, within their tolerances."


def _file_table(files: Sequence[Mapping[str, Any]]) -> str:
    rows, fids = [], any(file.get("fid") is not None for file in files)
    for file in files:
        fastest = min(one["minimum_ms"] for one in file["steady"].values())
        row = [
            file["file"], file["precision"], f"{file['bytes'] / 1e6:.2f}", f"{fastest:.3g}", f"{file['max_error']:.2g}",
            f"{file['allowed']:.2g}",
        ]  # fmt: skip
        if fids:
            fid = file.get("fid")
            row.append("-" if fid is None else f"{fid:.4g}")
        rows.append(row)
    head = ["file", "precision", "MB", "ms", "error", "allowed"]
    text = table(rows, [*head, "FID"] if fids else head)
    return (
        f"{text}\n\nms: fastest time of one sample on this machine. error: largest difference from Keras on a scale "
        "from -1 to 1."
    )


def diagnosis(result: Mapping[str, Any]) -> str:
    """A result of `ganzoo.commands.doctor` as a short table and a verdict for a terminal."""
    return _installation_text(result) if "versions" in result else _data_text(result)


def _installation_text(result: Mapping[str, Any]) -> str:
    devices = [name.removeprefix("/physical_device:") for name in result["devices"]]
    cache, published = result["cache"], result["published_weights"]
    missing_weights = [name for name, found in published.items() if not found]
    rows = [
        ("Versions", ", ".join(f"{name} {version or 'missing'}" for name, version in result["versions"].items())),
        ("Devices", f"{', '.join(devices)}; {result['cores']} processor cores"),
        ("Published weights", f"{sum(published.values())} of {len(published)} entries"),
        ("Backbone weights", ", ".join(k for k, found in result["backbone_weights"].items() if found) or "none"),
        ("Cache", f"{cache['folder']}, {cache['free_gigabytes']} GB free on its disk"),
    ]
    lines = [_fact(*row) for row in rows]
    if result["missing"]:
        lines += ["", "Optional, and not found:", *(f"  {one}" for one in result["missing"])]
    required = [name for name, version in result["versions"].items() if version is None]
    if required or missing_weights:
        verdict = f"Incomplete: {', '.join(required + missing_weights)} not found. Install ganzoo again."
    elif cache["free_gigabytes"] < _FEW_GIGABYTES:
        verdict = (
            f"Nearly full: the disk of the cache has {cache['free_gigabytes']} GB left. Set GANZOO_CACHE to another."
        )
    else:
        verdict = "Ready. Try `ganzoo demo`, or `ganzoo doctor FOLDER` with your images."
    return "\n".join([*lines, "", verdict])


def _data_text(result: Mapping[str, Any]) -> str:
    classes, speed = result["classes"], result["samples_per_second"]
    count = result["skipped"]
    skipped = f", {count:,} file{'s' if count != 1 else ''} skipped" if count else ""
    side = f", median shorter side {result['median_side']} pixels" if result["median_side"] else ""
    rows = [
        ("Images", f"{result['count']:,} {result['kind']}{side}{skipped}"),
        (
            "Classes",
            f"{len(classes)}: {', '.join(list(classes)[:8])}{', ...' * (len(classes) > 8)}" if classes else "none",
        ),
        ("Duplicates", _duplicates(result)),
        ("Entry", f"{result['entry']}, {result['resolution']} x {result['resolution']} pixels"),
        ("Speed", f"{speed:.0f} samples per second of training" if speed else result.get("untried", "not measured")),
    ]
    lines = [_fact(*row) for row in rows]
    lines += [_fact("Note", note) for note in result.get("notes", ()) if not note.endswith(" skipped")]
    lines += ["", "Recommended:", *(_wrapped(f"- {reason}", "  ") for reason in result["reasons"])]
    return "\n".join(
        [
            *lines,
            "",
            "Command:" if "&&" not in result["command"] else "Commands:",
            *(_broken(one) for one in result["command"].split(" && ")),
        ]
    )


def _duplicates(result: Mapping[str, Any]) -> str:
    """How many images equal an earlier one, how many more look equal, and some of them."""
    text = f"{result['exact_duplicates']:,} exact, {result['near_duplicates']:,} near"
    examples = "; ".join(", ".join(map(printable, group)) for group in result.get("twins", ()))
    return f"{text}, for example {examples}" if examples else text


def _broken(command: str) -> str:
    """A command for a shell, over several lines where one is too long."""
    lines = [" "]
    for part in re.split(" (?=--)", command):
        if len(lines[-1]) + len(part) > 76:
            lines[-1] += " \\"
            lines.append("     ")
        lines[-1] += f" {part}"
    return "\n".join(lines)


def _fact(name: str, value: str) -> str:
    return _wrapped(f"{name + ':':18} {value}", " " * 19)


def _wrapped(line: str, indent: str) -> str:
    return textwrap.fill(line, 80, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False)
