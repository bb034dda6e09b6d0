"""The notebooks, executed whole in a small setting."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganzoo.recipes import entries

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
NOTEBOOK = NOTEBOOKS / "fine_tune_and_export.ipynb"


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert cells
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells)


@pytest.mark.heavy
def test_the_notebook_runs_from_a_folder_to_a_tflite_file(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    for name in ("FOLDER", "NEW_FOLDER"):
        monkeypatch.delenv(f"GANZOO_{name}", raising=False)
    monkeypatch.setenv("GANZOO_WORK", "work")
    monkeypatch.setenv("GANZOO_SAMPLES", "32")
    monkeypatch.setenv("GANZOO_OVERRIDES", json.dumps(entries.get_entry("image/dcgan_32").raw["tiny"]))
    monkeypatch.setenv("GANZOO_SCORED", "16")
    monkeypatch.setenv("GANZOO_NETWORKS", "squeezenet")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()

    work = tmp_path / "work"
    assert len(list((work / "images").iterdir())) == 4000
    assert len(list((work / "new_images").iterdir())) == 1000
    for run, samples in (("first", 64), ("tuned", 32)):
        lines = (work / run / "metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["samples"] for line in lines] == list(range(8, samples + 1, 8))
        assert (work / run / "report.html").is_file()
    (scores,) = json.loads((work / "first" / "scores.json").read_text())
    assert scores["samples"] == 64
    transfers = json.loads((work / "tuned" / "transfer.json").read_text())
    assert {transfer["target"] for transfer in transfers} == {"generator", "discriminator"}
    assert all(transfer["loaded"] for transfer in transfers)

    card = json.loads((work / "export" / "model_card.json").read_text())
    assert {file["file"] for file in card["files"]} == {
        "generator.tflite", "generator_float32.tflite", "generator_float16.tflite", "saved_model",
    }  # fmt: skip
    image = np.asarray(Image.open(work / "from_tflite.png"))
    assert image.shape == (4 * 32, 8 * 32, 3) and image.std() > 0

    def shown(cell):
        return sum("image/png" in output.get("data", {}) for output in cell.get("outputs", []))

    assert [shown(cell) for cell in notebook.cells if shown(cell)] == [1, 2, 1, 2, 1]


@pytest.mark.heavy
def test_the_notebook_compares_three_ways_to_pretrain(tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    tiny = {**entries.get_entry("image/dcgan_32").raw["tiny"], "evaluation": {"every": 32, "every_samples": 64}}
    images = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3)).astype("uint8")
    np.save(tmp_path / "images.npy", images)
    monkeypatch.setenv("GANZOO_DATA", str(tmp_path / "images.npy"))
    monkeypatch.setenv("GANZOO_WORK", "work")
    monkeypatch.setenv("GANZOO_MINUTES", "0.03")
    monkeypatch.setenv("GANZOO_PRETRAINING", "0.01")
    monkeypatch.setenv("GANZOO_OVERRIDES", json.dumps(tiny))
    notebook = nbformat.read(NOTEBOOKS / "pretraining.ipynb", as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "work/comparison.html").is_file()
    reports = json.loads((tmp_path / "work/from_variational/transfer.json").read_text())
    assert {report["target"] for report in reports} == {"generator", "discriminator.trunk"}
    assert all(report["loaded"] and sum(report["times"].values()) > 0 for report in reports)
    table = notebook.cells[-1]["outputs"][-1]["text"].splitlines()
    assert [line.split()[0] for line in table[1:]] == [
        "scratch",
        "from_autoencoder",
        "from_variational",
        "from_rotation",
    ]
    assert all(np.isfinite(float(number)) for line in table[1:] for number in line.split()[1:-1])
    assert {line.split()[-1] for line in table[1:]} == {"nan"}  # recall: 64 samples are too few for it
