"""What ships with ganzoo, what it depends on, and what it imports."""

import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from ganzoo.commands.extras import EXTRAS, missing_extras
from ganzoo.errors import DataError, WeightsError
from ganzoo.weights import shipped

sys.path.append(str(Path(__file__).parent / "benchmarks"))
import convert_weights

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_shipped_files_are_checked_whenever_they_are_read():
    for file in shipped.SHIPPED:
        assert len(shipped.read_shipped(file)) > 100_000
        kind = DataError if file is shipped.MNIST5K else WeightsError
        with pytest.raises(kind, match=f"is damaged: expected the sha256 {'0' * 64}, found {file.sha256}"):
            shipped.read_shipped(file._replace(sha256="0" * 64))
        with pytest.raises(kind, match=r"cannot be read.*Install ganzoo again: pip install"):
            shipped.read_shipped(file._replace(path=f"{file.path}.missing"))


def test_every_shipped_file_has_a_licence_in_the_licences_file():
    text = (ROOT / "zoo_configs" / "_weights" / "LICENCES.md").read_text()
    for file in shipped.SHIPPED:
        row = next(line for line in text.splitlines() if line.startswith(f"| `{file.path}`"))
        assert file.sha256 in row and f"{len(shipped.read_shipped(file)):,}" in row
    stray = {
        path.relative_to(ROOT / "zoo_configs").as_posix()
        for folder in ("_weights", "_data")
        for path in (ROOT / "zoo_configs" / folder).iterdir()
    }
    assert stray == {file.path for file in shipped.SHIPPED} | {"_weights/LICENCES.md"}


def test_shipped_weights_are_the_published_ones_rounded_to_half_precision():
    published = {
        f"{name}/{part}": array
        for name, pair in convert_weights.ndf_arrays().items()
        for part, array in zip(("kernel", "bias"), pair, strict=True)
        if name != "conv10"
    }
    given = shipped.read_shipped_weights(shipped.SQUEEZENET)
    lite = {f"{place:03d}.{name}": a for place, (name, a) in enumerate(convert_weights.lite0_tensors().items())}
    for wanted, found in ((published, given), (lite, shipped.read_shipped_weights(shipped.EFFICIENTNET_LITE0))):
        assert sorted(wanted) == list(found)
        for name, array in wanted.items():
            assert found[name].dtype == np.float32 and found[name].shape == array.shape
            if array.ndim == 4:
                # Half precision has 11 significant bits, down to the smallest step of 2^-24.
                assert np.all(np.abs(found[name] - array) <= np.maximum(np.abs(array) * 2.0**-11, 2.0**-25)), name
            else:
                np.testing.assert_array_equal(found[name], array)


@pytest.mark.heavy
def test_what_is_not_asked_for_is_not_imported():
    """Data sets of TensorFlow, backbones and exports are imported where they are used, not before."""
    code = (
        "import sys, ganzoo; from ganzoo.data import ImageOptions, load_images\n"
        "load_images('mnist5k', ImageOptions(32)); ganzoo.create('image/dcgan_32').summary\n"
        "heavy = ['tensorflow_datasets', 'keras_cv', 'keras_hub', 'onnx', 'ai_edge_litert']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr[-500:]


def test_a_missing_optional_package_is_named_with_how_to_install_it(tmp_path, monkeypatch, caplog):
    from ganzoo import study_report
    from ganzoo.data import ImageOptions, load_images

    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(
        DataError, match=r"'tfds:mnist' needs the package 'tensorflow-datasets'.*pip install tensorflow-d"
    ):
        load_images("tfds:mnist", ImageOptions(32))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    study_report.draw([], tmp_path / "results.png")
    assert "pip install 'ganzoo[study]'" in caplog.text and not any(tmp_path.iterdir())


def test_the_owners_list_is_required_and_extras_are_explained():
    needed = " ".join(PROJECT["dependencies"]) + " " + " ".join(PROJECT["optional-dependencies"]["test"])
    for package in ("keras", "tensorflow", "tensorflow-datasets", "keras-cv", "numpy", "pytest"):
        assert f"{package}>=" in needed
    assert set(EXTRAS) == set(PROJECT["optional-dependencies"])


def test_missing_extras_are_named_with_their_packages():
    requirements = ["keras-hub>=0.20,<1; extra == 'hub'", 'no-such-package>=1; extra == "onnx"', "numpy>=1.26"]
    assert missing_extras([*requirements, 'tensorflow[no-extra]>=2; extra == "gpu"']) == {"onnx": ["no-such-package"]}
    installed = missing_extras()
    assert set(installed) <= set(EXTRAS) and all(installed.values())
