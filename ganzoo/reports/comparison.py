"""One page for several runs: scores over time, with the time of the pretraining, and the newest samples."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from ganzoo.errors import TrainingError
from ganzoo.files.reading import guard, is_number, read_objects
from ganzoo.recipes import entries, yaml_files
from ganzoo.reports.page import bullets, chart, image, on_one_axis, show, table, write_page
from ganzoo.reports.study import in_words
from ganzoo.runs import exports, seeds
from ganzoo.runs.checkpoints import numbered
from ganzoo.runs.kept_data import described
from ganzoo.runs.lineage import clocks, pretraining_time, untimed_sources

_AXIS = "minutes of training and pretraining"
_TIMES = {"pretraining": "pretraining_seconds", "training": "seconds"}
_DISTANCES = ("sliced", "fid", "kid")  # names of scores that fall over orders of magnitude begin so


def compare_runs(runs: Sequence[str | Path], out: str | Path = "comparison.html") -> dict[str, Any]:
    """Write a page that compares runs: the scores of their checks over time, their last ones, their samples.

    Times are those of training: what a run began from counts, scoring does not. The network-free score is taken every
    `evaluation.every` samples, others where the recipe's `evaluation.check_networks` names their networks.

    Runs of the same recipe with several seeds are taken together: the page gives the ratio of each recipe's last scores
    to those of the first run's recipe, with a 95% band (`ganzoo.metrics.bands`).

    Args:
        runs: run directories of GANs, two or more.
        out: the page (HTML).

    Returns:
        `{"out", "runs": [{"run", "entry", "pretraining_seconds", "seconds", "samples", "scores"}], "ratios": [{"score",
        "runs", "reference", "ratio", "low", "high", "difference_shown"}]}`. A ratio of a score that is not positive is
        None. Without two seeds of a recipe, `low` and `high` are None.

    Raises:
        TrainingError: fewer than two runs, or one that is no run, or runs on different data.
    """
    places = [Path(run).resolve() for run in runs]
    if len(runs) < 2 or len(set(places)) < len(runs):
        raise TrainingError("Two runs or more, each named once, can be compared. Name their directories.")
    unread: list[str] = []
    found = []
    for run in runs:
        with guard(run, TrainingError, "Values in the files of this run were changed. Leave it out."):
            found.append(_read(Path(run), unread))
    data = {run["run"]: run["data"] for run in found}
    if len(set(data.values()) - {None}) > 1:
        raise TrainingError(
            f"These runs were trained on different data, so their scores cannot be compared: {data}. Name runs that "
            "were trained on the same data."
        )
    protocols = _name_protocols(found)
    labels = _labels([run["run"] for run in found])
    names = list(dict.fromkeys(name for run in found for name in run["curves"]))
    charts = [_chart(name, found, labels) for name in names]
    named = [{**run, "run": label} for run, label in zip(found, labels, strict=True)]
    found_ratios = seeds.differences(named, [name for name in names if name.startswith(_DISTANCES)])
    rows = [["entry", *(run["entry"] for run in found)]]
    rows += [[f"minutes of {key}", *(run[name] / 60 for run in found)] for key, name in _TIMES.items()]
    rows += [["samples", *(run["samples"] for run in found)]]
    rows += [[name, *(run["scores"].get(name, "") for run in found)] for name in names]
    figures = [
        image(run["grid"], f"{label}, {run['samples']:,} samples", unread)[0]
        for label, run in zip(labels, found, strict=True)
        if run["grid"]
    ]
    sections = {
        "Scores over time": f'<div class="charts">{"".join(charts)}</div>' if charts else "",
        "Exports: quality against size and time": exports.curves(
            {label: run["exported"] for label, run in zip(labels, found, strict=True)}
        ),
        "Last scores": table(["", *labels], rows, "scores"),
        "Is a difference more than noise?": _ratios(found_ratios),
        "Samples": f'<div class="stage">{"".join(figures)}</div>',
        "Left out of this page": bullets(unread),
    }
    note = _note(found, labels, protocols)
    body = [f"<h1>{len(found)} runs</h1><p>{escape(note)}</p>"]
    body += [f"<section>\n<h2>{title}</h2>\n{content}\n</section>" for title, content in sections.items() if content]
    path = write_page(Path(out), "Comparison", body)
    kept = ("run", "entry", "pretraining_seconds", "seconds", "samples", "scores")
    return {
        "out": str(path),
        "runs": [{key: run[key] for key in kept} for run in found],
        "ratios": [_plain(one) for one in found_ratios],
    }


def _plain(one: seeds.Difference) -> dict[str, Any]:
    """A ratio as a dict."""
    ends = (one.band.value, one.band.low, one.band.high) if one.band.is_ratio else (None, None, None)
    return {
        "score": one.score,
        "runs": list(one.runs),
        "reference": list(one.reference),
        **dict(zip(("ratio", "low", "high"), ends, strict=True)),
        "difference_shown": one.band.shown,
    }


def _ratios(found: Sequence[seeds.Difference]) -> str:
    """The table of ratios, with what must be known to read it; nothing where all runs have the same recipe."""
    if not found:
        return ""
    text = (
        f"Ratios to {', '.join(found[0].reference)}, of the geometric means over the seeds. The bands of a score hold "
        "all true ratios with a probability of 95% (Bonferroni's correction)."
    )
    if all(one.band.low is None for one in found):
        text += " No recipe has runs with two seeds, so there are no bands, and no difference is shown."
    rows = [[one.score, ", ".join(one.runs), in_words(one.band)] for one in found]
    return f"<p>{escape(text)}</p>{table(['score', 'runs', 'ratio'], rows, 'scores')}"


def _name_protocols(runs: Sequence[dict[str, Any]]) -> bool:
    """Whether runs were scored on different numbers of samples; their scores then get names that say on how many."""
    if len({run["scored"] for run in runs if run["curves"]}) < 2:
        return False
    for run in runs:
        for key in ("curves", "scores"):
            run[key] = {f"{name} ({run['scored']:,} samples)": value for name, value in run[key].items()}
    return True


def _note(runs: Sequence[Mapping[str, Any]], labels: Sequence[str], protocols: bool) -> str:
    """What has to be known to read the page."""
    note = "Lower is better, except for precision, recall and coverage (higher is better) and density (best at 1)."
    if protocols:
        note += (
            " These runs were scored on different numbers of samples (evaluation.every_samples), and scores depend on "
            "the number of samples: the name of each score states it, and only scores of the same name are comparable."
        )
    if None in (run["data"] for run in runs):
        note += " It is not known whether these runs were trained on the same data: a dataset cannot be checked."
    given = {label: run["given"] for label, run in zip(labels, runs, strict=True) if run["given"]}
    if given:
        listed = "; ".join(f"{label}: {', '.join(names)}" for label, names in given.items())
        note += f" The training of weights that runs were given took time, too, which is not counted here: {listed}."
    counted = {label: run["clocks"] for label, run in zip(labels, runs, strict=True)}
    if len(set().union(*counted.values())) > 1:
        listed = ", ".join(f"{label}: {' and '.join(sorted(names))}" for label, names in counted.items())
        note += f" These runs counted different times (training.clock), so compare scores over samples: {listed}."
    return note


def curves(run: Path, unread: list[str]) -> dict[str, list[tuple[float, float]]]:
    """A run's scores by name, each a list of (seconds of training and pretraining, score)."""
    before = pretraining_time(run)
    found: dict[str, dict[float, tuple[float, float]]] = {}
    for check in read_objects(run / "checks.jsonl", "seconds", "samples", unread=unread):
        scores = {str(check.get("name")): check.get("score"), **_flat(check.get("scores"))}
        for name, value in scores.items():
            if is_number(value):
                # A resumed run is checked again: the last check at a number of samples counts.
                found.setdefault(name, {})[check["samples"]] = (before + check["seconds"], value)
    return {name: sorted(points.values()) for name, points in found.items()}


