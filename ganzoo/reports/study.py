"""The results of a study as tables in Markdown and curves in one image."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo.errors import missing_package
from ganzoo.files.writing import atomic_write, write_text
from ganzoo.metrics import bands

_SEEN, _LEFT = 0.1, 0.5  # a run whose recall ends below the first, or below this share of its best, has collapsed
_SCRATCH = "scratch"
_EARLY = 0.25  # the share of the time at which scores are listed next to the last ones
_MANY = 10  # from here on, ratios are given without decimals
_SHOWN = 3  # rows with curves beside `scratch`, the best ones
_MARKED = 20  # points of a curve, at most, that are marked
_KID, _SLICED = "kid", "sliced"  # how the names of their curves begin
_COMPARED = {"sliced_wasserstein": "sliced W.", "kid": "KID"}  # scores of which ratios are given
_WARNING = "first warning"
_SHORT = (
    "starts from",
    "sliced W.",
    "ratio",
    "KID",
    "ratio of KID",
    "recall",
    "KID early",
    "time to scratch's sliced W.",
    "time to its KID",
    _WARNING,
)  # columns of a page's table
NOT_SHOWN = "no difference shown"

log = logging.getLogger("ganzoo")


def write_tables(cells: Sequence[Mapping[str, Any]], out: Path, groups: Sequence[str] = ()) -> None:
    """Write `results.md`: for each set a table of its rows, the best first.

    Args:
        cells: results of `ganzoo.commands.study.bench`, with curves and scorecards.
        out: the study's folder.
        groups: beginnings of rows' names; of each group's runs the share is given that neither failed nor collapsed.
    """
    write_text(out / "results.md", whole(cells, groups))


def whole(cells: Sequence[Mapping[str, Any]], groups: Sequence[str] = ()) -> str:
    """All tables of a study as Markdown, each with what must be known to read it; the arguments of `write_tables`."""
    spreads = spreads_of(cells)
    parts = []
    for name in dict.fromkeys(cell["set"] for cell in cells):
        mine = [cell for cell in cells if cell["set"] == name]
        done = [cell for cell in mine if "failed" not in cell]
        lines = [f"## {name}", ""]
        if done:
            lines += [
                f"{_protocol(done[0])} {_legend()}",
                "",
                _explained(_rows(done), spreads),
                "",
                *_table(_rows(done), spreads),
            ]
        lines += [f"- {c['row']}, seed {c['seed']}, failed: {c['failed']}" for c in mine if "failed" in c]
        for group in groups:
            runs = [cell for cell in mine if cell["row"].startswith(group)]
            good = [cell for cell in runs if "failed" not in cell and not collapsed(cell)]
            lines += [f"- {group}: {len(good)} of {len(runs)} runs neither failed nor collapsed"]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def short_table(cells: Sequence[Mapping[str, Any]], name: str) -> str:
    """The table of one set with fewer columns, for a page; `cells` are those of the whole study."""
    done = [cell for cell in cells if cell["set"] == name and "failed" not in cell]
    rows, spreads = _rows(done), spreads_of(cells)
    return "\n".join([_protocol(done[0]), "", _explained(rows, spreads), "", *_table(rows, spreads, _SHORT)])


def spreads_of(cells: Sequence[Mapping[str, Any]]) -> dict[str, bands.Spread]:
    """The spread of the two compared scores between seeds, pooled over all rows of all sets of a study."""
    done = [cell for cell in cells if "failed" not in cell]
    found = {}
    for score in _COMPARED:
        groups = []
        for name in dict.fromkeys(cell["set"] for cell in done):
            rows = _rows([cell for cell in done if cell["set"] == name])
            groups += [[cell[score] for cell in _trainings(mine)] for mine in rows.values()]
        found[score] = bands.pooled(groups)
    return found


def _rows(cells: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """The cells of one set by their rows."""
    return {row: [c for c in cells if c["row"] == row] for row in dict.fromkeys(c["row"] for c in cells)}


def _trainings(cells: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """A row's cells; only the first where they are the same published weights, which are one training."""
    published = cells and (cells[0].get("conditions") or {}).get("row", {}).get("published")
    return cells[:1] if published else cells


