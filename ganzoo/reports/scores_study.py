"""Tables and images of the study of the scores (`ganzoo bench scores`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo.data.images.image_grid import save_grid
from ganzoo.metrics.sensitivity import Damage, Measured, Pool, Unsuitable

_SHOWN = 3  # images of each strength on the sheet
_AT = "500"  # samples at which the parts of the spread are listed
_HEAD = """# The scores, measured

Made by `ganzoo bench scores`. All values are in `results.json` (in the repository:
`tests/benchmarks/scores_study.json`).
"""
_SENSITIVITY = """A number is the first strength at which the score differs from that of real images, and is worse.
`-`: at none. `better`: the score is better than that of real images, from this strength on. `*`: from there on
the score does not become worse with every strength (by more than its own 95% interval)."""


def measured(row: Sequence[float]) -> Measured:
    """A score as it is in the results."""
    return Measured(*row)


def tables(results: Mapping[str, Any]) -> str:
    """All results in Markdown."""
    parts = [_HEAD]
    for name, found in results["sets"].items():
        if found["damages"]:
            parts += [_title(name, found), sensitivity_table(found), _SENSITIVITY, *_exceptions(found)]
        for kind, counts in found["spread"].items():
            parts += [f"## Spread: {name}, {_what(kind)}", *spread_tables(counts)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def page_table(results: Mapping[str, Any], name: str, part: str) -> str:
    """One table of a set for the docs: "damages", "exceptions", or "spread" (of the set's generator)."""
    found = results["sets"][name]
    if part == "damages":
        return f"{_about(found)}\n\n{sensitivity_table(found)}"
    if part == "exceptions":
        return "\n\n".join(_exceptions(found))
    return "\n\n".join(spread_tables(found["spread"][found["conditions"]["source"]]))


def sensitivity_table(found: Mapping[str, Any]) -> str:
    """Scores by damages: the first strength that is seen."""
    damages = found["damages"]
    rows = [["strengths", *(", ".join(f"{one:g}" for one in damage["strengths"][1:]) for damage in damages.values())]]
    rows += [
        [score, *(_cell(damage["verdicts"][score]) for damage in damages.values())] for score in found["untouched"]
    ]
    return table(["score", *(f"{name} ({damage['unit']})" for name, damage in damages.items())], rows)


def spread_tables(counts: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """Mean and 95% range by number of samples; what the spread consists of; and what the interval covers."""
    scores = list(dict.fromkeys(score for found in counts.values() for score in found))
    mean, ratio = [], []
    for score in scores:
        mean.append([score, *(_mean_cell(found.get(score)) for found in counts.values()), told_from(counts, score)])
        ratio.append([score, *(_number(found.get(score, {}).get("interval_ratio")) for found in counts.values())])
    parts = [
        "Mean and half of the 95% range over evaluations with other samples, real images and fits; in brackets the "
        "mean of real against real. The last column: the number of samples from which every evaluation tells the score "
        "from that of real images.",
        table(["score", *(f"N = {int(count):,}" for count in counts), "differs from N on"], mean),
        "The 95% interval that a card gives, divided by the 95% range over these evaluations: 1 is right, above 1 the "
        "interval is too wide.",
        table(["score", *(f"N = {int(count):,}" for count in counts)], ratio),
    ]
    at = counts.get(_AT)
    if at and any("latents" in one for one in at.values()):
        kinds = ("latents", "splits", "fits", "all")
        rows = [[score, *(_number(one.get(kind)) for kind in kinds)] for score, one in at.items()]
        parts += [f"Standard deviations at N = {_AT}, by what varies.", table(["score", *kinds], rows)]
    return parts


def told_from(counts: Mapping[str, Mapping[str, Mapping[str, float]]], score: str) -> str:
    """The number of samples from which on every evaluation tells the score from its floor; `-`: none does."""
    found = None
    for count in sorted(counts, key=int, reverse=True):
        if counts[count].get(score, {}).get("told") != 1.0:
            break
        found = count
    return "-" if found is None else f"{int(found):,}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def sheet(path: str | Path, pool: Pool, damages: Sequence[Damage]) -> Path:
    """Write the damaged images as a PNG: a row for each damage, its strengths side by side, three images each."""
    images, labels = [], []
    for damage in damages:
        for strength in damage.strengths:
            try:
                found = damage(pool, strength)[:_SHOWN]
            except Unsuitable:
                found = np.full((_SHOWN, *pool.images.shape[1:]), 255, np.uint8)
            images.append(found)
            labels += [f"{damage.name} {strength:g}", *[""] * (_SHOWN - 1)]
    columns = _SHOWN * max(len(damage.strengths) for damage in damages)
    return save_grid(path, np.concatenate(images), columns, labels)


def _title(name: str, found: Mapping[str, Any]) -> str:
    return f"## Sensitivity: {name}\n\n{_about(found)}"


def _about(found: Mapping[str, Any]) -> str:
    size = "x".join(str(side) for side in found["conditions"]["size"][:2])
    return (
        f"{found['conditions']['images']:,} different images, {size}; "
        f"{found['samples']:,} samples on each side; scores over `self_supervised` are means of "
        f"{found['conditions']['plan']['fits']} fits to {found['training_images']:,} images."
    )


def _what(kind: str) -> str:
    return "other real images as samples" if kind == "real images" else f"samples of `{kind}`"


def _cell(verdict: Mapping[str, Any]) -> str:
    parts = []
    if verdict["seen_from"] is not None:
        parts.append(f"{verdict['seen_from']:g}{'' if verdict['monotone'] else '*'}")
    if verdict["flatters_from"] is not None:
        parts.append(f"better {verdict['flatters_from']:g}")
    return ", ".join(parts) or "-"


def _exceptions(found: Mapping[str, Any]) -> list[str]:
    """What was told of untouched images; scores that do not become worse; strengths that were left out."""
    alarms = [score for score, row in found["untouched"].items() if measured(row).told]
    lines = [
        f"Told of untouched images, by error: {', '.join(alarms) or 'none'} (of {len(found['untouched'])} scores)."
    ]
    for name, damage in found["damages"].items():
        lines += [f"Left out: {name} {strength}: {reason}." for strength, reason in damage["skipped"].items()]
    rows = []
    for name, damage in found["damages"].items():
        for score, verdict in damage["verdicts"].items():
            if verdict["monotone"] is False or verdict["flatters_from"] is not None:
                values = [found["untouched"][score], *damage["scores"][score]]
                rows.append([name, score, ", ".join(_number(row[0]) for row in values), _number(values[0][1])])
    if rows:
        lines += [
            "Scores that do not become worse with every strength, or that call damaged images better:",
            table(["damage", "score", "values at rising strength, untouched images first", "real vs real"], rows),
        ]
    return lines


def _mean_cell(found: Mapping[str, float] | None) -> str:
    if found is None:
        return ""
    return f"{_number(found['mean'])} ± {_number(found['range'])} ({_number(found['floor'])})"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
