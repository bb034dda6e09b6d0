"""What was exported of a run, and how good each file is for its size and its time."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ganzoo.files.reading import is_number, read_json
from ganzoo.files.writing import write_json
from ganzoo.recipes import yaml_files
from ganzoo.reports.page import chart, on_one_axis, table

EXPORTS = "exports.json"
_AUTO = "generator.tflite"
_AXES = {"megabytes": "MB", "milliseconds": "ms for a sample, one thread"}


def remember(run: Path, out: Path, width: float, card: Mapping[str, Any]) -> bool:
    """Add an export to a run's `exports.json`, in place of an earlier one to the same folder; False if no run is there.

    Args:
        run: a run directory, or what was exported instead.
        out: the folder of the export.
        width: the share of the generator's channels.
        card: the model card.
    """
    if not (run / yaml_files.RUN_RECIPE).is_file() or not (run / "checkpoints").is_dir():
        return False
    where = str(out.resolve())
    path = run / EXPORTS
    before = [one for one in read_json(path, list) if one.get("out") != where] if path.is_file() else []
    kept = {"out": where, "width": width, "samples_seen": card["samples_seen"], "fid": card["fid"]}
    kept["fid_samples"] = card.get("fid_samples")
    kept["files"] = [
        {
            "file": file["file"],
            "precision": file["precision"],
            "megabytes": file["bytes"] / 1e6,
            "milliseconds": file["steady"]["1"]["minimum_ms"],
            "fid": file.get("fid"),
        }
        for file in card["files"]
        if file["file"].endswith(".tflite")
    ]
    write_json(path, [*before, kept])
    return True


def best_files(run: Path) -> list[dict[str, Any]]:
    """Of each export of a run what `auto` took, or else its smallest file."""
    path = run / EXPORTS
    found = [one["files"] for one in read_json(path, list)] if path.is_file() else []
    return [min(files, key=lambda one: (one["file"] != _AUTO, one["megabytes"])) for files in found if files]


def to_html(exports: Sequence[Mapping[str, Any]]) -> str:
    """A table of all files, and FID against size and time, a curve for each precision."""
    counts = sorted({one["fid_samples"] for one in exports if is_number(one.get("fid_samples"))})
    protocol = "".join(f" of {count:,} samples" for count in counts[:1] if len(counts) == 1)
    note = (
        f"FID of exports: the distance between the features of the file's samples{protocol} and of all real images. "
        "Compare it between files, not with the FID under Scores, which is of other numbers of images."
    )
    rows = [
        [one["out"], f"{one['width']:.0%}", file["file"], file["precision"], *(file[key] for key in (*_AXES, "fid"))]
        for one in exports
        for file in one["files"]
    ]
    head = ("export", "channels", "file", "numbers", *_AXES.values(), "FID of exports ↓")
    precisions = dict.fromkeys(file["precision"] for one in exports for file in one["files"])
    known = {
        precision: [file for one in exports for file in one["files"] if file["precision"] == precision]
        for precision in precisions
    }
    return f'{table(head, rows, "files")}<p class="faint">{escape(note)}</p>{curves(known)}'


def curves(files: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """FID against size and against time, a curve for each name; nothing where no FID is known."""
    drawn = ""
    for key, axis in _AXES.items():
        known = {
            name: sorted({one[key]: one["fid"] for one in found if is_number(one.get("fid"))}.items())
            for name, found in files.items()
        }
        xs, series = on_one_axis(known)
        drawn += chart(f"FID of exports against {key}", xs, series, axis=axis, log=True) if series else ""
    return f'<div class="charts">{drawn}</div>' if drawn else ""