def reached(curve: Sequence[Sequence[float]], score: float) -> float | None:
    """The first second at which a curve of `(seconds, score)`, lower is better, is at `score` or below; None: never.

    It must be so at two points in a row, or at the last: one may be luck. Between two points the score's logarithm is
    a straight line, where both are positive.
    """
    before: Sequence[float] | None = None
    for index, (seconds, value) in enumerate(curve):
        if max(later for _, later in curve[index : index + 2]) <= score:
            if before is None or min(value, score) <= 0 or before[1] <= value:
                return seconds
            share = np.log(before[1] / score) / np.log(before[1] / value)
            return float(before[0] + share * (seconds - before[0]))
        before = (seconds, value)
    return None


def collapsed(cell: Mapping[str, Any]) -> bool:
    """Whether a run's recall ended below 0.1 (a run that never learnt counts too), or below half of its best."""
    recalls = [value for name, curve in cell["curves"].items() if name.startswith("recall") for _, value in curve]
    return bool(recalls) and recalls[-1] < max(_SEEN, _LEFT * max(recalls))


def final(cell: Mapping[str, Any], score: str) -> float:
    """A run's last score in its curve: the mean of its last two looks."""
    return float(np.mean([value for _, value in cell["curves"][score][-2:]]))


def draw(cells: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the KID over time of `scratch` and the best rows, a panel for each set, a line for each seed.

    Without matplotlib, of the extra `study`, the chart is left out with a warning.
    """
    try:
        import matplotlib
    except ImportError:
        log.warning("%s The tables are written.", missing_package(f"The chart {path.name}", "matplotlib", "study"))
        return

    matplotlib.use("Agg")
    from matplotlib import pyplot

    cells = [cell for cell in cells if curve_name(cell)]
    sets = list(dict.fromkeys(cell["set"] for cell in cells))
    columns = min(len(sets), 2)
    rows = -(-len(sets) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(5.2 * columns, 3.4 * rows), squeeze=False)
    for axis in axes.flat[len(sets) :]:
        axis.axis("off")
    for axis, name in zip(axes.flat, sets, strict=False):
        mine = [cell for cell in cells if cell["set"] == name]
        score = curve_name(mine[0])
        names = sorted(dict.fromkeys(cell["row"] for cell in mine), key=lambda row: _mean(mine, row, _KID))
        chosen = [_SCRATCH, *[row for row in names if row != _SCRATCH][:_SHOWN]]
        for index, row in enumerate(row for row in chosen if row in names):
            for cell in (cell for cell in mine if cell["row"] == row):
                seconds, values = zip(*cell["curves"][score], strict=True)
                label = row if cell["seed"] == min(c["seed"] for c in mine if c["row"] == row) else None
                few = "o" if len(values) <= _MARKED else None  # a single point has no line
                minutes, heights = np.array(seconds) / 60, np.maximum(values, 1e-3)
                axis.plot(minutes, heights, color=f"C{index}", label=label, lw=1.4, marker=few, markersize=3)
        axis.set(title=name, xlabel="minutes, pretraining included", ylabel="KID to training data", yscale="log")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.tight_layout()
    atomic_write(path, lambda temporary: figure.savefig(temporary, dpi=110, format="png"))
    pyplot.close(figure)


def curve_name(cell: Mapping[str, Any], score: str = _KID) -> str | None:
    """The name of a cell's curve of a score, if it has one."""
    return next((name for name in cell.get("curves") or () if name.startswith(score)), None)


def _mean(cells: Sequence[Mapping[str, Any]], row: str, score: str) -> float:
    return float(np.mean([cell[score] for cell in cells if cell["row"] == row]))


def _protocol(cell: Mapping[str, Any]) -> str:
    """How a set was scored, with the scores of real against real."""
    card = cell["scorecard"]
    floors, network = card["sliced_wasserstein_floors"], card["networks"][0]
    samples = card["protocol"]["samples"]
    seen = "" if cell.get("held_out", True) else ", some of them training images: no others were left"
    return (
        f"`{cell['entry']}`, {cell['minutes']:g} processor minutes a run; {samples:,} samples against as many "
        f"real images{seen}. Real against real: sliced Wasserstein {min(floors):.1f} to {max(floors):.1f}, KID "
        f"{_number(network['floor']['kid'], 3)}, FID {_number(network['floor']['fid'], 1)}, recall "
        f"{_number(network['floor']['recall'], 2)}."
    )


def _legend() -> str:
    """What the columns without ratios say."""
    return (
        "Scores of several seeds are listed next to each other; +-: the largest deviation over subsamples; *: "
        "flattered, the network that scores was trained on what a network that taught was. "
        f"Early: after {_EARLY:.0%} of the time. Time: the share of a run's after which it has the score with which "
        "the run from scratch ends. These two are to the training images, measured during training, and have no bands."
    )


def _explained(rows: Mapping[str, Sequence[Mapping[str, Any]]], spreads: Mapping[str, bands.Spread]) -> str:
    """What the columns with ratios say."""
    count = _comparisons(rows)
    if not count:
        return "No row is compared with a run from scratch."
    if not all(spread.degrees for spread in spreads.values()):
        return (
            "Ratio: the score divided by that of the run from scratch. No row has two seeds, so there are no bands, "
            "and no difference is shown: the seed alone changes scores."
        )
    alone, joint = (
        ", ".join(f"{factor(spreads[score], comparisons):.2f} ({title})" for score, title in _COMPARED.items())
        for comparisons in (1, count)
    )
    return (
        "Ratio: the geometric mean over the seeds divided by that of the runs from scratch, with its 95% band. The "
        "spread between seeds is pooled over all rows of the study "
        f"({spreads['sliced_wasserstein'].degrees} degrees of freedom). A single ratio of two seeds to two seeds must "
        f"lie beyond x or / {alone}. The bands are corrected for all {count} ratios of a column (Bonferroni): with two "
        f'seeds, beyond x or / {joint}. A band that holds 1 is called "{NOT_SHOWN}".'
    )


def factor(spread: bands.Spread, comparisons: int, counts: tuple[int, int] = (2, 2)) -> float:
    """The factor beyond which a ratio must lie to be more than the noise of the seeds; infinite without two seeds."""
    half = bands.half_width(spread, counts, comparisons)
    return float("inf") if half is None else float(np.exp(half))


def _reference(row: str, rows: Mapping[str, Any]) -> str | None:
    """The row from scratch to which a row is compared: `scratch`, or the one with the same addition to its name."""
    own = f"{_SCRATCH}, {row.partition(', ')[2]}"
    found = _SCRATCH if _SCRATCH in rows else own if own in rows else None
    return None if found == row else found


def _comparisons(rows: Mapping[str, Any]) -> int:
    """How many ratios a column of a table has."""
    return sum(_reference(row, rows) is not None for row in rows)


def _table(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    spreads: Mapping[str, bands.Spread],
    columns: Sequence[str] | None = None,
) -> list[str]:
    """A table of one set; of some `columns` only, if they are named."""
    lines = [_line(row, rows, spreads) for row in sorted(rows, key=lambda row: _sliced(rows[row]))]
    if not any(cell.get("warnings") for cells in rows.values() for cell in cells):
        lines = [{name: text for name, text in line.items() if name != _WARNING} for line in lines]
    heads = [name for name in lines[0] if columns is None or name in columns]
    titles = [name.removesuffix(" of KID") for name in heads]
    return [_joined(titles), "|".join(["", *["---"] * len(heads), ""])] + [
        _joined([line[name] for name in heads]) for line in lines
    ]


def _joined(texts: Sequence[str]) -> str:
    return " | ".join(["", *texts, ""]).strip()


def _sliced(cells: Sequence[Mapping[str, Any]]) -> float:
    return float(np.mean([cell["sliced_wasserstein"] for cell in cells]))


def _line(
    row: str, rows: Mapping[str, Sequence[Mapping[str, Any]]], spreads: Mapping[str, bands.Spread]
) -> dict[str, str]:
    """A row's cells of the table by the names of the columns."""
    cells, reference = rows[row], _reference(row, rows)
    scratch = rows[reference] if reference else ()
    count = _comparisons(rows)
    values = {
        "starts from": row,
        "sliced W.": _numbers(cells, "sliced_wasserstein", 1),
        "ratio": _ratio(cells, scratch, "sliced_wasserstein", spreads, count),
        "KID": _numbers(cells, "kid", 3),
        "ratio of KID": _ratio(cells, scratch, "kid", spreads, count),
        "FID": _numbers(cells, "fid", 1),
        "recall": _numbers(cells, "recall", 2),
        "coverage": _numbers(cells, "coverage", 2),
    }
    for index, network in enumerate(cells[0]["scorecard"]["networks"][1:], 1):
        found = [cell["scorecard"]["networks"][index] for cell in cells]
        values[f"KID ({network['name']})"] = ", ".join(
            f"{one['scores']['kid']:.0f}" + "*" * bool(one["marks"]) for one in found
        )
    return values | {
        "sliced W. early": _early(cells, _SLICED, 0),
        "KID early": _early(cells, _KID, 2),
        "time to scratch's sliced W.": _time(cells, scratch or cells, _SLICED),
        "time to its KID": _time(cells, scratch or cells, _KID),
        "samples": ", ".join(f"{cell['samples'] / 1000:.0f}k" for cell in cells),
        _WARNING: _warnings(cells),
    }


def _numbers(cells: Sequence[Mapping[str, Any]], score: str, digits: int) -> str:
    found = ", ".join(_number(cell[score], digits) for cell in cells)
    cards = [cell["scorecard"] for cell in cells]
    if score == "sliced_wasserstein":
        deviations = [card["sliced_wasserstein_deviation"].get("average") for card in cards]
    else:
        deviations = [card["networks"][0]["deviations"].get(score) for card in cards]
    known = [deviation for deviation in deviations if deviation is not None]
    return found + (f" +- {max(known):.{digits}f}" if known else "")


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _ratio(
    cells: Sequence[Mapping[str, Any]],
    scratch: Sequence[Mapping[str, Any]],
    score: str,
    spreads: Mapping[str, bands.Spread],
    comparisons: int,
) -> str:
    """The ratio to the runs from scratch with its band, and whether it shows a difference; empty for these runs."""
    if not scratch:
        return ""
    floor = 2 * abs(scratch[0]["scorecard"]["networks"][0]["floor"].get(score) or 0.0)
    mine, theirs = ([cell[score] for cell in _trainings(some)] for some in (cells, scratch))
    return in_words(bands.compared(mine, theirs, spreads[score], comparisons, floor))


def in_words(band: bands.Band) -> str:
    """A band as the text of a table's cell."""
    value, *ends = ("" if x is None else _of_ratio(x) if band.is_ratio else f"{x:+.3f}" for x in band[:3])
    value += "" if band.is_ratio else " (difference)"
    if band.low is None:
        return f"{value}, no band"
    text = f"{value} ({ends[0]} to {ends[1]})"
    return text if band.shown else f"{NOT_SHOWN}: {text}"


def _of_ratio(value: float) -> str:
    return f"{value:.0f}" if value >= _MANY else f"{value:.2f}"


def _warnings(cells: Sequence[Mapping[str, Any]]) -> str:
    """When the guards first warned in each run, and of what."""
    looks = [next(iter(cell.get("warnings") or ()), None) for cell in cells]
    return ", ".join(
        f"{look['samples']:,} samples, {look['seconds']:.0f} s ({' and '.join(look['signs'])})" if look else "none"
        for look in looks
    )


def at(curve: Sequence[Sequence[float]], second: float) -> float | None:
    """The score of a curve at a second, its logarithm a straight line between looks; None before the first of them."""
    seconds, values = zip(*curve, strict=True)
    if second < seconds[0]:
        return None
    if min(values) <= 0:
        return float(np.interp(second, seconds, values))
    return float(np.exp(np.interp(second, seconds, np.log(values))))


def _early(cells: Sequence[Mapping[str, Any]], score: str, digits: int) -> str:
    found = []
    for cell in cells:
        name = curve_name(cell, score)
        value = at(cell["curves"][name], _EARLY * 60 * cell["minutes"]) if name else None
        found.append("-" if value is None else f"{value:.{digits}f}")
    return ", ".join(found)


def _time(cells: Sequence[Mapping[str, Any]], scratch: Sequence[Mapping[str, Any]], begins: str) -> str:
    """The share of a run's time after which it has the score with which the run from scratch of its seed ends."""
    ends = {cell["seed"]: cell for cell in scratch}
    found = []
    for cell in cells:
        score = curve_name(cell, begins)
        if score is None or score not in ends.get(cell["seed"], {}).get("curves", {}):
            continue
        seconds = reached(cell["curves"][score], final(ends[cell["seed"]], score))
        found.append("not" if seconds is None else f"{seconds / (60 * cell['minutes']):.2f}")
    return ", ".join(found)
