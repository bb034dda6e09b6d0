"""`report.html` of a run: one file that needs no network and no script, whatever the run has written so far.

What a run directory lacks is left out. What it holds but cannot be read is named at the end of the report. Every text
from the run is escaped, and the page forbids itself to load anything that is not inside it.
"""

import base64
import datetime
import io
import itertools
import json
import math
import re
import string
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from PIL import Image

from ganzoo.cache import atomic_write_bytes
from ganzoo.errors import EvaluationError, TrainingError
from ganzoo.metrics.scorecard import Scorecard, compare
from ganzoo.recipe_files import read_yaml

_GRIDS = 12
_LISTED = 30
_POINTS = 150  # of a curve
_BEST = {"precision": "↑", "recall": "↑", "density": "→ 1", "coverage": "↑"}  # anything else is a distance: lower


def write_report(run: Path) -> Path:
    """Write `report.html` into the run directory `run`, in one step, and return its path.

    It shows the recipe, the curves of `metrics.jsonl` over samples seen, the grids of `samples/`, the data report, the
    scorecards, the transferred weights and the events, each as far as the run has written it.

    Raises:
        TrainingError: `run` is no run directory: it has no `recipe.yaml`.
        RecipeError: `recipe.yaml` is no valid YAML.
    """
    run, unread = Path(run), []
    if not (run / "recipe.yaml").is_file():
        raise TrainingError(
            f"No run directory: {run} has no recipe.yaml. Start a run: `ganzoo train NAME --data DATA --run DIR`."
        )
    recipe = read_yaml(run / "recipe.yaml")
    lines = [line for line in _read_lines(run / "metrics.jsonl", unread) if _is_number(line.get("samples"))]
    last_of = {line["samples"]: line for line in lines}  # a resumed run writes lines again: the last ones count
    metrics = [last_of[samples] for samples in sorted(last_of)]
    events = [(line.get("samples", ""), line.get("text", "")) for line in _read_lines(run / "events.jsonl", unread)]
    checks = _read_lines(run / "checks.jsonl", unread)
    sections = {
        "Events": _table(("samples", "event"), events),
        "Samples over time": _samples(run / "samples", unread),
        "Scores": _from_json(run / "scores.json", _scores, unread),
        "Best weights": _checks(checks, events),
        "Curves": _curves(metrics, events),
        "Data": _from_json(run / "data.json", _data, unread),
        "Transferred weights": _from_json(run / "transfer.json", _transfers, unread),
        "Recipe": _details("recipe.yaml", f"<pre>{escape(_text(run / 'recipe.yaml'))}</pre>"),
        "Left out of this report": _list(unread),
    }
    body = [f"<section>\n<h2>{title}</h2>\n{content}\n</section>" for title, content in sections.items() if content]
    template = string.Template(resources.files("ganzoo").joinpath("report.html").read_text(encoding="utf-8"))
    title = _show(recipe.get("entry", "run"))
    page = template.substitute(title=title, body="\n".join([_header(recipe, metrics), *body]))
    # The name of the data's folder may be any bytes.
    return atomic_write_bytes(run / "report.html", page.encode("utf-8", "backslashreplace"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _read_lines(path: Path, unread: list[str]) -> list[dict[str, Any]]:
    """The objects of a JSONL file. A torn last line is no news (the run may be writing it), others are counted."""
    found, broken = [], 0
    lines = _text(path).splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            found.append(dict(json.loads(line).items()))
        except (ValueError, AttributeError):
            broken += number < len(lines)
    if broken:
        unread.append(f"{path.name}: lines that are no JSON objects: {broken}")
    return found


def _from_json(path: Path, show: Callable[[Any], str], unread: list[str]) -> str:
    """The HTML of a JSON file; nothing where it is missing, or where it is broken, which is then noted."""
    try:
        return show(json.loads(_text(path))) if path.is_file() else ""
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # pydantic's errors are ValueErrors
        unread.append(f"{path.name}: not in the expected form ({type(error).__name__}: {error})")
        return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _show(value: Any) -> str:
    """A value as escaped text; integers with separators, floats with four digits."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return escape("none" if value is None else str(value))
    return f"{value:,.0f}" if isinstance(value, int) or 1e4 <= abs(value) < 1e12 else f"{value:.4g}"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], style: str = "") -> str:
    cells = "".join("<tr>" + "".join(f"<td>{_show(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    titles = "<tr>" + "".join(f"<th>{escape(title)}</th>" for title in head) + "</tr>"
    table = f'<table class="{style}"><thead>{titles}</thead><tbody>{cells}</tbody></table>'
    return f'<div class="wide">{table}</div>' if rows else ""


def _pairs(rows: Sequence[tuple[str, Any]], style: str) -> str:
    shown = [f"<div><dt>{escape(name)}</dt><dd>{_show(value)}</dd></div>" for name, value in rows if value is not None]
    return f'<dl class="{style}">{"".join(shown)}</dl>'


def _list(texts: Sequence[Any]) -> str:
    return "<ul>" + "".join(f"<li>{_show(text)}</li>" for text in texts) + "</ul>" if texts else ""


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _header(recipe: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> str:
    last = metrics[-1] if metrics else {"samples": 0}
    facts = [("samples seen", last["samples"]), ("samples planned", dict(recipe.get("training") or {}).get("samples"))]
    if _is_number(last.get("seconds")):
        facts.append(("training time", datetime.timedelta(seconds=round(last["seconds"]))))
    facts += [("steps", last.get("step")), ("samples per second", last.get("samples_per_second"))]
    paper = escape(str(recipe.get("paper") or ""))
    if re.fullmatch(r"https?://\S+", paper):
        paper = f'<a href="{paper}" rel="noreferrer">{paper}</a>'
    title, summary = _show(recipe.get("entry", "run")), _show(recipe.get("summary", ""))
    return f'<h1>{title}</h1>\n<p>{summary}</p>\n<p class="faint">{paper}</p>\n{_pairs(facts, "facts")}'


def _picture(path: Path, caption: str, unread: list[str]) -> tuple[str, str]:
    """The figure of a PNG and its thumbnail, both with data URIs; empty, and noted, where the file is broken."""
    try:
        content, buffer = path.read_bytes(), io.BytesIO()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            small = picture.convert("RGB")
        style = "small" if small.width < 320 else ""  # enlarged: without blur
        small.thumbnail((140, 140))
        small.save(buffer, "JPEG", quality=85)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        unread.append(f"{path.name}: no whole PNG ({error})")
        return "", ""
    png, jpeg = (base64.b64encode(data).decode("ascii") for data in (content, buffer.getvalue()))
    image = f'<img src="data:image/png;base64,{png}" class="{style}" alt="{caption}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>", f"data:image/jpeg;base64,{jpeg}"


def _samples(folder: Path, unread: list[str]) -> str:
    """The grids over time, chosen by radio buttons (no script), beside the reals."""
    found = sorted((int(path.stem), path) for path in folder.glob("*.png") if re.fullmatch("[0-9]+", path.stem))
    chosen = sorted({round(index * (len(found) - 1) / (_GRIDS - 1)) for index in range(_GRIDS)}) if found else []
    shown, columns = [], []
    for samples, path in (found[index] for index in chosen):
        caption = f"Generated after {samples:,} samples" if samples else "Generated before any step"
        figure, thumbnail = _picture(path, caption, unread)
        if figure:
            label = f'<label for="grid{samples}"><img src="{thumbnail}" alt="">{samples:,}</label>'
            shown.append(f'<input type="radio" name="grid" id="grid{samples}">{label}{figure}')
    if shown:
        shown[-1] = shown[-1].replace("<input", "<input checked", 1)
        hint = f'<p class="faint">{len(shown)} of {len(found)} grids; choose one by its small picture.</p>'
        columns.append(f'<div><div class="time">{"".join(shown)}</div>{hint}</div>')
    if (folder / "reals.png").is_file():
        columns.append(_picture(folder / "reals.png", "Real samples", unread)[0])
    return f'<div class="stage">{"".join(columns)}</div>' if any(columns) else ""


def _scores(content: Sequence[Mapping[str, Any]]) -> str:
    """The first and the last scorecard beside their floor: side by side only where their protocols agree."""
    found = {entry["samples"]: Scorecard.from_dict(entry["scorecard"]) for entry in content}
    cards = [(samples, found[samples]) for samples in sorted(found)]
    if len(cards) < 2:
        return _score_tables(cards, {}) if cards else ""
    try:
        return _score_tables([cards[0], cards[-1]], compare(cards[0][1], cards[-1][1]))
    except EvaluationError as error:
        return f'<p class="mark">{_show(error)}</p>' + "<hr>".join(_score_tables([cards[i]], {}) for i in (0, -1))


def _score_tables(cards: Sequence[tuple[int, Scorecard]], ratios: Mapping[str, Mapping[str, float | None]]) -> str:
    """Scorecards of one protocol: the distance without a network first, flattered networks last."""
    last, measured = cards[-1][1], [card.sliced_wasserstein for _, card in cards]
    rated = ratios.get("sliced_wasserstein", {})
    blocks = [("Sliced Wasserstein x1000, no network", measured, last.sliced_wasserstein_floor, rated, (), {})]
    for network in sorted(last.networks, key=lambda network: bool(network.marks)):
        measured = [next(peer.scores for peer in card.networks if peer.name == network.name) for _, card in cards]
        title = f"{network.name}: {network.dim} features, trained on {network.trained_on}"
        blocks.append((title, measured, network.floor, ratios.get(network.name, {}), network.marks, network.reasons))
    head = ["samples seen", *(f"{samples:,}" for samples, _ in cards), "real vs real", *["change"][: len(ratios)]]
    html = ""
    for title, measured, floor, rated, marks, reasons in blocks:
        rows = []
        for name in sorted(floor, key=lambda name: name != "average"):
            change = ["" if rated[name] is None else f"x {rated[name]:.3g}"] if ratios else []
            label = f"{'level ' * name.isdigit()}{name} {_BEST.get(name, '↓')}"
            rows.append([label, *(scores[name] for scores in measured), floor[name], *change])
        html += f"<h3>{_show(title)}</h3>" + "".join(f'<p class="mark">⚠ {_show(mark)}</p>' for mark in marks)
        html += _table(head, rows, "scores") + _list(list(reasons.values()))
    size = "x".join(str(number) for number in last.protocol["resolution"])
    note = f"{last.protocol['samples']:,} samples on each side, {size}. ↓ lower is better, ↑ higher is better."
    return f'{html}<p class="faint">{_show(note)} Real vs real: what a perfect generator would get.</p>'


def _checks(checks: Sequence[Mapping[str, Any]], events: Sequence[tuple[Any, Any]]) -> str:
    """The quick score over samples seen, and where it was best: the weights in `best/`."""
    score_at = {check["samples"]: check["score"] for check in checks if _is_number(check.get("score"))}
    if not score_at:
        return ""
    xs = sorted(score_at)
    best = min(xs, key=lambda samples: score_at[samples])
    text = f"Lowest score {_show(score_at[best])} after {best:,} samples: the weights in best/."
    chart = _chart("score while training", xs, {checks[-1].get("name", "score"): [score_at[x] for x in xs]}, events)
    return f'<p>{text}</p><div class="charts">{chart}</div>'


def _curves(metrics: Sequence[Mapping[str, Any]], events: Sequence[tuple[Any, Any]]) -> str:
    """Losses, logits and speed, and each other number (penalties differ by orders of magnitude) on its own."""
    groups: dict[str, dict[str, list]] = {"losses": {}, "logits": {}, "samples per second": {}}
    xs = [line["samples"] for line in metrics]
    for key in dict.fromkeys(key for line in metrics for key, value in line.items() if _is_number(value)):
        name = key.replace("_", " ")
        if key not in ("samples", "step", "seconds"):
            title = {"loss": "losses", "logits": "logits"}.get(name.split()[-1], name)
            groups.setdefault(title, {})[name] = [line.get(key) for line in metrics]
    charts = "".join(_chart(title, xs, series, events) for title, series in groups.items() if series)
    return f'<div class="charts">{charts}</div>' if charts else ""


def _chart(title: str, xs: Sequence[float], series: Mapping[str, Sequence[Any]], events: Sequence[tuple] = ()) -> str:
    """Curves as SVG: long ones are averaged in groups, single outliers cut at the edge; both are said beneath."""
    size = math.ceil(len(xs) / _POINTS)
    middles, *curves = [[_mean(v[i : i + size]) for i in range(0, len(xs), size)] for v in (xs, *series.values())]
    known = sorted(value for curve in curves for value in curve if value is not None)
    if not known:
        return ""
    inner = known[len(known) // 50], known[-1 - len(known) // 50]
    room = 2 * (inner[1] - inner[0]) or math.inf
    x_ticks = _ticks(middles[0], middles[-1])
    y_ticks = _ticks(max(known[0], inner[0] - room), min(known[-1], inner[1] + room))

    def scale(value: float, ticks: Sequence[float], start: float, length: float) -> float:
        return round(start + length * min(max((value - ticks[0]) / (ticks[-1] - ticks[0]), 0), 1), 1)

    x, y = (lambda value: scale(value, x_ticks, 62, 366)), (lambda value: scale(value, y_ticks, 210, -200))
    svg = [f'<path class="grid" d="M62 {y(t)}H428"/><text x="56" y="{y(t)}" class="y">{t:.6g}</text>' for t in y_ticks]
    svg += [f'<text x="{x(t)}" y="230" class="x">{t:,.7g}</text>' for t in x_ticks]
    legend, notes = "", [f"each point is the mean of {size} lines"] * (size > 1)
    for number, (name, curve) in enumerate(zip(series, curves, strict=True)):
        points = [None if value is None else f"{x(at)},{y(value)}" for at, value in zip(middles, curve, strict=True)]
        path = " ".join(("L" if i and points[i - 1] else "M") + point + "h0" for i, point in enumerate(points) if point)
        svg.append(f'<path class="curve c{number % 4}" d="{path}"/>')
        legend += f'<li class="c{number % 4}"><i></i><span>{escape(name)} <b>{_show(series[name][-1])}</b></span></li>'
    edges = [x(middles[0]), *(x((a + b) / 2) for a, b in itertools.pairwise(middles)), x(middles[-1])]
    for at, left, right, *values in zip(middles, edges, edges[1:], *curves, strict=False):
        hover = "\n".join(f"{n}: {_show(v)}" for n, v in zip(("samples", *series), (round(at), *values), strict=True))
        svg.append(f'<rect x="{left}" width="{right - left:.1f}" height="210"><title>{escape(hover)}</title></rect>')
    for at, text in events:
        if _is_number(at) and x_ticks[0] <= at <= x_ticks[-1]:
            svg.append(f'<path class="event" d="M{x(at)} 10V210"><title>{at:,}: {_show(text)}</title></path>')
    if cut := sum(not y_ticks[0] <= value <= y_ticks[-1] for value in known):
        notes.append(f"points beyond the axis: {cut}")
    return (
        f'<div class="chart"><h3>{escape(title.capitalize())}</h3><ul class="legend">{legend}</ul>'
        f'<svg viewBox="0 0 460 252" role="img" aria-label="{escape(title)} over samples seen">{"".join(svg)}'
        f'<text x="245" y="249" class="x">samples seen</text></svg><p class="faint">{"; ".join(notes)}</p></div>'
    )


def _mean(values: Sequence[Any]) -> float | None:
    numbers = [value for value in values if _is_number(value)]
    return sum(numbers) / len(numbers) if numbers else None


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, three or more, the first not above `low`, the last not below `high`."""
    span = high - low or abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power * 4.5 >= span)
    first = math.floor(low / step)
    return [number * step for number in range(first, max(math.ceil(high / step), first + 2) + 1)]


def _data(content: Mapping[str, Any]) -> str:
    counts, problems = list((content.get("class_counts") or {}).items()), content.get("problems") or []
    listed = ", ".join(f"{name} ({count:,})" for name, count in counts[:_LISTED])
    listed += f", ... ({len(counts):,} classes)" if len(counts) > _LISTED else ""
    rows = [("source", content["source"]), ("samples", content["count"]), ("classes", listed or "none")]
    rows += [("note", note) for note in content.get("notes") or ()]
    rows += [("fingerprint", content.get("fingerprint")), ("skipped files", len(problems))]
    table = _table(("skipped file", "reason"), [(problem["path"], problem["reason"]) for problem in problems])
    return _pairs(rows, "pairs") + (_details("skipped files", table) if len(problems) > _LISTED else table)


def _transfers(content: Sequence[Mapping[str, Any]]) -> str:
    html = ""
    for transfer in content:
        html += f"<h3>{_show(transfer['target'])} from {_show(transfer['source'])}</h3>"
        lists = {kind: transfer.get(kind) or [] for kind in ("loaded", "skipped", "mismatched")}
        html += "".join(_details(f"{len(names):,} {kind}", _list(names) or "none") for kind, names in lists.items())
    return html
