"""Studies: rows of methods, columns of data sets, seeds; equal time for every cell, resumable at any point.

Time is what processors worked for the training (`training.clock: processor`), all threads together, so that cells which
were done beside other work, or in several processes at once (of other seeds or sets), compare fairly: pin each process
to one core.

What is counted is the training: scoring is not, nor is what is compiled before the first step (some seven seconds for a
GAN, five for a pretraining, on one core). What is compiled later, when layers are unfrozen, counts.

A study is a YAML in `zoo_configs/_studies/`. A cell is a run directory `OUT/SET/ROW/SEED`; a pretraining that several
rows share is done once, and its time is taken from the training of each.

Cells are scored against images of the source that were not trained on (up to `reference` of them; any of the source
where fewer than a quarter of that are left).
"""

import csv
import hashlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganzoo import pretraining
from ganzoo.domains import get_domain
from ganzoo.errors import DataError, GanzooError, RecipeError, unknown_name
from ganzoo.files.reading import read_json, read_objects
from ganzoo.files.writing import write_json, write_text
from ganzoo.metrics.arrays import content_hash
from ganzoo.recipes import entries
from ganzoo.recipes.schema import Recipe
from ganzoo.recipes.yaml_files import merge, nest, read_yaml
from ganzoo.reports import study as study_report
from ganzoo.reports.comparison import curves
from ganzoo.runs.evaluate import score
from ganzoo.runs.finetune import finetune
from ganzoo.runs.lineage import pretraining_times
from ganzoo.runs.train import check_apart, pretrain, train
from ganzoo.weights import preset_files
from ganzoo.zoo.load import load

log = logging.getLogger("ganzoo")

RESULT, RESULTS = "result.json", "results.json"
_LARGE = ("curves", "scorecard", "conditions", "warnings")  # what results.csv has no columns for


def list_studies() -> dict[str, str]:
    """The studies by name, each with its summary."""
    return {name: read_yaml(path)["summary"] for name, path in entries.recipe_paths("_studies").items()}


