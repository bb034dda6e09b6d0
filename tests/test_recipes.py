"""Recipes: `extends`, overrides, refusals."""

import subprocess
import sys

import pydantic
import pytest

from ganzoo.errors import RecipeError
from ganzoo.recipes import entries, yaml_files


def recipe(**overrides):
    return entries.get_entry("image/dcgan_32").recipe(**overrides)


def test_recipes_are_frozen_and_read_back(tmp_path):
    made = recipe(**{"training.batch_size": 16, "data": {"flip": True}})
    assert made.training.batch_size == 16 and made.data.flip and made.training.samples == 300_000
    with pytest.raises(pydantic.ValidationError):
        made.training.batch_size = 8
    (tmp_path / "recipe.yaml").write_text(made.to_yaml())
    assert entries.get_entry(str(tmp_path)).recipe().to_dict() == made.to_dict()


@pytest.mark.parametrize(
    ("overrides", "texts"),
    [
        ({"objectiv": "hinge"}, ["'objectiv'", "Did you mean 'objective'"]),
        ({"training": {"batchsize": 3}}, ["'training.batchsize'", "Did you mean 'batch_size'"]),
        ({"optimizers.generator.learning_rat": 1.0}, ["'optimizers.generator.learning_rat'", "'learning_rate'"]),
        ({"model.widht": 1}, ["'model.widht'", "Allowed here", "latent_dim"]),
        ({"training.batch_size": "many"}, ["'training.batch_size'", "'many'"]),
        ({"training.batch_size": "64"}, ["'training.batch_size'"]),
        ({"training.batch_size": 0}, ["'training.batch_size'", "greater than 0"]),
        ({"objective": "hing"}, ["'objective'", "Did you mean 'hinge'"]),
        ({"data.background": "blanc"}, ["'data.background'", "blanc"]),
        ({"objective": "wasserstein"}, ["needs a Lipschitz discriminator", "gradient_penalty"]),
        ({"regularizers": [{"name": "r1", "weight": 1.0}]}, ["discriminator_norm = 'batch'"]),
        ({"regularizers": [{"name": "r1", "wait": 1.0}]}, ["'regularizers.0.wait'", "'weight'"]),
        ({"gan": "dcgam"}, ["Unknown architecture", "Did you mean 'dcgan'"]),
    ],
)
def test_refusals_name_the_key_and_the_mend(overrides, texts):
    with pytest.raises(RecipeError) as refusal:
        recipe(**overrides)
    for text in texts:
        assert text in str(refusal.value)


def test_unknown_entry_names_the_nearest():
    with pytest.raises(RecipeError, match="Did you mean 'image/dcgan_32'"):
        entries.get_entry("image/dcgan32")


def test_extends_lies_beneath(tmp_path):
    (tmp_path / "base.yaml").write_text("a: {b: 1, c: 2e-4}\nd: [1]\n")
    (tmp_path / "top.yaml").write_text("extends: base.yaml\na: {b: 3}\n")
    assert yaml_files.read_yaml(tmp_path / "top.yaml") == {"a": {"b": 3, "c": 2e-4}, "d": [1]}
    (tmp_path / "base.yaml").write_text("extends: top.yaml\n")
    with pytest.raises(RecipeError, match="in a circle"):
        yaml_files.read_yaml(tmp_path / "top.yaml")


def test_listing_loads_no_tensorflow():
    code = (
        "import sys, ganzoo; from ganzoo.cli import main\n"
        "try: main(['list'])\nexcept SystemExit: pass\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "image/dcgan_32" in done.stdout
