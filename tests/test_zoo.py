"""What must hold for every entry of the zoo, each in its tiny form."""

import numpy as np
import pytest

from ganzoo import distribution
from ganzoo.recipes import entries
from ganzoo.runs.train import train
from ganzoo.weights import preset_files
from ganzoo.zoo.load import load
from ganzoo.zoo.transfer import transfer

ENTRIES = entries.list_entries()
each_entry = pytest.mark.parametrize("name", ENTRIES)


def test_the_zoo_is_not_empty():
    assert {"image/dcgan_32", "image/projected_mobile_64", "image/wgan_gp_32"} <= set(ENTRIES)


@each_entry
def test_samples_have_the_shape_and_type_of_the_data(name, tiny):
    gan = tiny(name)
    samples = gan.generate(5)
    size, channels = gan.recipe.data.size, gan.recipe.data.channels
    assert samples.shape == (5, size, size, channels) and samples.dtype == np.uint8
    assert {"generator", "discriminator"} <= set(gan.parts())
    assert not np.array_equal(samples[0], samples[1])
    # What is drawn depends on the seed alone, not on the batch it is drawn in (up to one grey level of rounding).
    again = gan.generate(5, batch_size=2)
    assert np.abs(again.astype(int) - samples).max() <= 1


@each_entry
def test_a_step_trains_every_network_and_stays_finite(name, tiny, reals):
    gan = tiny(name)
    before = gan.state()
    logs = gan.fit(reals(gan, 2), verbose=0).history
    after = gan.state()
    assert all(np.isfinite(value).all() for value in after.values())
    assert all(np.isfinite(values).all() for values in logs.values())
    for network in (*gan.networks(), "generator_ema"):
        trained = [k for k in before if k.startswith(f"{network}/") and not np.array_equal(before[k], after[k])]
        assert len(trained) > 3, f"{network} did not move"
    assert gan.step_count == 2
    assert gan.sample_count == 2 * gan.recipe.training.batch_size * gan.recipe.training.d_steps


@each_entry
@pytest.mark.heavy_with_backbone
def test_saving_and_loading_keep_every_number(name, tiny, reals, tmp_path):
    import keras

    gan = tiny(name)
    gan.fit(reals(gan, 2), verbose=0)
    preset_files.save(gan, tmp_path / "preset")
    loaded = load(str(tmp_path / "preset"))
    assert np.array_equal(loaded.generate(4), gan.generate(4))
    gan.save(tmp_path / "gan.keras")
    whole = keras.saving.load_model(tmp_path / "gan.keras")
    before, after = gan.state(), whole.state()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)


@each_entry
@pytest.mark.heavy_with_backbone
def test_a_resumed_run_equals_an_unbroken_one(name, tmp_path):
    entry = entries.get_entry(name)
    tiny = entry.raw["tiny"]
    size = tiny.get("data", {}).get("size", entry.raw["data"]["size"])
    images = np.random.default_rng(0).integers(0, 256, (40, size, size, 3)).astype("uint8")
    data = (images, np.arange(40) % 3)
    unbroken = train(name, data, tmp_path / "unbroken", samples=64, overrides=tiny)
    train(name, data, tmp_path / "broken", samples=32, overrides=tiny)
    resumed = train(name, data, tmp_path / "broken", samples=64, overrides=tiny)
    assert resumed["samples"] == unbroken["samples"] == 64
    states = [_checkpoint(tmp_path / run) for run in ("unbroken", "broken")]
    assert all(np.array_equal(states[0][key], states[1][key]) for key in states[0] if key != "run/seconds")
    lines = [_losses(tmp_path / run) for run in ("unbroken", "broken")]
    assert lines[0] == lines[1] and len(lines[0]) >= 4


@each_entry
@pytest.mark.heavy_with_backbone
def test_two_replicas_equal_one(name, tiny, reals):
    def run(strategy):
        with distribution.scope(distribution.get_strategy(strategy)):
            gan = tiny(name)
        gan.fit(reals(gan, 3), verbose=0)
        return gan.state(), list(gan.networks())

    one, networks = run("none")
    two, _ = run("mirrored")
    for network in (*networks, "generator_ema"):
        keys = [key for key in one if key.startswith(f"{network}/")]
        difference = np.sqrt(sum(np.sum((one[key] - two[key]) ** 2) for key in keys))
        norm = np.sqrt(sum(np.sum(one[key] ** 2) for key in keys))
        assert difference / norm < 1e-4, network


@each_entry
@pytest.mark.heavy_with_backbone
def test_a_frozen_part_stays_as_it_was(name, tiny, reals):
    part = "discriminator.trunk"
    gan = tiny(name, freeze=[part])
    before = gan.state()
    gan.fit(reals(gan, 2), verbose=0)
    after = gan.state()
    frozen = [key for key in before if key.startswith("discriminator/trunk/")]
    assert frozen and all(np.array_equal(before[key], after[key]) for key in frozen)
    assert any(not np.array_equal(before[key], after[key]) for key in before if key.startswith("generator/"))


@each_entry
def test_parts_transfer_and_misfits_are_refused(name, tiny, tmp_path):
    from ganzoo.errors import WeightsError

    source = tiny(name)
    preset_files.save(source, tmp_path / "preset")
    target = tiny(name, seed=1)
    for array in target.generator.weights:
        array.assign(array + 1.0)
    report = transfer(f"{tmp_path / 'preset'}:generator", "generator", target)
    assert len(report.loaded) == len(source.generator.weights)
    assert np.array_equal(target.generate(3), source.generate(3))
    with pytest.raises(WeightsError, match="do not fit"):
        transfer(f"{tmp_path / 'preset'}:discriminator", "generator", target)
    with pytest.raises(WeightsError, match="Did you mean 'generator'"):
        transfer(f"{tmp_path / 'preset'}:generater", "generator", target)


def _checkpoint(run):
    from safetensors.numpy import load_file

    return load_file(max((run / "checkpoints").glob("*.safetensors")))


def _losses(run):
    import json

    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k not in ("seconds", "samples_per_second")} for line in lines]


@pytest.mark.parametrize("name", [name for name in ENTRIES if entries.get_entry(name).weights])
def test_published_weights_load_and_give_varied_samples(name):
    samples = load(name).generate(4, seed=0).astype(float)
    assert samples.std() > 20 and np.abs(samples[0] - samples[1]).mean() > 5
