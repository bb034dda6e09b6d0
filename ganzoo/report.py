"""`report.html` of a run: one file that needs no network and no script, whatever the run has written so far.

What a run directory lacks is left out. What it holds but cannot be read is named at the end of the report. Every text
from the run is escaped, and the page forbids itself to load anything that is not inside it.
"""

import base64
import io
import json
import re
import string
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import pydantic
from PIL import Image

from ganzoo.cache import atomic_write_bytes
from ganzoo.config import read_yaml
from ganzoo.errors import EvaluationError, TrainingError
from ganzoo.metrics.scorecard import Scorecard, compare
from ganzoo.report_chart import chart

_GRIDS = 12
_LISTED = 30
_SMALL = 320  # pixels of a grid's width: narrower ones are enlarged without blur
_BEST = {"fid": "↓", "kid": "↓", "precision": "↑", "recall": "↑", "density": "→ 1", "coverage": "↑"}
_UNPLOTTED = {"samples", "step", "seconds"}


def write_report(run: Path) -> Path:
    """Write `report.html` into the run directory `run`, in one step, and return its path.

    It shows the recipe, the curves of `metrics.jsonl` over samples seen, the grids of `samples/`, the data report, the
    scorecards, the transferred weights and the events, each as far as the run has written it.

    Raises:
        TrainingError: `run` is no run directory: it has no `recipe.yaml`.
        RecipeError: `recipe.yaml` is no valid YAML.
    """
    run = Path(run)
    if not (run / "recipe.yaml").is_file():
        raise TrainingError(
            f"A report is made of a run directory, which holds recipe.yaml, metrics.jsonl, samples/. Received: {run}, "
            "without recipe.yaml. Start a run there with `ganzoo train NAME --data DATA --run DIR`."
        )
    recipe, unread = read_yaml(run / "recipe.yaml"), []
    events = [event for event in _read_lines(run / "events.jsonl", unread) if "text" in event]
    metrics = _read_metrics(run / "metrics.jsonl", unread)
    parts = [
        _header(recipe, metrics),
        _section("Events", _events(events)),
        _section("Samples over time", _samples(run / "samples", unread)),
        _section("Scores", _from_json(run / "scores.json", _scores, unread)),
        _section("Curves", _curves(metrics, events)),
        _section("Data", _from_json(run / "data.json", _data, unread)),
        _section("Transferred weights", _from_json(run / "transfer.json", _transfers, unread)),
        _section("Recipe", _details("recipe.yaml", f"<pre>{escape(_text(run / 'recipe.yaml'))}</pre>")),
        _section("Left out of this report", _list(unread)),
    ]
    template = string.Template(resources.files("ganzoo").joinpath("report.html").read_text(encoding="utf-8"))
    title = escape(f"{recipe.get('entry', 'run')}: report")
    page = template.substitute(title=title, body="\n".join(part for part in parts if part))
    return atomic_write_bytes(run / "report.html", page.encode("utf-8"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _read_lines(path: Path, unread: list[str]) -> list[dict[str, Any]]:
    """The objects of a JSONL file. A torn last line is no news (the run may be writing it), others are counted."""
    found, broken = [], 0
    lines = _text(path).splitlines() if path.is_file() else []
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if isinstance(value, dict):
            found.append(value)
        elif line.strip() and number < len(lines):
            broken += 1
    if broken:
        unread.append(f"{path.name}: {broken} lines that are no JSON objects")
    return found


def _read_metrics(path: Path, unread: list[str]) -> list[dict[str, Any]]:
    """The lines in order of samples; of lines for the same samples (a run that was resumed) the last one counts."""
    lines = {line["samples"]: line for line in _read_lines(path, unread) if _is_number(line.get("samples"))}
    return [lines[samples] for samples in sorted(lines)]


def _from_json(path: Path, show: Callable[[Any], str], unread: list[str]) -> str:
    """The HTML of a JSON file; nothing where it is missing, or where it is broken, which is then noted."""
    if not path.is_file():
        return ""
    try:
        return show(json.loads(_text(path)))
    except pydantic.ValidationError as error:
        unread.append(f"{path.name}: written by another version of ganzoo ({error.error_count()} differences)")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        unread.append(f"{path.name}: not in the expected form ({type(error).__name__}: {error})")
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _section(title: str, content: str) -> str:
    return f"<section>\n<h2>{title}</h2>\n{content}\n</section>" if content else ""


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _list(texts: Sequence[Any]) -> str:
    return "<ul>" + "".join(f"<li>{escape(str(text))}</li>" for text in texts) + "</ul>" if texts else ""


def _pairs(rows: Sequence[tuple[str, Any]], style: str) -> str:
    items = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(str(v))}</dd></div>" for k, v in rows)
    return f'<dl class="{style}">{items}</dl>' if rows else ""


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def _header(recipe: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> str:
    paper = str(recipe.get("paper") or "")
    linked = re.fullmatch(r"https?://\S+", paper)
    link = f'<a href="{escape(paper)}" rel="noreferrer">{escape(paper)}</a>' if linked else escape(paper)
    training = recipe.get("training")
    training = training if isinstance(training, Mapping) else {}
    last, facts = metrics[-1] if metrics else {}, []
    planned = f" of {training['samples']:,}" if _is_number(training.get("samples")) else ""
    facts.append(("samples seen", f"{last.get('samples', 0):,}{planned}"))
    if _is_number(last.get("step")):
        facts.append(("steps", f"{last['step']:,}"))
    if _is_number(last.get("seconds")):
        facts.append(("training time", _duration(last["seconds"])))
    if _is_number(last.get("samples_per_second")):
        facts.append(("samples per second", f"{last['samples_per_second']:,.4g}"))
    facts += [(key.replace("_", " "), training[key]) for key in ("batch_size", "precision") if key in training]
    return (
        f"<header>\n<h1>{escape(str(recipe.get('entry', 'run')))}</h1>\n<p>{escape(str(recipe.get('summary') or ''))}</p>\n"
        + (f'<p class="faint">Paper: {link}</p>\n' if paper else "")
        + f"{_pairs(facts, 'facts')}\n</header>"
    )


def _events(events: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{escape(_samples_text(event.get('samples')))}</td><td>{escape(str(event['text']))}</td></tr>"
        for event in events
    )
    return f"<table><thead><tr><th>samples</th><th>event</th></tr></thead><tbody>{rows}</tbody></table>" if rows else ""


def _samples_text(samples: Any) -> str:
    return f"{samples:,}" if _is_number(samples) else "" if samples is None else str(samples)


def _curves(metrics: Sequence[Mapping[str, Any]], events: Sequence[Mapping[str, Any]]) -> str:
    keys = list(dict.fromkeys(k for line in metrics for k, value in line.items() if _is_number(value)))
    keys = [key for key in keys if key not in _UNPLOTTED]
    groups = {"Losses": [k for k in keys if k.endswith("_loss")], "Logits": [k for k in keys if k.endswith("_logits")]}
    groups |= {"Speed": [k for k in keys if k == "samples_per_second"]}
    grouped = {key for group in groups.values() for key in group}
    for key in keys:  # penalties and the like: a chart each, since their sizes differ by orders of magnitude
        if key not in grouped:
            groups[key.replace("_", " ").capitalize()] = [key]
    marks = [(event["samples"], str(event["text"])) for event in events if _is_number(event.get("samples"))]
    xs = [line["samples"] for line in metrics]
    charts = []
    for title, group in groups.items():
        series = {k.replace("_", " "): [line.get(k) if _is_number(line.get(k)) else None for line in metrics] for k in group}
        if series:
            charts.append(chart(title, xs, series, marks, from_zero=title == "Speed"))
    return f'<div class="charts">{"".join(charts)}</div>' if charts else ""


def _picture(path: Path, unread: list[str]) -> tuple[str, str, int] | None:
    """A PNG as a data URI, its thumbnail as another, its width; None, and a note, where it is broken."""
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            picture.load()
            width, small = picture.width, picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        unread.append(f"{path.name}: no whole PNG ({error})")
        return None
    small.thumbnail((140, 140))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    png, jpeg = (base64.b64encode(data).decode("ascii") for data in (content, buffer.getvalue()))
    return f"data:image/png;base64,{png}", f"data:image/jpeg;base64,{jpeg}", width


def _figure(uri: str, width: int, caption: str) -> str:
    style = ' class="small"' if width < _SMALL else ""
    return f'<figure><img src="{uri}"{style} alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def _samples(folder: Path, unread: list[str]) -> str:
    found = sorted((int(path.stem), path) for path in folder.glob("*.png") if re.fullmatch(r"[0-9]+", path.stem))
    step = max(1, len(found) - 1) / (_GRIDS - 1)
    chosen = found if len(found) <= _GRIDS else [found[round(index * step)] for index in range(_GRIDS)]
    read = [(samples, picture) for samples, path in chosen if (picture := _picture(path, unread))]
    shown = []
    for number, (samples, (uri, thumbnail, width)) in enumerate(read):
        caption = f"Generated after {samples:,} samples" if samples else "Generated before any step"
        checked = " checked" if number == len(read) - 1 else ""
        shown.append(
            f'<input type="radio" name="grid" id="grid{number}"{checked}>'
            f'<label for="grid{number}"><img src="{thumbnail}" alt="">{samples:,}</label>{_figure(uri, width, caption)}'
        )
    columns = [f'<div class="time">{"".join(shown)}</div>'] if shown else []
    reals = _picture(folder / "reals.png", unread) if (folder / "reals.png").is_file() else None
    if reals:
        columns.append(_figure(reals[0], reals[2], "Real samples"))
    hint = f'<p class="faint">{len(read)} of {len(found)} grids of the same latents. Choose one below it.</p>' if shown else ""
    return f'{hint}<div class="stage">{"".join(columns)}</div>' if columns else ""


def _scores(content: Sequence[Mapping[str, Any]]) -> str:
    cards = sorted(((entry["samples"], Scorecard.from_dict(entry["scorecard"])) for entry in content), key=lambda c: c[0])
    if not cards:
        return ""
    (_, before), (_, after) = cards[0], cards[-1]
    try:
        ratios = compare(before, after) if len(cards) > 1 else None
    except EvaluationError as error:
        tables = [_score_table([card], None) for card in (cards[0], cards[-1])]
        return f'<p class="warning">{escape(str(error))}</p>{"".join(tables)}'
    html = _score_table([cards[0], cards[-1]] if ratios else cards, ratios)
    alike = [(samples, card) for samples, card in cards if card.protocol == after.protocol]
    if len(alike) > 2:
        averages = [card.sliced_wasserstein["average"] for _, card in alike]
        floors = [card.sliced_wasserstein_floor["average"] for _, card in alike]
        series = {"generated": averages, "real against real": floors}
        html += f'<div class="charts">{chart("Sliced Wasserstein, average", [s for s, _ in alike], series, from_zero=True)}</div>'
    return html


def _score_table(cards: Sequence[tuple[int, Scorecard]], ratios: Mapping[str, Any] | None) -> str:
    """One or two scorecards of one protocol beside their floor: no network first, flattered networks last."""
    last = cards[-1][1]
    titles = [f"{samples:,} samples" for samples, _ in cards] + ["real against real"] + (["change"] if ratios else [])
    rows = ['<tr class="network"><th colspan="5">Sliced Wasserstein x1000, without any network</th></tr>']
    for level in ["average", *(name for name in last.sliced_wasserstein if name != "average")]:
        values = [card.sliced_wasserstein[level] for _, card in cards] + [last.sliced_wasserstein_floor[level]]
        ratio = ratios and ratios["sliced_wasserstein"][level]
        rows.append(_score_row(level if level == "average" else f"level {level}", "↓", values, ratios, ratio))
    for network in sorted(last.networks, key=lambda network: bool(network.marks)):
        marks = "".join(f'<span class="mark">⚠ {escape(mark)}</span>' for mark in network.marks)
        about = escape(f"{network.name}: {network.dim} features, trained on {network.trained_on}")
        rows.append(f'<tr class="network"><th colspan="5">{about}{marks}</th></tr>')
        peers = [{peer.name: peer for peer in card.networks}[network.name] for _, card in cards]
        for score in network.scores:
            values = [peer.scores[score] for peer in peers] + [network.floor[score]]
            ratio = ratios and ratios[network.name][score]
            rows.append(_score_row(score, _BEST.get(score, ""), values, ratios, ratio))
            if score in network.reasons:
                rows.append(f'<tr class="reason"><td colspan="5">{escape(network.reasons[score])}</td></tr>')
    protocol = last.protocol
    note = f"{protocol['samples']:,} samples on each side, {'x'.join(map(str, protocol['resolution']))}, seed {protocol['seed']}"
    note += "; ↓ lower is better, ↑ higher is better; real against real is what a perfect generator would get."
    head = "".join(f"<th>{escape(title)}</th>" for title in ["score", *titles])
    return (
        f'<div class="wide"><table class="scores"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        f'<p class="faint">{escape(note)}</p>'
    )


def _score_row(name: str, best: str, values: Sequence[float | None], ratios: Any, ratio: float | None) -> str:
    cells = "".join(f"<td>{'none' if value is None else f'{value:.4g}'}</td>" for value in values)
    if ratios:
        better = {"↓": "good" if ratio and ratio < 1 else "bad", "↑": "good" if ratio and ratio > 1 else "bad"}
        style = better.get(best, "") if ratio not in (None, 1.0) else ""
        cells += f'<td class="{style}">{"" if ratio is None else f"x {ratio:.3g}"}</td>'
    return f"<tr><th>{escape(name)} {best}</th>{cells}</tr>"


def _data(content: Mapping[str, Any]) -> str:
    rows = [("source", content["source"]), ("count", f"{content['count']:,}")]
    counts = list((content.get("class_counts") or {}).items())
    if counts:
        more = f", ... ({len(counts):,} classes)" if len(counts) > _LISTED else ""
        rows.append(("classes", ", ".join(f"{name} ({count:,})" for name, count in counts[:_LISTED]) + more))
    rows += [("note", note) for note in content.get("notes") or ()]
    problems = content.get("problems") or []
    rows += [("skipped", f"{len(problems):,} files"), ("fingerprint", content.get("fingerprint", ""))]
    html = '<dl class="pairs">' + "".join(f"<dt>{k}</dt><dd>{escape(str(v))}</dd>" for k, v in rows) + "</dl>"
    if not problems:
        return html
    lines = "".join(
        f"<tr><td><code>{escape(str(problem['path']))}</code></td><td>{escape(str(problem['reason']))}</td></tr>"
        for problem in problems
    )
    table = f"<table><thead><tr><th>file</th><th>why it was skipped</th></tr></thead><tbody>{lines}</tbody></table>"
    return html + (table if len(problems) <= _LISTED else _details(f"{len(problems):,} skipped files", table))


def _transfers(content: Sequence[Mapping[str, Any]]) -> str:
    shown = []
    for transfer in content:
        shown.append(f"<h3>{escape(str(transfer['target']))} from {escape(str(transfer['source']))}</h3>")
        for kind in ("loaded", "skipped", "mismatched"):
            names = transfer.get(kind) or []
            shown.append(_details(f"{len(names):,} {kind}", _list(names)) if names else f"<p>0 {kind}</p>")
    return "".join(shown)
