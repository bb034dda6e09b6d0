"""`report.html` of a run: one file that needs no network and no script, whatever the run has written so far.

What a run directory lacks is left out. What it holds but cannot be read is named at the end of the report.
"""

import datetime
import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ganzoo.errors import EvaluationError, GanzooError, TrainingError
from ganzoo.files.reading import is_number, read_json, read_objects
from ganzoo.metrics.card import EXPLAINED, TOO_FEW, NetworkScores, Repeats, Scorecard, average_first, label
from ganzoo.metrics.scorecard import compare
from ganzoo.recipes.yaml_files import read_yaml
from ganzoo.reports.page import bullets, chart, details, image, pairs, read_text, show, table, write_page
from ganzoo.runs import exports
from ganzoo.runs.lineage import REPORT

_GRIDS = 12
_LISTED = 30
_BEST = {"precision": "↑", "recall": "↑", "density": "→ 1", "coverage": "↑"}  # anything else is a distance: lower


def write_report(run: Path) -> Path:
    """Write `report.html` into the run directory `run`, in one step, and return its path.

    It shows the recipe, the curves of `metrics.jsonl` over samples seen, the grids of `samples/`, the data report, the
    scorecards, the exports, the transferred weights and the events, each as far as the run has written it.

    Raises:
        TrainingError: `run` is not a run directory: it has no `recipe.yaml`.
        RecipeError: `recipe.yaml` is no valid YAML.
    """
    run, unread = Path(run), []
    if not (run / "recipe.yaml").is_file():
        raise TrainingError(
            f"No run directory: {run} has no recipe.yaml. Start a run: `ganzoo train NAME --data DATA --run DIR`."
        )
    recipe = read_yaml(run / "recipe.yaml")
    lines = read_objects(run / "metrics.jsonl", "samples", unread=unread)
    last_of = {line["samples"]: line for line in lines}  # a resumed run writes lines again: the last ones count
    metrics = [last_of[samples] for samples in sorted(last_of)]
    events = [
        (line.get("samples", ""), line.get("text", "")) for line in read_objects(run / "events.jsonl", unread=unread)
    ]
    checks = read_objects(run / "checks.jsonl", "samples", unread=unread)
    sections = {
        "Samples over time": _samples(run / "samples", unread),
        "Events": table(("samples", "event"), events),
        "Scores": _from_json(run / "scores.json", _scores, unread),
        "Best weights": _checks(checks, events),
        "Guards": _guards(read_objects(run / "guards.jsonl", unread=unread), events),
        "Curves": _curves(metrics, events),
        "Exports": _from_json(run / exports.EXPORTS, exports.to_html, unread),
        "Data": _from_json(run / "data.json", _data, unread),
        "Transferred weights": _from_json(run / REPORT, _transfers, unread),
        "Recipe": details("recipe.yaml", f"<pre>{escape(read_text(run / 'recipe.yaml'))}</pre>"),
        "Left out of this report": bullets(unread),
    }
    body = [f"<section>\n<h2>{title}</h2>\n{content}\n</section>" for title, content in sections.items() if content]
    return write_page(run / "report.html", str(recipe.get("entry", "run")), [_header(recipe, metrics), *body])


def _from_json(path: Path, to_html: Callable[[Any], str], unread: list[str]) -> str:
    """The HTML of a JSON file; nothing where it is missing, or where it is broken, which is then noted."""
    try:
        return to_html(read_json(path)) if path.is_file() else ""
    except (GanzooError, ValueError, KeyError, TypeError, AttributeError) as error:  # pydantic's errors are ValueErrors
        unread.append(f"{path.name}: not in the expected form ({type(error).__name__}: {error})")
        return ""


