"""Pages that compare runs, and studies."""

import functools
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from ganzoo import pretraining
from ganzoo.commands import study
from ganzoo.commands.study import bench
from ganzoo.errors import GanzooError, RecipeError, TrainingError
from ganzoo.files.reading import read_json
from ganzoo.recipes import entries, yaml_files
from ganzoo.reports import study as study_report
from ganzoo.reports.comparison import compare_runs, curves
from ganzoo.reports.study import at, final, reached, write_tables
from ganzoo.runs.finetune import FINETUNING
from ganzoo.runs.lineage import clocks, pretraining_time
from ganzoo.runs.train import pretrain, train

ENTRY = "image/dcgan_32"
RAW = Path(__file__).parent / "benchmarks"
LOOKS = {"evaluation": {"every": 32, "every_samples": 20, "check_networks": ["self_supervised"]}}
TINY = yaml_files.merge(entries.get_entry(ENTRY).raw["tiny"], LOOKS)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3)).astype("uint8")


def test_two_runs_share_a_page_on_which_pretraining_counts(tmp_path, images):
    tiny = yaml_files.merge(entries.get_entry(ENTRY).raw["tiny"], pretraining.small_form("rotation"))
    pretrain("rotation", ENTRY, images, tmp_path / "rotation", samples=64, overrides=tiny)
    init = {"discriminator.trunk": f"{tmp_path / 'rotation'}:trunk"}
    train(ENTRY, images, tmp_path / "pretrained", samples=64, overrides=TINY, init=init)
    train(ENTRY, images, tmp_path / "scratch", samples=64, overrides=TINY)
    spent = json.loads((tmp_path / "rotation/metrics.jsonl").read_text().splitlines()[-1])["seconds"]
    assert pretraining_time(tmp_path / "pretrained") == spent > 0 == pretraining_time(tmp_path / "scratch")
    runs = [tmp_path / "pretrained", tmp_path / "scratch"]
    found = compare_runs(runs, tmp_path / "page.html")
    assert [run["pretraining_seconds"] for run in found["runs"]] == [spent, 0]
    for run, shown in zip(runs, found["runs"], strict=True):
        assert {"sliced Wasserstein x1000", "kid, self_supervised"} <= set(shown["scores"])
        assert "recall, self_supervised" not in shown["scores"]  # 20 samples are too few for it
        points = curves(run, [])["kid, self_supervised"]
        began = run.name == "pretrained"  # with given weights: these are looked at, too
        assert len(points) == 2 + began and points[0][0] >= pretraining_time(run)
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == len(found["runs"][0]["scores"]) and page.count("data:image/png") == 2
    assert "pretrained" in page and "<script" not in page


def test_runs_that_counted_other_times_are_told(tmp_path, images):
    for clock in ("wall", "processor"):
        changes = yaml_files.merge(TINY, {"training": {"clock": clock}, "evaluation": {"every": 0}})
        train(ENTRY, images, tmp_path / clock, samples=16, overrides=changes)
    compare_runs([tmp_path / "wall", tmp_path / "processor"], tmp_path / "page.html")
    assert "counted different times" in (tmp_path / "page.html").read_text()
    assert clocks(tmp_path / "wall") == {"wall"}
    (tmp_path / "wall/transfer.json").write_text(json.dumps([{"times": {"a": 1.0}, "clocks": ["processor"]}]))
    assert clocks(tmp_path / "wall") == {"wall", "processor"}  # with that of what it began from


def test_what_was_given_ready_made_is_told(tmp_path, images):
    runs = [tmp_path / "scratch", tmp_path / "given"]
    init = {"generator": f"{ENTRY}:generator"}
    full = {"training": {"batch_size": 8}, "evaluation": {"every": 0}}
    train(ENTRY, images, runs[0], samples=16, overrides=full)
    train(ENTRY, images, runs[1], samples=16, overrides=full, init=init)
    compare_runs(runs, tmp_path / "page.html")
    assert f"which is not counted here: given: {ENTRY}." in (tmp_path / "page.html").read_text()


