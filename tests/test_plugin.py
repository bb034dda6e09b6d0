"""The example of docs/adding-a-gan.md, word for word, as a package that adds its entry to the zoo."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import ganzoo
from ganzoo import pretraining
from ganzoo.recipes import entries, yaml_files

PAGE = Path(__file__).parents[1] / "docs" / "adding-a-gan.md"
NAME = "image/perceptron_28"


def example(language):
    """The first block of a language in the page."""
    block, *_ = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return block


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install the package `my_zoo` as pip would: modules, and metadata with an entry point."""
    package, metadata = tmp_path / "my_zoo", tmp_path / "my_zoo-1.0.dist-info"
    (package / "image").mkdir(parents=True)
    metadata.mkdir()
    (package / "__init__.py").touch()
    (package / "perceptron.py").write_text(example("python"))
    recipe = example("yaml").replace("gan: perceptron\n", "gan: my_zoo.perceptron\n")
    (package / f"{NAME}.yaml").write_text(recipe)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: my-zoo\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[ganzoo.zoo]\nimages = my_zoo\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    entries._files.cache_clear()
    yield
    entries._files.cache_clear()
    for name in [name for name in sys.modules if name.split(".")[0] == "my_zoo"]:
        del sys.modules[name]


def test_the_example_trains_and_exports(plugin, tiny, reals, tmp_path):
    assert NAME in ganzoo.list_entries() and "image/dcgan_32" in ganzoo.list_entries()
    assert ganzoo.get_entry(NAME).recipe().model.width == 256
    gan = tiny(NAME)
    before = gan.state()
    gan.fit(reals(gan, 1), verbose=0)
    after = gan.state()
    assert gan.step_count == 1
    for network in ("generator", "discriminator", "generator_ema"):
        names = [name for name in before if name.startswith(f"{network}/")]
        assert names and any(not np.array_equal(before[name], after[name]) for name in names)

    overrides = yaml_files.merge(ganzoo.get_entry(NAME).raw["tiny"], {"training": {"samples": 16}})
    ganzoo.train(NAME, "mnist5k", tmp_path / "run", overrides=overrides)
    assert ganzoo.load(str(tmp_path / "run")).generate(2).shape == (2, 28, 28, 1)
    card = ganzoo.export_generator(str(tmp_path / "run"), tmp_path / "export", ["tflite"], ["none"])
    assert card["files"][0]["max_error"] < 1e-4


def test_the_example_is_pretrained(plugin, tmp_path):
    tiny = yaml_files.merge(ganzoo.get_entry(NAME).raw["tiny"], pretraining.small_form("masked"))
    result = ganzoo.pretrain("masked", NAME, "mnist5k", tmp_path / "run", samples=16, overrides=tiny)
    assert result["parts"] == ["filling", "trunk"]  # 28 is no power of two: patches of 7, doubled from 4 and cropped


def test_without_the_package_its_entry_is_unknown():
    assert NAME not in ganzoo.list_entries()
    with pytest.raises(ganzoo.GanzooError, match="perceptron_28"):
        ganzoo.get_entry(NAME)