def _flat(scores: Any) -> dict[str, Any]:
    flat = {}
    for name, value in scores.items() if isinstance(scores, Mapping) else ():
        if isinstance(value, Mapping):
            flat |= {f"{key}, {name}": score for key, score in value.items()}
        else:
            flat[name] = value
    return flat


def _read(run: Path, unread: list[str]) -> dict[str, Any]:
    if not (run / yaml_files.RUN_RECIPE).is_file() or not (run / "metrics.jsonl").is_file():
        raise TrainingError(f"{run} is not a run directory with a training in it. Train first, or name another.")
    raw = entries.get_entry(str(run)).raw
    if raw.get("pretrain"):
        raise TrainingError(
            f"{run} is a pretraining, and has no samples to score. Compare the runs that started from it."
        )
    lines = read_objects(run / "metrics.jsonl", "samples", "seconds", unread=unread)
    grids = list(numbered(run / "samples", ".png").values())
    points = curves(run, unread)
    data = described(run)
    return {
        "run": str(run),
        "entry": raw.get("entry", ""),
        "recipe": seeds.signature(run),
        "data": data.get("samples_fingerprint"),
        "clocks": clocks(run),
        "given": untimed_sources(run),
        "scored": min((raw.get("evaluation") or {}).get("every_samples", math.inf), data.get("count") or math.inf),
        "pretraining_seconds": pretraining_time(run),
        "seconds": lines[-1]["seconds"] if lines else 0.0,
        "samples": lines[-1]["samples"] if lines else 0,
        "scores": {name: values[-1][1] for name, values in points.items()},
        "curves": points,
        "exported": exports.best_files(run),
        "grid": grids[-1] if grids else None,
    }


def _labels(runs: Sequence[str]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    parts = [Path(run).parts for run in runs]
    depth = next(n for n in range(1, 99) if len({p[-n:] for p in parts}) == len(set(parts)))
    return ["/".join(p[-depth:]) for p in parts]


def _chart(name: str, runs: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> str:
    """A score of all runs over the time."""
    xs, series = on_one_axis({label: run["curves"].get(name, []) for label, run in zip(labels, runs, strict=True)})
    return chart(show(name), [x / 60 for x in xs], series, axis=_AXIS, log=name.startswith(_DISTANCES))