def _header(recipe: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> str:
    last = metrics[-1] if metrics else {"samples": 0}
    facts = [
        ("samples seen", last["samples"]),
        ("samples, by the recipe", dict(recipe.get("training") or {}).get("samples")),
    ]
    if is_number(last.get("seconds")):
        facts.append(("training time", datetime.timedelta(seconds=round(last["seconds"]))))
    facts += [("steps", last.get("step")), ("samples per second", last.get("samples_per_second"))]
    paper = escape(str(recipe.get("paper") or ""))
    if re.fullmatch(r"https?://\S+", paper):
        paper = f'<a href="{paper}" rel="noreferrer">{paper}</a>'
    title, summary = show(recipe.get("entry", "run")), show(recipe.get("summary", ""))
    return f'<h1>{title}</h1>\n<p>{summary}</p>\n<p class="faint">{paper}</p>\n{pairs(facts, "facts")}'


def _samples(folder: Path, unread: list[str]) -> str:
    """The grids over time, chosen by radio buttons (no script), beside the reals."""
    found = sorted((int(path.stem), path) for path in folder.glob("*.png") if re.fullmatch("[0-9]+", path.stem))
    chosen = sorted({round(index * (len(found) - 1) / (_GRIDS - 1)) for index in range(_GRIDS)}) if found else []
    shown, columns = [], []
    for samples, path in (found[index] for index in chosen):
        caption = f"Generated after {samples:,} samples" if samples else "Generated before any step"
        figure, thumbnail = image(path, caption, unread)
        if figure:
            label = f'<label for="grid{samples}"><img src="{thumbnail}" alt="">{samples:,}</label>'
            shown.append(f'<input type="radio" name="grid" id="grid{samples}">{label}{figure}')
    if shown:
        shown[-1] = shown[-1].replace("<input", "<input checked", 1)
        hint = f'<p class="faint">{len(shown)} of {len(found)} grids; choose one by its small image.</p>'
        columns.append(f'<div><div class="time">{"".join(shown)}</div>{hint}</div>')
    if (folder / "reals.png").is_file():
        columns.append(image(folder / "reals.png", "Real samples", unread)[0])
    return f'<div class="stage">{"".join(columns)}</div>' if any(columns) else ""


def _scores(content: Sequence[Mapping[str, Any]]) -> str:
    """The first and the last scorecard beside their floor: side by side only where their protocols agree.

    Of several after as many samples, the one over the most networks and images counts, the last of equal ones.
    """
    found: dict[int, Scorecard] = {}
    for entry in content:
        card = Scorecard.from_dict(entry["scorecard"])
        if _extent(card) >= _extent(found.get(entry["samples"])):
            found[entry["samples"]] = card
    cards = [(samples, found[samples]) for samples in sorted(found)]
    if len(cards) < 2:
        return _score_tables(cards, {}) if cards else ""
    try:
        return _score_tables([cards[0], cards[-1]], compare(cards[0][1], cards[-1][1]))
    except EvaluationError as error:
        return f'<p class="mark">{show(error)}</p>' + "<hr>".join(_score_tables([cards[i]], {}) for i in (0, -1))


def _extent(card: Scorecard | None) -> tuple[int, int]:
    """Over how many networks and samples a card is."""
    return (0, 0) if card is None else (len(card.networks), card.protocol["samples"])


def _score_tables(cards: Sequence[tuple[int, Scorecard]], ratios: Mapping[str, Mapping[str, float | None]]) -> str:
    """Scorecards of one protocol: the scores without a network first, flattered networks last."""
    last = cards[-1][1]
    certain = bool(last.sliced_wasserstein_intervals)  # cards of earlier versions have no intervals
    head = ["samples seen", *(f"{samples:,}" for samples, _ in cards), *["±"] * certain, "real vs real"]
    head += ["change"][: len(ratios)]
    html = pairs(list(EXPLAINED.items()), "terms")
    for index, kind in enumerate(last.without_network()):
        measured = [_peer(card.without_network(), kind.name) for _, card in cards]
        rated = ratios.get("sliced_wasserstein" if index == 0 else kind.name, {})
        arrows = dict.fromkeys(kind.floor, {"1": "→ 1"}.get(kind.best, "↓"))
        html += f"<h3>{show(kind.name[:1].upper() + kind.name[1:])}, no network</h3>"
        intervals = kind.intervals if certain else None
        html += table(head, _score_rows(measured, kind.floor, rated if ratios else None, arrows, intervals), "scores")
    for network in sorted(last.networks, key=lambda network: bool(network.marks)):
        measured = [_peer(card.networks, network.name) for _, card in cards]
        rated, intervals = ratios.get(network.name, {}) if ratios else None, network.intervals if certain else None
        rows = _score_rows(measured, network.floor, rated, _BEST, intervals)
        title = f"{network.name}: {network.dim} features, trained on {network.trained_on}"
        html += f"<h3>{show(title)}</h3>" + "".join(f'<p class="mark">⚠ {show(mark)}</p>' for mark in network.marks)
        rows += _repeat_rows([_repeats(card, network.name) for _, card in cards], certain, bool(ratios))
        html += table(head, rows, "scores") + bullets([*dict.fromkeys(network.reasons.values()), *_over_fits(network)])
    size = "x".join(str(number) for number in last.protocol["resolution"])
    note = f"{last.protocol['samples']:,} samples on each side, {size}. ↓ lower is better, ↑ higher is better."
    if last.identical is not None:
        note += (
            f" {last.identical:,} of the samples equal another one, {last.identical_reals:,} of as many real images."
        )
    note += " Real vs real: what other real images score, the best there can be."
    if certain:
        note += " ±: half of the 95% interval of the last score, over samples, real images and fits."
    note += f" {TOO_FEW.capitalize()}: with so few samples, real images may score the same."
    return f'{html}<p class="faint">{show(note)}</p>'


def _peer(scores: Sequence[Any], name: str) -> Mapping[str, float | str | None]:
    """The shown scores of the group called `name`; none where a card of an earlier version lacks it."""
    return next((one.shown() for one in scores if one.name == name), {})


def _score_rows(
    measured: Sequence[Mapping[str, float | str | None]],
    floor: Mapping[str, float | None],
    ratios: Mapping[str, float | None] | None,
    arrows: Mapping[str, str],
    intervals: Mapping[str, float] | None = None,
) -> list[list[Any]]:
    """A row for each score: name, values, the last one's interval, floor, and its change where `ratios` tell one."""
    rows = []
    for name in average_first(floor):
        untold = any(isinstance(one.get(name), str) for one in measured)
        rated = None if untold else (ratios or {}).get(name)
        change = [] if ratios is None else ["" if rated is None else f"x {rated:.3g}"]
        digits = not isinstance(measured[-1].get(name), str)
        interval = [] if intervals is None else [f"{intervals[name]:.2g}" if digits and name in intervals else ""]
        values = (one.get(name) for one in measured)
        rows.append([f"{label(name)} {arrows.get(name, '↓')}", *values, *interval, floor[name], *change])
    return rows


def _over_fits(network: NetworkScores) -> list[str]:
    """What the scores of the last card are over several fits of the network."""
    ranges = {name: network.range_over_fits(name) for name in network.scores}
    listed = [f"{name} {over[0]:.4g} to {over[1]:.4g}" for name, over in ranges.items() if over]
    return (
        [f"Means of {len(network.fits)} fits of the network. Range of the last: {', '.join(listed)}."] if listed else []
    )


def _repeats(card: Scorecard, network: str) -> Repeats | None:
    return next((one.repeats for one in card.networks if one.name == network), None)


def _repeat_rows(found: Sequence[Repeats | None], certain: bool, rated: bool) -> list[list[Any]]:
    """How alike the samples are; nothing where the last card does not say it."""
    if found[-1] is None:
        return []
    rows = []
    for name, key in (("spread of the features → 1", "spread"), ("near-identical samples ↓", "near")):
        values = [None if one is None else getattr(one, key) for one in found]
        rows.append([name, *values, *[""] * certain, getattr(found[-1], f"{key}_reals"), *[""] * rated])
    return rows


def _checks(checks: Sequence[Mapping[str, Any]], events: Sequence[tuple[Any, Any]]) -> str:
    """The quick score over samples seen, and where it was best: the weights in `best/`."""
    score_at = {check["samples"]: check["score"] for check in checks if is_number(check.get("score"))}
    if not score_at:
        return ""
    xs = sorted(score_at)
    best = min(xs, key=lambda samples: score_at[samples])
    name, protocol = str(checks[-1].get("name", "score")), _check_protocol(checks)
    text = (
        f"{show(name)}{escape(protocol)}: a quicker form of the score under Scores, and not comparable with it. "
        f"Lowest value {show(score_at[best])} after {best:,} samples: the weights in best/."
    )
    drawn = chart(f"{name} while training{protocol}", xs, {name: [score_at[x] for x in xs]}, events)
    return f'<p>{text}</p><div class="charts">{drawn}</div>'


def _check_protocol(checks: Sequence[Mapping[str, Any]]) -> str:
    counts = {check["count"] for check in checks if is_number(check.get("count"))}
    return f" ({counts.pop():,} samples)" if len(counts) == 1 else ""


_GUARDED = {
    "spread": "the mean distance between two samples, divided by that between two real images; near 0: all are alike",
    "coverage": "the share of real images that have a sample nearby",
    "recall": "the share of real images that lie within the range of the samples",
    "lead": "how much higher the discriminator rates real images than samples, in logits",
}


def _guards(found: Sequence[Mapping[str, Any]], events: Sequence[tuple[Any, Any]]) -> str:
    """What the guards against collapse measured, over samples seen; their warnings are events."""
    found = [one for one in found if is_number(one.get("samples"))]
    if not found:
        return ""
    xs = [one["samples"] for one in found]
    shares = {name: [one.get(name) for one in found] for name in ("spread", "coverage", "recall")}
    lead = {"lead of the discriminator": [one.get("lead") for one in found]}
    charts = chart("samples compared with real images, 8 x 8 colours", xs, shares, events)
    charts += chart("lead of the discriminator, logits", xs, lead, events)
    warned = sum(bool(one.get("signs")) for one in found)
    text = f"{len(found)} {'check' if len(found) == 1 else 'checks'}, {warned} with a warning."
    return f'<p>{text}</p>{pairs(list(_GUARDED.items()), "terms")}<div class="charts">{charts}</div>'


def _curves(metrics: Sequence[Mapping[str, Any]], events: Sequence[tuple[Any, Any]]) -> str:
    """Losses, logits and speed, and each other number (penalties differ by orders of magnitude) on its own."""
    groups: dict[str, dict[str, list]] = {"losses": {}, "logits": {}, "samples per second": {}}
    xs = [line["samples"] for line in metrics]
    for key in dict.fromkeys(key for line in metrics for key, value in line.items() if is_number(value)):
        name = key.replace("_", " ")
        if key not in ("samples", "step", "seconds"):
            title = {"loss": "losses", "logits": "logits"}.get(name.split()[-1], name)
            groups.setdefault(title, {})[name] = [line.get(key) for line in metrics]
    charts = "".join(chart(title, xs, series, events) for title, series in groups.items() if series)
    return f'<div class="charts">{charts}</div>' if charts else ""


def _data(content: Mapping[str, Any]) -> str:
    counts, problems = list((content.get("class_counts") or {}).items()), content.get("problems") or []
    listed = ", ".join(f"{name} ({count:,})" for name, count in counts[:_LISTED])
    listed += f", ... ({len(counts):,} classes)" if len(counts) > _LISTED else ""
    rows = [("source", content["source"]), ("samples", content["count"]), ("classes", listed or "none")]
    rows += [("note", note) for note in content.get("notes") or ()]
    rows += [("fingerprint", content.get("fingerprint")), ("skipped files", len(problems))]
    skipped = table(("skipped file", "reason"), [(problem["path"], problem["reason"]) for problem in problems])
    return pairs(rows, "pairs") + (details("skipped files", skipped) if len(problems) > _LISTED else skipped)


def _transfers(content: Sequence[Mapping[str, Any]]) -> str:
    html = ""
    for transfer in content:
        html += f"<h3>{show(transfer['target'])} from {show(transfer['source'])}</h3>"
        lists = {kind: transfer.get(kind) or [] for kind in ("loaded", "skipped", "mismatched")}
        if not any(lists.values()):
            html += "<p>No weights: its samples for the same latents are what was learnt.</p>"
            continue
        html += "".join(details(f"{len(names):,} {kind}", bullets(names) or "none") for kind, names in lists.items())
    return html
