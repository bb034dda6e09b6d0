"""Studies: rows of methods, columns of data sets, seeds; equal time for every cell, resumable at any point.

Time is what processors worked for the training (`training.clock: processor`), all threads together, so that cells which
were done beside other work, or in several processes at once (of other seeds or sets), compare fairly: pin each process
to one core.

A study is a YAML in `zoo_configs/_studies/`. A cell is a run directory `OUT/SET/ROW/SEED`; a pretraining that several
rows share is done once, and its time is taken from the training of each.
"""

import csv
import io
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo import registry
from ganzoo.cache import atomic_write_bytes, read_json
from ganzoo.comparison import curves
from ganzoo.domains import get_domain
from ganzoo.errors import DataError, GanzooError, RecipeError, unknown_name
from ganzoo.evaluation import score
from ganzoo.metrics.arrays import content_hash
from ganzoo.recipe_files import merge, nest, read_yaml
from ganzoo.training import pretrain, pretraining_time, train

log = logging.getLogger("ganzoo")

RESULT = "result.json"


def list_studies() -> dict[str, str]:
    """The studies by name, each with its summary."""
    return {name: read_yaml(path)["summary"] for name, path in registry.recipe_paths("_studies").items()}


def bench(
    study: str,
    out: str | Path,
    data: Mapping[str, Any],
    *,
    rows: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    minutes: float | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Do a study, or go on with it; cells that are done are kept.

    Args:
        study: one of `list_studies()`.
        out: a folder for runs and results; `results.json` and `results.csv` in it hold what is done so far.
        data: real data by the names of the study's sets; sets without data are left out.
        rows: some of its rows; all by default.
        seeds: some seeds; the study's by default.
        minutes: a cell's time; pretraining takes the same share of it as in the study.
        overrides: recipe keys for all cells.

    Returns:
        The cells that are done, each as a flat dict.

    Raises:
        GanzooError: an unknown set or row, or cells in `out` that were done under other conditions. A cell that fails
            is noted as failed, and tried again the next time.
    """
    paths = registry.recipe_paths("_studies")
    if study not in paths:
        raise RecipeError(unknown_name("study", study, paths))
    plan = read_yaml(paths[study])
    for what, asked, known in (("set", data, plan["sets"]), ("row", rows or (), plan["rows"])):
        for name in asked:
            if name not in known:
                raise RecipeError(unknown_name(f"{what} of the study {study}", name, known))
    share = plan["pretraining_minutes"] / plan["minutes"]
    total = minutes or plan["minutes"]
    out = Path(out)
    sets = {name: _subset(plan["sets"][name], source) for name, source in data.items()}
    for row in rows or plan["rows"]:
        for name, samples in sets.items():
            for seed in seeds or plan["seeds"]:
                cell = _Cell(plan, name, row, seed, out, total, share * total, dict(overrides or {}))
                cell.do(samples)
                _write(out)
    return _write(out)


class _Cell:
    def __init__(
        self,
        plan: Mapping[str, Any],
        name: str,
        row: str,
        seed: int,
        out: Path,
        minutes: float,
        pretraining_minutes: float,
        overrides: dict[str, Any],
    ):
        self._set, self._row = plan["sets"][name], plan["rows"][row]
        self._names = {"set": name, "row": row, "seed": seed}
        self._minutes, self._pretraining_minutes = minutes, pretraining_minutes
        folder = row.replace(", ", "_").replace(" ", "_")
        self._run = out / name / folder / str(seed)
        own = f"_{folder}" if self._row.get("pretrain") else ""  # rows without options of their own share one
        self._pretraining = out / name / f"pretraining_{self._row.get('method')}{own}" / str(seed)
        self._samples = plan["samples"]
        checks = {"every": plan["check_every"], "every_samples": self._samples, "check_networks": ["self_supervised"]}
        timed = {"training": {"clock": "processor"}}
        common = merge(merge(timed, nest(self._set.get("overrides") or {})), nest(overrides))
        self._overrides = merge(common, {"evaluation": checks})
        self._common = common

    def do(self, samples: tuple[np.ndarray, np.ndarray | None]) -> None:
        """Pretrain, train, score; each only where it was not done yet."""
        if (self._run / RESULT).is_file():
            before = read_json(self._run / RESULT)
            if before.get("conditions") != self._conditions(samples):
                raise RecipeError(
                    f"{self._run} was done with other minutes, data or keys, so that its cells could not be compared. "
                    "Name another --out."
                )
            if "failed" not in before:
                return
        log.info("%s: %s, seed %d", *self._names.values())
        entry, seed, row = self._set["entry"], self._names["seed"], self._row
        data = samples if samples[1] is not None else samples[0]
        init, spent = {}, 0.0
        try:
            if row.get("method"):
                pretrain(
                    row["method"],
                    entry,
                    data,
                    self._pretraining,
                    minutes=self._pretraining_minutes,
                    seed=seed,
                    overrides=merge(self._common, nest(row.get("pretrain") or {})),
                )
                init = {target: f"{self._pretraining}:{part}" for target, part in row["init"].items()}
                spent = self._pretraining_minutes
            train(
                entry,
                data,
                self._run,
                minutes=self._minutes - spent,
                seed=seed,
                overrides=merge(self._overrides, nest(row.get("overrides") or {})),
                init=init,
            )
        except GanzooError as error:
            self._keep(samples, {"failed": str(error)})
            log.warning("%s: %s, seed %d failed: %s", *self._names.values(), error)
            return
        from ganzoo import presets

        gan = presets.load(str(self._run))
        card = score(gan, samples[0], self._samples, ("self_supervised",))
        network = card.networks[0]
        self._keep(
            samples,
            {
                "sliced_wasserstein": card.sliced_wasserstein["average"],
                "sliced_wasserstein_floor": card.sliced_wasserstein_floor["average"],
                **network.scores,
                **{f"{name}_floor": value for name, value in network.floor.items()},
                "samples": gan.sample_count,
                "pretraining_seconds": round(pretraining_time(self._run), 1),
                "curves": curves(self._run, []),
            },
        )

    def _conditions(self, samples: tuple[np.ndarray, np.ndarray | None]) -> dict[str, Any]:
        """What must be the same in all cells of a study."""
        return {
            "overrides": json.loads(json.dumps(self._overrides)),
            "data": content_hash(samples[0])[:16],
            "minutes": self._minutes,
            "pretraining_minutes": self._pretraining_minutes,
        }

    def _keep(self, samples: tuple[np.ndarray, np.ndarray | None], result: dict[str, Any]) -> None:
        named = {**self._names, "minutes": self._minutes, "entry": self._set["entry"]}
        content = {**named, **result, "conditions": self._conditions(samples)}
        self._run.mkdir(parents=True, exist_ok=True)
        atomic_write_bytes(self._run / RESULT, json.dumps(content, indent=1).encode())


def _subset(plan: Mapping[str, Any], source: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """The set's pictures and classes, a fixed random choice of them where the study says how many."""
    recipe = registry.get_entry(plan["entry"]).recipe(**(plan.get("overrides") or {}))
    found = get_domain(recipe.domain).read(source, recipe.data, True)
    count = plan.get("count") or len(found)
    if count > len(found):
        raise DataError(f"The study wants {count} samples, {found.source} has {len(found)}. Give more.")
    chosen = np.sort(np.random.default_rng(0).permutation(len(found))[:count])
    labels = None if found.labels is None else np.asarray(found.labels)[chosen]
    return np.asarray(found.samples[chosen]), labels


def _write(out: Path) -> list[dict[str, Any]]:
    """All results as `results.json`, and as `results.csv` without the curves."""
    found = [read_json(path) for path in sorted(out.glob(f"*/*/*/{RESULT}"))]
    atomic_write_bytes(out / "results.json", json.dumps(found).encode())
    flat = [{key: value for key, value in cell.items() if key not in ("curves", "conditions")} for cell in found]
    columns = list(dict.fromkeys(key for cell in flat for key in cell))
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, columns)
    writer.writeheader()
    writer.writerows(flat)
    atomic_write_bytes(out / "results.csv", file.getvalue().encode())
    return flat
