"""What a run started from: weights of other runs, the reports of their transfer, and the time that those runs took."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.files.reading import read_json, read_objects
from ganzoo.files.writing import write_json
from ganzoo.recipes import entries
from ganzoo.runs.kept_data import described, run_of
from ganzoo.weights import preset_files
from ganzoo.weights.sources import distinct
from ganzoo.zoo.transfer import TransferReport, transfer, transfer_narrowed

if TYPE_CHECKING:
    from ganzoo.core.model import PhasedModel

log = logging.getLogger("ganzoo")

REPORT = "transfer.json"
_LITTLE = 0.1  # the share of a part's parameters below which a transfer is a warning


def load_first_weights(gan: "PhasedModel", run: Path) -> None:
    """Load what the recipe's `init` names, and keep the report, also of a run's trunk that is the frozen backbone.

    Raises:
        WeightsError: a source is missing or damaged, has no such part, or does not fit its target; names them.
    """
    reports = []
    # What is inside a part comes after the part.
    for target, init in sorted(gan.recipe.init.items(), key=lambda item: item[0].count(".")):
        if init.narrow:
            report = transfer_narrowed(init.source, target, gan)
        else:
            report = transfer(init.source, target, gan, init.skip, init.partial, init.mapping)
        if begun_from := _run_of(init.source):
            report = replace(report, times=_times(begun_from), clocks=tuple(sorted(clocks(begun_from))))
            _compare_classes(report, begun_from, run)
        reports.append(report)
    reports += _of_the_backbone(gan) + _of_the_teacher(gan)
    if not reports:
        return
    for report in reports:
        if report.loaded:
            log.info("%s: %d weights were loaded from %s.", report.target, len(report.loaded), report.source)
        for kind in ("skipped", "mismatched"):
            if names := getattr(report, kind):
                log.warning(
                    "%s: %d weights were not loaded (the target keeps its fresh ones), %s: %s",
                    report.target,
                    len(names),
                    kind,
                    names[:3],
                )
        if report.share < _LITTLE:
            log.warning(
                "%s: only %.1g%% of its parameters were loaded. Most layers of the two have different widths.",
                report.target,
                100 * report.share,
            )
    write_json(run / REPORT, [report.to_dict() for report in reports])


def _of_the_backbone(gan: "PhasedModel") -> list[TransferReport]:
    """The report of weights that the networks were built with: `model.backbone_weights=RUN:trunk`."""
    source = str(getattr(gan.recipe.model, "backbone_weights", ""))
    run = _run_of(source)
    if run is None:
        return []
    where, _, part = source.rpartition(":")
    arrays, teachers = preset_files.read_part(where, part)
    return [
        TransferReport(
            "model.backbone",
            source,
            tuple(arrays),
            times=_times(run),
            clocks=tuple(sorted(clocks(run))),
            teachers=tuple(teachers),
        )
    ]


def _of_the_teacher(gan: "PhasedModel") -> list[TransferReport]:
    """The report of a teacher (`ganzoo.addons.distillation`): what it taught is no weight, but took its time."""
    if not gan.recipe.distillation:
        return []
    from ganzoo.addons.distillation import Distillation

    source = f"{gan.recipe.distillation.teacher}:generator"
    run = _run_of(source)
    times = {"times": _times(run), "clocks": tuple(sorted(clocks(run)))} if run else {}
    teachers = tuple(gan.addon(Distillation).pretrained_sources())
    return [TransferReport("distillation", source, (), teachers=teachers, **times)]


def _compare_classes(report: TransferReport, source: Path, run: Path) -> None:
    """Warn where embeddings of classes were loaded that belong to other classes, or to the same in another order."""
    theirs, own = (list(described(one).get("class_counts") or {}) for one in (source, run))
    if theirs and own and theirs != own and any("classes" in name.split("/") for name in report.loaded):
        log.warning(
            "%s: the class embeddings of %s are those of %s, but these data have %s. Each class starts as another one.",
            report.target,
            report.source,
            theirs,
            own,
        )


def _run_of(source: str) -> Path | None:
    """The run that a source `RUN:PART` is in, if it is one."""
    where, colon, _ = source.rpartition(":")
    run = run_of(Path(where))
    return run if colon and (run / "metrics.jsonl").is_file() else None


def _times(run: Path) -> dict[str, float]:
    """Seconds of training by run: of this one, and of those that it began from."""
    lines = read_objects(run / "metrics.jsonl", "seconds")
    return {str(run.resolve()): lines[-1]["seconds"] if lines else 0.0, **pretraining_times(run)}


def pretraining_times(run: Path) -> dict[str, float]:
    """Seconds of training of the runs from which this one began, and of those from which they did, by run."""
    return {name: seconds for report in _reports(run) for name, seconds in (report.get("times") or {}).items()}


def clocks(run: Path) -> set[str]:
    """How time was counted (`training.clock`) in a run and in those from which it began."""
    raw = entries.get_entry(str(run)).raw
    own = (raw.get("training") or {}).get("clock", "wall")
    return {own, *(clock for report in _reports(run) for clock in report.get("clocks") or ())}


def untimed_sources(run: Path) -> list[str]:
    """Weights that a run began with and networks that taught it, whose training is none of the runs that are here."""
    given = [str(report.get("source")) for report in _reports(run) if not report.get("times")]
    weights = [where if (where := source.rpartition(":")[0]) else source for source in given]
    return list(
        dict.fromkeys([*weights, *(network["backbone"] for network in preset_files.teachers_of(run / "preset"))])
    )


def inherited_sources(run: Path) -> list[dict[str, str]]:
    """The pretrained networks that taught what a run began with, each once."""
    return distinct([source for report in _reports(run) for source in report.get("teachers") or ()])


def _reports(run: Path) -> list[dict[str, Any]]:
    return read_json(run / REPORT, list) if (run / REPORT).is_file() else []


def pretraining_time(run: Path) -> float:
    """The sum of `pretraining_times`: each run is counted once."""
    return sum(pretraining_times(run).values())