def bench(
    study: str,
    out: str | Path,
    data: Mapping[str, Any],
    *,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    minutes: float | None = None,
    overrides: Mapping[str, Any] | None = None,
    sources: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Run a study, or continue it; cells that are done are kept.

    Args:
        study: one of `list_studies()`.
        out: a folder for runs and results; `results.json`, `results.csv`, `results.md` (tables) and `results.png`
            (curves) in it hold the results so far. Cells in a `results.json` there need no run directories.
        data: real data by the names of the study's sets; sets without data are left out.
        rows: some of its rows; all by default.
        seeds: some seeds; the study's by default.
        minutes: a cell's time; pretraining takes the same share of it as in the study.
        overrides: recipe keys for all cells; optimizers by the networks' names, that of a pretraining is `student`.
        sources: by the names of the sets, the run or entry whose GAN is fine-tuned; the set's own entry, with its
            published weights, by default. Where those were trained on the set itself (its `source: other`), rows that
            fine-tune are left out without one.

    Returns:
        The cells that are done, each as a flat dict.

    Raises:
        GanzooError: an unknown set or row, a wrong key, or cells in `out` that were done under other conditions. A cell
            that fails is noted as failed, and tried again the next time; it is an error where all of them do.
    """
    paths = entries.recipe_paths("_studies")
    if study not in paths:
        raise RecipeError(unknown_name("study", study, paths))
    plan = read_yaml(paths[study])
    sources = dict(sources or {})
    for what, asked, known in (("set", [*data, *sources], plan["sets"]), ("row", rows or (), plan["rows"])):
        for name in asked:
            if name not in known:
                raise RecipeError(unknown_name(f"{what} of the study {study}", name, known))
    if unused := sorted(set(sources) - set(data)):
        raise RecipeError(f"A source is given for {', '.join(unused)}, but no data. Give --data for it too.")
    for row in rows or ():
        if not any(_in(plan, name, row, name in sources) for name in data):
            raise RecipeError(
                f"The row '{row}' is done on none of {', '.join(data)}: it is for other sets, or needs a --source."
            )
    out = Path(out)
    for source in data.values():
        check_apart(out, source)
    _restore(out)
    rows = rows or list(plan["rows"])
    changes = nest(overrides or {})
    sets = {name: _subset(plan["sets"][name], source, plan["reference"], changes) for name, source in data.items()}
    cells = [
        _Cell(plan, name, row, seed, out, minutes, changes, sources.get(name))
        for row in rows
        for name in sets
        if _in(plan, name, row, name in sources) and _has_labels(plan["rows"][row], row, name, sets[name])
        for seed in (seeds or plan["seeds"])[: 1 if plan["rows"][row].get("published") else None]
    ]
    for cell in {(cell.set_name, cell.row_name): cell for cell in cells}.values():  # its seeds share them
        cell.check_recipes()
    for cell in {cell.set_name: cell for cell in cells}.values():  # one for each set
        cell.check_conditions(sets[cell.set_name])
    for cell in cells:
        if cell.do(sets[cell.set_name]):
            _write(out, plan)
    done = _write(out, plan)
    failures = [text for cell in cells if (text := cell.failure())]
    if cells and len(failures) == len(cells):
        raise GanzooError(f"None of the {len(cells)} cells could be done. The first: {failures[0]}")
    return done


def _in(plan: Mapping[str, Any], name: str, row: str, has_source: bool) -> bool:
    """Whether a row is done on a set: both may name those of the other that they are for."""
    rows, sets = plan["sets"][name].get("rows"), plan["rows"][row].get("sets")
    if _transfers(plan["rows"][row]) and plan["sets"][name].get("source") == "other" and not has_source:
        return False
    return (rows is None or row in rows) and (sets is None or name in sets)


def _transfers(row: Mapping[str, Any]) -> bool:
    """Whether a row begins with another GAN, or with parts of it, or is that GAN."""
    return bool(row.get("finetune") or row.get("given") or row.get("published"))


def _methods(row: Mapping[str, Any]) -> list[str]:
    methods = row.get("method") or []
    return [methods] if isinstance(methods, str) else list(methods)


def _pretraining_folders(rows: Mapping[str, Mapping[str, Any]], name: str) -> list[str]:
    """The folders of a row's pretrainings, those before it in turn first: rows share what is the same in them.

    One that depends on options, or on a share of the time, that a row has of its own bears the first such row's name.
    """

    def what(row: Mapping[str, Any], count: int) -> tuple[list[str], dict[str, Any], float | None]:
        methods, options = _methods(row)[:count], row.get("pretrain") or {}
        return methods, {one: options[one] for one in methods if one in options}, row.get("pretraining_share")

    found = []
    for count in range(1, len(_methods(rows[name])) + 1):
        methods, options, share = mine = what(rows[name], count)
        first = next(other for other in rows if what(rows[other], count) == mine)
        of_its_own = [] if share is None and not options else [_folder(first)]
        found.append("_".join(["pretraining", *methods, *of_its_own]))
    return found


def _has_labels(row: Mapping[str, Any], name: str, set_name: str, samples: "_Samples") -> bool:
    """Whether a row finds the classes that it needs, if it needs any."""
    if samples.labels is not None or not any(pretraining.task_class(method).labelled for method in _methods(row)):
        return True
    log.warning(
        "%s: '%s' is left out, the data have no classes. Give a folder with one folder a class.", set_name, name
    )
    return False


class _Samples(NamedTuple):
    """What a set's cells are trained on, and what they are scored against."""

    images: np.ndarray
    labels: np.ndarray | None
    reference: np.ndarray
    held_out: bool  # whether none of the reference was trained on


class _Cell:
    def __init__(
        self,
        plan: Mapping[str, Any],
        name: str,
        row: str,
        seed: int,
        out: Path,
        minutes: float | None,
        overrides: dict[str, Any],
        source: str | None,
    ):
        self._set, self._row = plan["sets"][name], plan["rows"][row]
        self._source = source or self._set["entry"] if _transfers(self._row) else None
        self._given_source = entries.get_entry(source) if source else None
        self._names = {"set": name, "row": row, "seed": seed}
        self.set_name, self.row_name, self._out = name, row, out
        self._minutes = minutes or self._set["minutes"]
        self._usual_minutes = plan.get("pretraining_share", 0.0) * self._minutes
        share = self._row.get("pretraining_share")
        self._pretraining_minutes = self._usual_minutes if share is None else share * self._minutes
        self._run = out / name / _folder(row) / str(seed)
        self._methods = _methods(self._row)
        self._options = self._row.get("pretrain") or {}
        self._pretrainings = [out / name / one / str(seed) for one in _pretraining_folders(plan["rows"], row)]
        self._plan = plan
        checks = {**plan["checks"], "check_networks": ["self_supervised"]}
        timed = {"training": {"clock": "processor"}}
        shared = merge(timed, nest(self._set.get("overrides") or {}))
        self._common = merge(shared, _with_optimizers(overrides, of_pretrainings=True))
        own = merge(shared, nest(self._set.get("gan_overrides") or {}))
        self._overrides = merge(merge({"evaluation": checks}, own), _with_optimizers(overrides, of_pretrainings=False))

    def check_recipes(self) -> None:
        """Raise a `RecipeError` where a recipe is wrong, or that of the source another."""
        entry = entries.get_entry(self._set["entry"])
        entry.recipe(**merge(self._overrides, nest(self._row.get("overrides") or {})))
        for method in self._methods:
            pretraining.recipe(method, self._set["entry"], self._of_pretraining(method))
        if self._given_source:
            mine, others = (_training_of(one.recipe(**self._overrides)) for one in (entry, self._given_source))
            if different := [key for key in mine if mine[key] != others[key]]:
                raise RecipeError(
                    f"--source {self._source} was trained by another recipe than {self._set['entry']} ({different}), "
                    "and would be fine-tuned by it: rows could not be compared. Train a source by the entry's recipe."
                )

    def check_conditions(self, samples: _Samples) -> None:
        """Raise a `RecipeError` where a cell of the set was done under other conditions."""
        wanted = self._conditions(samples)
        for path in sorted(self._out.glob(f"{self.set_name}/*/*/{RESULT}")):
            cell = read_json(path, dict)
            found = cell.get("conditions") or {}
            if "failed" in cell:  # it will be tried again
                continue
            different = [key for key in wanted if found.get(key) != wanted[key]]
            if different:
                raise RecipeError(
                    f"{path.parent} was done under other conditions ({', '.join(different)}), so that its numbers "
                    "could not be compared. Name another --out."
                )

    def do(self, samples: _Samples) -> bool:
        """Pretrain, train, score; each only where it was not done yet. Whether there was anything to do."""
        if (self._run / RESULT).is_file():
            found = read_json(self._run / RESULT, dict)
            if "failed" not in found:
                if any(found["conditions"].get(key) != value for key, value in self._row_conditions().items()):
                    raise RecipeError(
                        f"The row '{self._names['row']}' has changed since {self._run}. Name another --out."
                    )
                return False
            (self._run / RESULT).unlink()  # a folder that is no run would be in the way
        log.info("%s: %s, seed %d", *self._names.values())
        entry, seed, row = self._set["entry"], self._names["seed"], self._row
        data = samples.images if samples.labels is None else (samples.images, samples.labels)
        init, spent = {}, 0.0
        try:
            for index, method in enumerate(self._methods):
                pretrain(
                    method,
                    entry,
                    data,
                    self._pretrainings[index],
                    minutes=self._pretraining_minutes,
                    seed=seed,
                    overrides=self._of_pretraining(method),
                    init={"trunk": f"{self._pretrainings[index - 1]}:trunk"} if index else None,
                )
                init = {target: _given(self._pretrainings[index], part) for target, part in row["init"].items()}
                spent += self._pretraining_minutes
            init |= {target: f"{self._source}:{part}" for target, part in (row.get("given") or {}).items()}
            arguments = {
                "minutes": self._minutes - spent,
                "seed": seed,
                "overrides": merge(self._overrides, nest(row.get("overrides") or {})),
            }
            if how := row.get("finetune"):
                finetune(self._source, data, self._run, how, **arguments)
            elif not row.get("published"):
                train(entry, data, self._run, init=init, **arguments)
            self._keep(samples, self._scores(samples, self._source if row.get("published") else str(self._run)))
        except GanzooError as error:
            self._keep(samples, {"failed": str(error)})
            log.warning("%s: %s, seed %d failed: %s", *self._names.values(), error)
        return True

    def _of_pretraining(self, method: str) -> dict[str, Any]:
        return merge(self._common, nest(self._options.get(method) or {}))

    def failure(self) -> str | None:
        """Why the cell could not be done, if it could not."""
        return read_json(self._run / RESULT, dict).get("failed")

    def _scores(self, samples: _Samples, name: str) -> dict[str, Any]:
        gan = load(name)
        plan = self._plan
        card = score(gan, samples.reference, plan["samples"], plan["networks"], subsamples=plan["subsamples"])
        own = {str(path.resolve()) for path in self._pretrainings}
        times = pretraining_times(self._run)
        given = sum(seconds for run, seconds in times.items() if run not in own)  # was there already
        looks = curves(self._run, [])
        return {
            "sliced_wasserstein": card.sliced_wasserstein["average"],
            **card.networks[0].scores,
            "samples": gan.sample_count,
            "pretraining_seconds": round(sum(times.values()) - given, 1),
            "source_seconds": round(given, 1),
            "scorecard": card.to_dict(),
            "curves": {name: [(at - given, value) for at, value in points] for name, points in looks.items()},
            "warnings": [look for look in read_objects(self._run / "guards.jsonl", "samples") if look.get("signs")],
        }

    def _row_conditions(self) -> dict[str, Any]:
        """What is the row's own, and must be the same in all its cells."""
        source = self._source and preset_files.weights_digest(self._source)[:16]
        paths = entries.recipe_paths("_pretraining")
        methods = {method: _what_trains(read_yaml(paths[method])) for method in self._methods}
        return {"row": dict(self._row), "source": source, "methods": methods}

    def _conditions(self, samples: _Samples) -> dict[str, Any]:
        """What must be the same in all cells of a set."""
        scoring = ("samples", "subsamples", "networks", "checks")
        return {
            "recipe": _what_trains(entries.get_entry(self._set["entry"]).raw),
            "scoring": {key: self._plan[key] for key in scoring},
            "overrides": json.loads(json.dumps(self._overrides)),
            "pretraining_optimizers": self._common.get("optimizers"),
            "data": content_hash(samples.images)[:16],
            "reference": content_hash(samples.reference)[:16],
            "minutes": self._minutes,
            "pretraining_minutes": self._usual_minutes,
        }

    def _keep(self, samples: _Samples, result: dict[str, Any]) -> None:
        named = {**self._names, "minutes": self._minutes, "entry": self._set["entry"], "held_out": samples.held_out}
        content = {**named, **result, "conditions": self._row_conditions() | self._conditions(samples)}
        self._run.mkdir(parents=True, exist_ok=True)
        write_json(self._run / RESULT, content)


def _with_optimizers(overrides: Mapping[str, Any], of_pretrainings: bool) -> dict[str, Any]:
    """Overrides with no other optimizers than those of pretrainings, or of GANs."""
    optimizers = overrides.get("optimizers")
    if not isinstance(optimizers, Mapping):  # there are none, or the recipe refuses them
        return dict(overrides)
    mine = {name: value for name, value in optimizers.items() if (name == pretraining.STUDENT) == of_pretrainings}
    return {**overrides, "optimizers": mine}


def _subset(plan: Mapping[str, Any], source: Any, reference: int, overrides: Mapping[str, Any]) -> _Samples:
    """A fixed random choice of the set's images, as many as the study says, and others to score against."""
    recipe = entries.get_entry(plan["entry"]).recipe(**merge(nest(plan.get("overrides") or {}), overrides))
    found = get_domain(recipe.domain).read(source, recipe.data, True)
    count = plan.get("count") or len(found)
    if count > len(found):
        raise DataError(f"The study needs {count} samples, {found.source} has {len(found)}. Give more.")
    order = np.random.default_rng(0).permutation(len(found))
    chosen, others = np.sort(order[:count]), np.sort(order[count:][:reference])
    held_out = len(others) >= reference // 4
    if not held_out:
        log.warning(
            "%s has %d samples beyond the %d to train on: scores are taken against training samples too.",
            found.source,
            len(others),
            count,
        )
        others = np.sort(order[:reference])
    labels = None if found.labels is None else np.asarray(found.labels)[chosen]
    return _Samples(np.asarray(found.samples[chosen]), labels, np.asarray(found.samples[others]), held_out)


def _what_trains(raw: Mapping[str, Any]) -> str:
    """A hash of the keys of a recipe that bear upon the training."""
    without = ("entry", "summary", "paper", "weights", "scores", "tiny", "evaluation", "init")
    kept = json.dumps({key: value for key, value in raw.items() if key not in without}, sort_keys=True, default=str)
    return hashlib.sha256(kept.encode()).hexdigest()[:16]


def _training_of(recipe: Recipe) -> dict[str, Any]:
    """What a fine-tuning takes over from its source's recipe, and must share with the runs that it is compared with."""
    whole = recipe.to_dict()
    own = {"training": ("samples", "log_every", "snapshot_every", "snapshot_minutes"), "model": ("classes",)}
    for section, keys in own.items():
        whole[section] = {key: value for key, value in whole[section].items() if key not in keys}
    sections = (
        "data",
        "model",
        "objective",
        "regularizers",
        "augment",
        "auxiliary",
        "optimizers",
        "training",
        "guards",
    )
    return {key: whole[key] for key in sections}


def _given(run: Path, part: str | Mapping[str, Any]) -> dict[str, Any]:
    """What a part of a GAN begins with: a run's part, by its name or with rules (`{part: NAME, partial: true}`)."""
    rules = {"part": part} if isinstance(part, str) else dict(part)
    return {"source": f"{run}:{rules.pop('part')}", **rules}


def _folder(row: str) -> str:
    return row.replace(", ", "_").replace(" ", "_")


def _restore(out: Path) -> None:
    """Give the cells that `results.json` holds their files again, where these are gone."""
    if (out / RESULTS).is_file():
        for cell in read_json(out / RESULTS, list):
            if not isinstance(cell, dict) or not {"set", "row", "seed", "conditions"} <= set(cell):
                raise GanzooError(
                    f"{out / RESULTS} does not hold results of a study. Remove it, or name another --out."
                )
            path = out / cell["set"] / _folder(cell["row"]) / str(cell["seed"]) / RESULT
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_json(path, cell, indent=None)


def _write(out: Path, plan: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All results: `results.json`; as `results.csv` without curves and scorecards; as tables; as an image."""
    found = [read_json(path) for path in sorted(out.glob(f"*/*/*/{RESULT}"))]
    write_json(out / RESULTS, found, indent=None)
    flat = [{key: value for key, value in cell.items() if key not in _LARGE} for cell in found]
    columns = list(dict.fromkeys(key for cell in flat for key in cell))
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    writer.writerows(flat)
    write_text(out / "results.csv", file.getvalue())
    study_report.write_tables(found, out, plan.get("groups", ()))
    if any(study_report.curve_name(cell) for cell in found):
        study_report.draw(found, out / "results.png")
    return flat
