"""Pages that compare runs, and studies."""

import json

import numpy as np
import pytest

from ganzoo import pretraining, recipe_files, registry
from ganzoo.cache import read_json
from ganzoo.comparison import compare_runs, curves
from ganzoo.errors import RecipeError, TrainingError
from ganzoo.study import bench
from ganzoo.training import pretrain, pretraining_time, train

ENTRY = "image/dcgan_32"
LOOKS = {"evaluation": {"every": 32, "every_samples": 20, "check_networks": ["self_supervised"]}}
TINY = recipe_files.merge(registry.get_entry(ENTRY).raw["tiny"], LOOKS)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (60, 32, 32, 3)).astype("uint8")


def test_two_runs_share_a_page_on_which_pretraining_counts(tmp_path, pictures):
    tiny = recipe_files.merge(registry.get_entry(ENTRY).raw["tiny"], pretraining.small_form("rotation"))
    pretrain("rotation", ENTRY, pictures, tmp_path / "rotation", samples=64, overrides=tiny)
    init = {"discriminator.trunk": f"{tmp_path / 'rotation'}:trunk"}
    train(ENTRY, pictures, tmp_path / "pretrained", samples=64, overrides=TINY, init=init)
    train(ENTRY, pictures, tmp_path / "scratch", samples=64, overrides=TINY)
    spent = json.loads((tmp_path / "rotation/metrics.jsonl").read_text().splitlines()[-1])["seconds"]
    assert pretraining_time(tmp_path / "pretrained") == spent > 0 == pretraining_time(tmp_path / "scratch")
    runs = [tmp_path / "pretrained", tmp_path / "scratch"]
    found = compare_runs(runs, tmp_path / "page.html")
    assert [run["pretraining_seconds"] for run in found["runs"]] == [spent, 0]
    for run, shown in zip(runs, found["runs"], strict=True):
        assert {"sliced Wasserstein x1000", "kid, self_supervised", "recall, self_supervised"} <= set(shown["scores"])
        points = curves(run, [])["kid, self_supervised"]
        assert len(points) == 2 and points[0][0] > pretraining_time(run)
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") == len(found["runs"][0]["scores"]) and page.count("data:image/png") == 2
    assert "pretrained" in page and "<script" not in page


def test_what_cannot_be_compared_is_refused(tmp_path, pictures):
    train(ENTRY, pictures, tmp_path / "one", samples=16, overrides=TINY)
    train(ENTRY, pictures[:30], tmp_path / "other", samples=16, overrides=TINY)
    with pytest.raises(TrainingError, match="Two runs or more"):
        compare_runs([tmp_path / "one"])
    with pytest.raises(TrainingError, match="different data"):
        compare_runs([tmp_path / "one", tmp_path / "other"])
    with pytest.raises(TrainingError, match="no run directory"):
        compare_runs([tmp_path / "one", tmp_path])


def test_a_study_keeps_what_is_done(tmp_path, pictures, monkeypatch):
    from ganzoo import study

    labels = np.arange(60) % 2
    monkeypatch.setattr(study, "read_yaml", lambda path: PLAN)
    tiny = recipe_files.merge(registry.get_entry(ENTRY).raw["tiny"], {"training": {"batch_size": 8}})
    arguments = {"minutes": 0.02, "overrides": tiny}
    data = {"small": (pictures, labels)}
    first = bench("pretraining", tmp_path, data, rows=["scratch"], **arguments)
    assert [cell["row"] for cell in first] == ["scratch"] and np.isfinite(first[0]["kid"])
    before = (tmp_path / "small/scratch/0/result.json").stat().st_mtime_ns
    cells = bench("pretraining", tmp_path, data, **arguments)
    assert (tmp_path / "small/scratch/0/result.json").stat().st_mtime_ns == before
    by_row = {cell["row"]: cell for cell in cells}
    assert set(by_row) == {"scratch", "rotation, D", "patchwork"}
    assert by_row["rotation, D"]["pretraining_seconds"] > 0 and by_row["rotation, D"]["minutes"] == 0.02
    card = read_json(tmp_path / "small/scratch/0/result.json")["scorecard"]
    assert card["protocol"]["reals"] == 40 and card["protocol"]["samples"] == 20
    assert card["sliced_wasserstein_deviation"]["average"] > 0
    assert "patch = 5 does not divide" in by_row["patchwork"]["failed"]
    with pytest.raises(RecipeError, match="done with other minutes"):
        bench("pretraining", tmp_path, data, rows=["scratch"], minutes=0.03, overrides=tiny)
    assert len((tmp_path / "results.csv").read_text().splitlines()) == 4
    with pytest.raises(RecipeError, match="Did you mean 'scratch'"):
        bench("pretraining", tmp_path, data, rows=["scratsch"])
    with pytest.raises(RecipeError, match="set of the study"):
        bench("pretraining", tmp_path, {"large": pictures})


PLAN = {
    "pretraining_share": 0.2,
    "seeds": [0],
    "reference": 40,
    "samples": 20,
    "subsamples": 2,
    "networks": ["self_supervised"],
    "checks": {"every": 32, "every_samples": 20},
    "sets": {"small": {"entry": ENTRY, "count": 20, "minutes": 5.0}},
    "rows": {
        "scratch": {},
        "rotation, D": {"method": "rotation", "init": {"discriminator.trunk": "trunk"}},
        "elsewhere": {"sets": ["another"]},
        "patchwork": {"method": "masked", "pretrain": {"pretrain.patch": 5}, "init": {"discriminator.trunk": "trunk"}},
    },
}