def test_runs_with_classes_and_without_saw_the_same_images(tmp_path, images):
    data = (images, np.arange(60) % 3)
    quiet = {"evaluation": {"every": 0}}
    for name in (ENTRY, "image/wgan_gp_32"):
        changes = yaml_files.merge(entries.get_entry(name).raw["tiny"], quiet)
        train(name, data, tmp_path / name, samples=16, overrides=changes)
    runs = [tmp_path / ENTRY, tmp_path / "image/wgan_gp_32"]
    assert len({read_json(run / "data.json")["fingerprint"] for run in runs}) == 2
    assert len(compare_runs(runs, tmp_path / "page.html")["runs"]) == 2
    unknown = read_json(runs[0] / "data.json") | {"samples_fingerprint": None}  # as of a dataset
    (runs[0] / "data.json").write_text(json.dumps(unknown))
    compare_runs(runs, tmp_path / "page.html")
    assert "is not known" in (tmp_path / "page.html").read_text()


def test_what_cannot_be_compared_is_refused(tmp_path, images):
    train(ENTRY, images, tmp_path / "one", samples=16, overrides=TINY)
    train(ENTRY, images[:30], tmp_path / "other", samples=16, overrides=TINY)
    with pytest.raises(TrainingError, match="Two runs or more"):
        compare_runs([tmp_path / "one"])
    with pytest.raises(TrainingError, match="different data"):
        compare_runs([tmp_path / "one", tmp_path / "other"])
    with pytest.raises(TrainingError, match="not a run directory"):
        compare_runs([tmp_path / "one", tmp_path])
    fewer = yaml_files.merge(TINY, {"evaluation": {"every_samples": 10}})
    train(ENTRY, images, tmp_path / "fewer", samples=16, overrides=fewer)
    compare_runs([tmp_path / "one", tmp_path / "fewer"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    for count in (10, 20):  # the same score under two protocols has two names, and two charts
        assert f"<h3>Sliced Wasserstein x1000 ({count} samples)</h3>" in page
    assert "scores depend on the number of samples" in page
    with pytest.raises(TrainingError, match="each named once"):
        compare_runs([tmp_path / "one", f"{tmp_path}/other/../one"])
    (tmp_path / "one/checks.jsonl").write_text('{"scores": [1], "samples": 8, "seconds": 1.0, "score": 3.0}\n[1]\n{"a"')
    assert curves(tmp_path / "one", []) == {"None": [(1.0, 3.0)]}
    (tmp_path / "one/data.json").write_text("[]")
    with pytest.raises(GanzooError, match=r"data\.json is damaged \(no dict\)"):
        compare_runs([tmp_path / "one", tmp_path / "other"])


def test_rows_of_a_study_share_the_pretrainings_that_are_the_same():
    rows = yaml_files.read_yaml(entries.recipe_paths("_studies")["pretraining"])["rows"]
    folders = {row: study._pretraining_folders(rows, row) for row in rows}
    own = ["pretraining_classifier", "pretraining_classifier_features_features_of_the_classifier_both"]
    assert folders["features of the classifier, both"] == folders["features of the classifier, G"] == own
    assert folders["variational, both"] == folders["variational, D"] == ["pretraining_variational"]
    assert folders["variational, both, twice as long"] == ["pretraining_variational_variational_both_twice_as_long"]
    assert folders["ImageNet, trunk fine-tuned as classifier"] != folders["classifier, D"] == own[:1]
    assert folders["scratch"] == []


@pytest.mark.heavy
def test_a_study_keeps_what_is_done(tmp_path, images, monkeypatch):
    labels = np.arange(60) % 2
    monkeypatch.setattr(study, "read_yaml", lambda path: PLAN)
    tiny = {key: entries.get_entry(ENTRY).raw["tiny"][key] for key in ("model", "training")}
    arguments = {"minutes": 0.02, "overrides": tiny}
    data = {"small": (images, labels)}
    first = bench("pretraining", tmp_path, data, rows=["scratch"], **arguments)
    assert [cell["row"] for cell in first] == ["scratch"] and np.isfinite(first[0]["kid"])
    before = (tmp_path / "small/scratch/0/result.json").stat().st_mtime_ns
    cells = bench("pretraining", tmp_path, data, **arguments)
    assert (tmp_path / "small/scratch/0/result.json").stat().st_mtime_ns == before
    by_row = {cell["row"]: cell for cell in cells}
    assert set(by_row) == {"scratch", "rotation, D", "patchwork", "in turn, D"}
    assert by_row["in turn, D"]["pretraining_seconds"] > by_row["rotation, D"]["pretraining_seconds"]
    second = tmp_path / "small/pretraining_rotation_masked_in_turn_D/0"
    first = f"{second.parents[1]}/pretraining_rotation_in_turn_D/0:trunk"  # its share is not that of other rows
    assert read_json(second / "transfer.json")[0]["source"] == first
    assert by_row["rotation, D"]["pretraining_seconds"] > 0 and by_row["rotation, D"]["minutes"] == 0.02
    card = read_json(tmp_path / "small/scratch/0/result.json")["scorecard"]
    assert card["protocol"]["reals"] == 40 and card["protocol"]["samples"] == 20
    assert card["sliced_wasserstein_deviation"]["average"] > 0
    assert "patch = 5 does not divide" in by_row["patchwork"]["failed"]
    with pytest.raises(RecipeError, match=r"other conditions \(minutes, pretraining_minutes\)"):
        bench("pretraining", tmp_path, data, rows=["scratch"], minutes=0.03, overrides=tiny)
    monkeypatch.setitem(PLAN["rows"], "scratch", {"overrides": {"objective": "hinge"}})
    with pytest.raises(RecipeError, match="'scratch' has changed"):
        bench("pretraining", tmp_path, data, rows=["scratch"], **arguments)
    monkeypatch.setitem(PLAN["rows"], "scratch", {})
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 5
    tables = (tmp_path / "results.md").read_text()
    assert tables.count("\n| ") == 4 and "- patchwork, seed 0, failed: " in tables
    assert (tmp_path / "results.png").read_bytes()[:4] == b"\x89PNG"
    elsewhere = tmp_path / "elsewhere"  # results alone are enough to go on
    elsewhere.mkdir()
    shutil.copy(tmp_path / "results.json", elsewhere)
    assert len(bench("pretraining", elsewhere, data, rows=["scratch", "rotation, D"], **arguments)) == 4
    assert not list(elsewhere.glob("**/checkpoints"))
    source = {"small": str(tmp_path / "small/scratch/0")}
    cells = bench("pretraining", tmp_path, data, rows=["another GAN", "both"], sources=source, **arguments)
    by_row = {cell["row"]: cell for cell in cells}
    tuned, both = by_row["another GAN"], by_row["both"]
    assert tuned["source_seconds"] == both["source_seconds"] > 0 and tuned["pretraining_seconds"] == 0
    assert both["pretraining_seconds"] == by_row["rotation, D"]["pretraining_seconds"]
    looks = read_json(tmp_path / "small/another_GAN/0/result.json")["curves"]["kid, self_supervised"]
    assert 0 <= looks[0][0] < tuned["source_seconds"]  # its clock begins with the fine-tuning
    with pytest.raises(RecipeError, match="'another GAN' has changed"):
        bench("pretraining", tmp_path, data, rows=["another GAN"], sources={"small": ENTRY}, **arguments)
    with pytest.raises(GanzooError, match="None of the 1 cells could be done"):
        bench("pretraining", tmp_path, data, rows=["patchwork"], **arguments)
    monkeypatch.setitem(PLAN["rows"], "patchwork", {"method": "masked", "init": INIT})  # mended, and tried again
    cells = bench("pretraining", tmp_path, data, rows=["patchwork"], **arguments)
    assert "failed" not in next(cell for cell in cells if cell["row"] == "patchwork")
    with pytest.raises(RecipeError, match="Did you mean 'scratch'"):
        bench("pretraining", tmp_path, data, rows=["scratsch"])
    with pytest.raises(RecipeError, match="'elsewhere' is done on none of small"):
        bench("pretraining", tmp_path, data, rows=["elsewhere"])
    with pytest.raises(RecipeError, match="'another GAN' is done on none of small"):
        bench("pretraining", tmp_path, data, rows=["another GAN"])
    with monkeypatch.context() as patch:
        patch.setattr(study, "_what_trains", lambda raw: "another recipe")
        with pytest.raises(RecipeError, match=r"other conditions \(recipe\)"):
            bench("pretraining", tmp_path, data, rows=["scratch"], **arguments)
    other = yaml_files.merge(TINY, {"optimizers": {"generator": {"learning_rate": 1e-3}}})
    train(ENTRY, (images, labels), tmp_path / "other", samples=16, overrides=other)
    with pytest.raises(RecipeError, match=r"trained by another recipe .*'optimizers'"):
        bench("pretraining", tmp_path, data, rows=["both"], sources={"small": str(tmp_path / "other")}, **arguments)
    with pytest.raises(RecipeError, match="trainin"):
        bench("pretraining", tmp_path / "typo", data, overrides={"trainin.samples": 5})
    (elsewhere / "results.json").write_text('{"a": 1}')
    with pytest.raises(GanzooError, match=r"results\.json is damaged \(no list\)"):
        bench("pretraining", elsewhere, data)
    with pytest.raises(RecipeError, match="set of the study"):
        bench("pretraining", tmp_path, {"large": images})


@pytest.mark.heavy
def test_a_study_gives_each_network_its_own_optimizer_and_leaves_out_what_has_no_classes(
    tmp_path, images, caplog, monkeypatch
):
    rows = {"rotation, D": PLAN["rows"]["rotation, D"], "classifier, D": {"method": "classifier", "init": INIT}}
    monkeypatch.setattr(study, "read_yaml", lambda path: {**PLAN, "rows": rows})
    slow = {"name": "adam", "learning_rate": 1e-6}
    tiny = {key: entries.get_entry(ENTRY).raw["tiny"][key] for key in ("model", "training")}
    changes = {**tiny, "optimizers": {"generator": slow, "student": slow}}
    cells = bench("pretraining", tmp_path, {"small": images}, minutes=0.02, overrides=changes)
    assert [cell["row"] for cell in cells] == ["rotation, D"] and np.isfinite(cells[0]["kid"])
    assert "'classifier, D' is left out, the data have no classes" in caplog.text
    for folder, network in (("pretraining_rotation", "student"), ("rotation_D", "generator")):
        optimizers = entries.get_entry(str(tmp_path / f"small/{folder}/0")).raw["optimizers"]
        assert optimizers[network]["learning_rate"] == 1e-6 and not {"student", "generator"} <= set(optimizers)
    changes["optimizers"] = {"generator": slow, "student": {**slow, "learning_rate": 1e-3}}
    with pytest.raises(RecipeError, match=r"other conditions \(pretraining_optimizers\)"):
        bench("pretraining", tmp_path, {"small": images}, minutes=0.02, overrides=changes)
    with pytest.raises(RecipeError, match="hiden"):  # before anything is trained
        monkeypatch.setitem(
            rows, "rotation, D", {**rows["rotation, D"], "pretrain": {"rotation": {"pretrain.hiden": 1}}}
        )
        bench("pretraining", tmp_path / "other", {"small": images}, minutes=0.02, overrides=tiny)
    assert not (tmp_path / "other/small").exists()


INIT = {"discriminator.trunk": "trunk"}
RULED = {"discriminator.trunk": {"part": "trunk", "partial": True}}
PLAN = {
    "pretraining_share": 0.2,
    "seeds": [0],
    "reference": 40,
    "samples": 20,
    "subsamples": 2,
    "networks": ["self_supervised"],
    "checks": {"every": 32, "every_samples": 20},
    "sets": {"small": {"entry": ENTRY, "count": 20, "minutes": 5.0, "source": "other"}},
    "rows": {
        "scratch": {},
        "rotation, D": {"method": "rotation", "init": INIT},
        "elsewhere": {"sets": ["another"]},
        "another GAN": {"finetune": "all"},  # not of the entry's weights: the set has `source: other`
        "both": {"method": "rotation", "init": RULED, "given": {"generator": "generator"}},
        "patchwork": {"method": "masked", "pretrain": {"masked": {"pretrain.patch": 5}}, "init": INIT},
        "in turn, D": {"method": ["rotation", "masked"], "init": INIT, "pretraining_share": 0.3},
    },
}


def test_rows_of_all_studies_name_what_there_is(tmp_path, tiny):
    @functools.cache
    def gan(entry):
        return tiny(entry)

    @functools.cache
    def parts(method, entry):
        told = pretraining.small_form(method) | ({"pretrain.classes": 10} if method == "classifier" else {})
        return pretraining.task_class(method)(gan(entry), pretraining.recipe(method, entry, told).pretrain)

    for name, path in entries.recipe_paths("_studies").items():
        plan = yaml_files.read_yaml(path)
        assert plan["summary"] and plan["seeds"], name
        for one, row in ((one, row) for one in plan["sets"] for row in plan["rows"] if study._in(plan, one, row, True)):
            study._Cell(plan, one, row, 0, tmp_path, None, {}, None).check_recipes()
            entry, rules = plan["sets"][one]["entry"], plan["rows"][row]
            assert rules.get("finetune", "all") in FINETUNING
            for target, source in {**rules.get("init", {}), **rules.get("given", {})}.items():
                gan(entry).part(target)
                if target in rules.get("given", {}):
                    gan(entry).part(source)
                else:
                    made = parts(study._methods(rules)[-1], entry)
                    named = source if isinstance(source, str) else source["part"]
                    assert named in {"trunk", *made.parts, *made.exported()}, (name, row)


def test_when_a_curve_reaches_a_score():
    falls = [(10.0, 8.0), (20.0, 4.0), (30.0, 1.0), (40.0, 2.0)]
    assert reached(falls, 2.0) == pytest.approx(25.0)  # halfway from 4 to 1 on a logarithmic scale
    assert reached(falls, 9.0) == 10.0 and reached(falls, 0.5) is None
    dips = [(10.0, 8.0), (20.0, 1.0), (30.0, 4.0), (40.0, 1.0)]
    assert reached(dips, 2.0) == pytest.approx(35.0)  # not at 20, where it was luck
    assert final({"curves": {"kid": falls}}, "kid") == 1.5
    assert (
        at(falls, 5.0) is None and at(falls, 15.0) == pytest.approx(32**0.5) and at([(1.0, -1.0), (3.0, 1.0)], 2.0) == 0
    )


def test_tables_compare_with_scratch(tmp_path):
    network = {"name": "own", "scores": {"kid": 0.1}, "deviations": {"kid": 0.02}, "floor": dict.fromkeys(SCORES, 0.0)}
    other = {"name": "squeezenet", "scores": {"kid": 700.0}, "marks": ["flattering"]}
    card = {
        "networks": [network, other],
        "protocol": {"samples": 500},
        "sliced_wasserstein_deviation": {"average": 2.0},
        "sliced_wasserstein_floors": [9.0, 11.0],
    }

    def cell(row, seed, distance, half):
        curve = {
            "kid, own": [(0.0, 0.4), (half, 0.1), (60.0, 0.1)],
            "sliced Wasserstein x1000": [(20.0, 50.0), (60.0, distance)],
            "recall, own": [(0.0, 0.5), (60.0, distance / 100)],
        }
        scores = dict.fromkeys(SCORES, 0.1) | {"sliced_wasserstein": distance}
        named = {"set": "small", "row": row, "seed": seed, "entry": ENTRY, "minutes": 1.0, "samples": 8_200}
        return {**named, **scores, "scorecard": card, "curves": curve}

    cells = [cell("scratch", 0, 40.0, 30.0), cell("scratch", 1, 20.0, 30.0), cell("good", 0, 10.0, 6.0)]
    cells[1]["warnings"] = [{"samples": 10_048, "seconds": 19.2, "signs": ["lead"]}]
    cells += [cell("bad", 0, 480.0, 30.0), {"set": "small", "row": "good", "seed": 1, "failed": "no"}]
    write_tables(cells, tmp_path, ["good", "scratch"])
    lines = (tmp_path / "results.md").read_text().splitlines()
    rows = [line.split(" | ") for line in lines if line.startswith("|")][2:]
    assert [row[0] for row in rows] == ["| good", "| scratch", "| bad"]
    # Logs of 40 and 20: a deviation of ln 2 / sqrt 2 = 0.490 with one degree of freedom, t(1 - 0.05 / 4) = 25.45.
    # One seed to two: 25.45 * 0.490 * sqrt(1 + 1 / 2) = 15.28. The ratio is 10 / sqrt(800) = 0.354.
    found = re.fullmatch(r"no difference shown: 0\.35 \(0\.00 to (\d+)\)", rows[0][2])
    assert rows[0][1] == "10.0 +- 2.0" and np.log(int(found[1]) / 0.3536) == pytest.approx(15.28, abs=0.01)
    assert rows[0][3] == "0.100 +- 0.020"
    # After 15 seconds: halfway from 0.4 to 0.1 where that takes 30. The sliced distance was not looked at yet.
    assert rows[0][-7:] == ["700*", "-", "0.10", "0.38", "0.10", "8k", "none |"]
    assert rows[1][1:3] == ["40.0, 20.0 +- 2.0", ""]
    assert rows[1][-5:] == ["0.20, 0.20", "0.65, 0.59", "0.50, 0.50", "8k, 8k", "none, 10,048 samples, 19 s (lead) |"]
    assert rows[2][1] == "480.0 +- 2.0" and rows[2][2].startswith("no difference shown: 17 (")
    assert lines[-3:] == [
        "- good, seed 1, failed: no",
        "- good: 0 of 2 runs neither failed nor collapsed",  # 0.1 is less than half of 0.5
        "- scratch: 1 of 2 runs neither failed nor collapsed",
    ]


SCORES = ("kid", "fid", "recall", "coverage")


def test_a_study_calls_nothing_a_difference_that_its_seeds_do_not_show():
    cells = json.loads((RAW / "pretraining_study.json").read_text())
    spreads = study_report.spreads_of(cells)
    assert {spread.degrees for spread in spreads.values()} == {79}
    # Two seeds to two seeds: 1.32 and 1.42 with the quantile of the normal distribution; Student's adds a little.
    assert study_report.factor(spreads["sliced_wasserstein"], 1) == pytest.approx(1.328, abs=0.001)
    assert study_report.factor(spreads["kid"], 1) == pytest.approx(1.428, abs=0.001)
    assert np.exp(1.96 * spreads["sliced_wasserstein"].deviation) == pytest.approx(1.32, abs=0.005)
    assert np.exp(1.96 * spreads["kid"].deviation) == pytest.approx(1.42, abs=0.005)
    lines = study_report.short_table(cells, "fashion_1000").splitlines()
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in lines if line.startswith("| ")}
    assert rows["variational, both"][2] == "no difference shown: 0.73 (0.46 to 1.16)"  # was called -27%
    assert rows["another GAN, freeze_d"][4] == "2.93 (1.64 to 5.23)"
    assert "all 28 ratios of a column (Bonferroni)" in lines[2]


def test_rows_are_compared_with_the_run_from_scratch_of_their_own_rate():
    cells = json.loads((RAW / "stability_study.json").read_text())
    lines = study_report.short_table(cells, "fashion_1000").splitlines()
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in lines if line.startswith("| ")}
    assert rows["scratch, 5e-5"][2] == "" and rows["variational, 5e-5"][2] == "0.63 (0.43 to 0.92)"
    assert sum(row[2].startswith("no difference shown") for row in rows.values()) == 4


