"""What a run began with: weights of other runs, the reports of their transfer, and the time that those runs took."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo import presets
from ganzoo.backbone_catalogue import distinct
from ganzoo.cache import atomic_write_bytes, read_json, read_objects

if TYPE_CHECKING:
    from ganzoo.phased_model import PhasedModel

log = logging.getLogger("ganzoo")

REPORT = "transfer.json"


def load_first_weights(gan: "PhasedModel", run: Path) -> None:
    """Load what the recipe's `init` names, and keep the report.

    Raises:
        WeightsError: a source is missing or damaged, has no such part, or does not fit its target; names them.
    """
    reports = []
    # What is inside a part comes after the part.
    for target, init in sorted(gan.recipe.init.items(), key=lambda item: item[0].count(".")):
        report = presets.transfer(init.source, target, gan, init.skip, init.partial, init.mapping)
        reports.append(replace(report, times=_times(init.source)))
    for report in reports:
        log.info("%s: %d weights from %s", report.target, len(report.loaded), report.source)
        for kind in ("skipped", "mismatched"):
            if names := getattr(report, kind):
                log.warning(
                    "%s: %d weights keep their fresh values, %s: %s", report.target, len(names), kind, names[:3]
                )
    told = json.dumps([report.to_dict() for report in reports], indent=1)
    atomic_write_bytes(run / REPORT, told.encode())


def _times(source: str) -> dict[str, float]:
    """Seconds of training by run: of the run that a source `RUN:PART` is in, and of those that it began from."""
    where, colon, _ = source.rpartition(":")
    run = Path(where)
    run = run.parent if run.name in ("best", "preset") else run
    if not colon or not (run / "metrics.jsonl").is_file():
        return {}
    lines = read_objects(run / "metrics.jsonl", "seconds")
    return {str(run.resolve()): lines[-1]["seconds"] if lines else 0.0, **pretraining_times(run)}


def pretraining_times(run: Path) -> dict[str, float]:
    """Seconds of training of the runs from which this one began, and of those from which they did, by run."""
    return {name: seconds for report in _reports(run) for name, seconds in (report.get("times") or {}).items()}


def inherited_sources(run: Path) -> list[dict[str, str]]:
    """The pretrained networks that taught what a run began with, each once."""
    return distinct([source for report in _reports(run) for source in report.get("teachers") or ()])


def _reports(run: Path) -> list[dict[str, Any]]:
    return read_json(run / REPORT, list) if (run / REPORT).is_file() else []


def pretraining_time(run: Path) -> float:
    """The sum of `pretraining_times`: each run is counted once."""
    return sum(pretraining_times(run).values())