def test_published_weights_that_are_scored_twice_are_one_training():
    cells = json.loads((RAW / "finetuning_study.json").read_text())
    assert study_report.spreads_of(cells)["kid"].degrees == 10  # of eleven rows with two seeds
    assert study_report._trainings([cell for cell in cells if cell["row"] == "before"]) == [
        next(cell for cell in cells if cell["row"] == "before")
    ]


def test_runs_of_one_recipe_with_several_seeds_are_compared_together(tmp_path, images):
    runs = []
    for name, changes in (("one", {}), ("other", {"objective": "hinge"})):
        for seed in (0, 1):
            runs.append(tmp_path / f"{name}_{seed}")
            train(ENTRY, images, runs[-1], samples=32, seed=seed, overrides=yaml_files.merge(TINY, changes))
    found = compare_runs(runs, tmp_path / "page.html")
    sliced = next(one for one in found["ratios"] if one["score"] == "sliced Wasserstein x1000")
    assert (sliced["runs"], sliced["reference"]) == (["other_0", "other_1"], ["one_0", "one_1"])
    scores = [run["scores"]["sliced Wasserstein x1000"] for run in found["runs"]]
    assert sliced["ratio"] == pytest.approx((scores[2] * scores[3] / scores[0] / scores[1]) ** 0.5)
    assert sliced["low"] < sliced["ratio"] < sliced["high"]
    assert "Is a difference more than noise?" in (tmp_path / "page.html").read_text()
    alone = compare_runs([runs[0], runs[2]], tmp_path / "page.html")["ratios"]
    assert alone and not any(one["difference_shown"] or one["low"] for one in alone)
    assert "no difference is shown" in (tmp_path / "page.html").read_text()
    assert compare_runs(runs[:2], tmp_path / "page.html")["ratios"] == []
