"""A GAN is saved and loaded as any Keras model: no `custom_objects`, the same samples, the same next step."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from ganzoo.recipes import entries
from ganzoo.zoo.create import create, create_pretraining

ENTRIES = entries.list_entries()
each_entry = pytest.mark.parametrize("name", ENTRIES)


def same_state(one, other):
    before, after = one.state(), other.state()
    assert before.keys() == after.keys()
    different = [key for key in before if not np.array_equal(before[key], after[key])]
    assert not different, different[:5]


@each_entry
@pytest.mark.heavy_with_backbone
def test_a_loaded_gan_makes_the_same_samples_and_takes_the_same_next_step(name, tiny, reals, tmp_path):
    gan = tiny(name)
    gan.fit(reals(gan, 2), verbose=0)
    gan.inherited_sources = [{"backbone": "x", "family": "y", "trained_on": "z"}]
    gan.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    assert type(loaded) is type(gan) and loaded.compiled
    assert np.array_equal(loaded.generate(4), gan.generate(4))
    assert loaded.inherited_sources == gan.inherited_sources
    same_state(gan, loaded)
    logs = [one.fit(reals(one, 2), verbose=0).history for one in (gan, loaded)]
    assert logs[0] == logs[1] and loaded.step_count == 4
    same_state(gan, loaded)


@each_entry
def test_a_gan_is_saved_before_it_is_compiled(name, tmp_path):
    gan = create(name, **entries.get_entry(name).raw["tiny"])
    gan.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    assert not loaded.compiled and np.array_equal(loaded.generate(2), gan.generate(2))
    loaded.compile()


@each_entry
def test_the_networks_are_saved_and_loaded_alone(name, tiny, tmp_path):
    gan = tiny(name)
    for key, network in {**gan.parts(), **{k: average for k, (average, _) in gan.averages().items()}}.items():
        network.save(tmp_path / f"{key}.keras")
        loaded = keras.saving.load_model(tmp_path / f"{key}.keras")
        assert [w.shape for w in loaded.weights] == [w.shape for w in network.weights]
        for one, other in zip(network.weights, loaded.weights, strict=True):
            assert np.array_equal(one, other), (key, one.path)
    inputs = gan.draw_latents(3) | gan.draw_conditions(3)
    generator = keras.saving.load_model(tmp_path / "generator.keras")
    assert np.array_equal(generator(inputs, training=False), gan.generator(inputs, training=False))


VARIANTS = {
    "spectral": ("image/dcgan_32", {"model": {"discriminator_norm": "none", "spectral": True}}),
    "mixed_float16": ("image/dcgan_32", {"training": {"precision": "mixed_float16"}}),
    "guards": ("image/dcgan_32", {"guards.act": ["augment"], "augment": {"policy": ["colour"], "probability": 0.3}}),
    "frozen until": ("image/dcgan_32", {"freeze": [{"part": "discriminator.trunk", "until": 12}]}),
    "auxiliary": ("image/dcgan_32", {"auxiliary": ["rotation"]}),
    "ensemble": (
        "image/projected_mobile_64",
        {"model": {"projected_weight": 0.0, "ensemble": ["efficientnet_lite0"], "backbone_weights": "random"}},
    ),
}


@pytest.mark.parametrize(
    "variant", [pytest.param(name, marks=pytest.mark.heavy) if name == "ensemble" else name for name in VARIANTS]
)
def test_what_a_recipe_adds_is_saved_too(variant, tiny, reals, tmp_path):
    name, changes = VARIANTS[variant]
    gan = tiny(name, **changes)
    gan.fit(reals(gan, 1), verbose=0)
    gan.save(tmp_path / "gan.keras")
    loaded = keras.saving.load_model(tmp_path / "gan.keras")
    same_state(gan, loaded)
    for one in (gan, loaded):
        one.fit(reals(one, 2), verbose=0)
    same_state(gan, loaded)


def test_model_checkpoints_can_be_loaded(tiny, reals, tmp_path):
    gan = tiny("image/wgan_gp_32")
    callbacks = [
        keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"),
        keras.callbacks.ModelCheckpoint(tmp_path / "last.weights.h5", save_weights_only=True),
    ]
    gan.fit(reals(gan, 2), epochs=2, verbose=0, callbacks=callbacks)
    first, second = (keras.saving.load_model(tmp_path / f"{epoch}.keras") for epoch in (1, 2))
    assert (first.step_count, second.step_count) == (2, 4)
    inputs = gan.draw_latents(4) | gan.draw_conditions(4)
    assert np.array_equal(second.generator(inputs), gan.generator(inputs))
    fresh = tiny("image/wgan_gp_32", seed=1)
    fresh.load_weights(tmp_path / "last.weights.h5")
    assert fresh.step_count == 4 and np.array_equal(fresh.generator(inputs), gan.generator(inputs))


def test_backup_and_restore_resumes_with_the_optimizers_state(tiny, reals, tmp_path):
    def stop(epoch, logs):
        if epoch == 1:
            raise KeyboardInterrupt

    unbroken = tiny("image/dcgan_32")
    unbroken.fit(reals(unbroken, 2), epochs=3, verbose=0)
    broken = tiny("image/dcgan_32")
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        stopping = keras.callbacks.LambdaCallback(on_epoch_begin=stop)
        broken.fit(reals(broken, 2), epochs=3, verbose=0, callbacks=[backup, stopping])
    resumed = tiny("image/dcgan_32", seed=0)
    resumed.fit(
        reals(resumed, 2), epochs=3, verbose=0, callbacks=[keras.callbacks.BackupAndRestore(tmp_path / "backup")]
    )
    assert resumed.step_count == 6
    before, after = unbroken.state(), resumed.state()
    weights = [key for key in before if not key.startswith("generator_ema/")]  # calibrated at the end of each fit
    assert all(np.array_equal(before[key], after[key]) for key in weights)


def test_pretrainings_are_saved_too(tmp_path):
    from ganzoo import pretraining

    entry = entries.get_entry("image/dcgan_32")
    model = create_pretraining(pretraining.recipe("rotation", "image/dcgan_32", entry.raw["tiny"]))
    model.compile()
    model.save(tmp_path / "x.keras")
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    assert type(loaded).__name__ == "Pretraining" and loaded.compiled
    same_state(model, loaded)


@pytest.mark.parametrize(
    "order",
    [
        "import ganzoo, keras",
        "import keras, ganzoo",
        "import keras; from ganzoo import GAN",
        "import ganzoo, importlib.util as u; assert u.find_spec('keras') and u.find_spec('keras'); import keras",
    ],
)
def test_a_fresh_process_loads_what_was_saved(order, tiny, tmp_path):
    gan = tiny("image/elastic_mobile_64")
    gan.save(tmp_path / "gan.keras")
    gan.generator.save(tmp_path / "generator.keras")
    np.save(tmp_path / "samples.npy", gan.generate(2))
    code = (
        f"{order}\nimport numpy as np\n"
        "gan = keras.saving.load_model('gan.keras')\n"
        "keras.saving.load_model('generator.keras')\n"
        "assert np.array_equal(gan.generate(2), np.load('samples.npy'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_registration_that_failed_is_tried_again(monkeypatch):
    from ganzoo.core import registration

    calls = []

    def register():
        calls.append(registration.register_classes())  # what it imports may build a model
        if len(calls) == 1:
            raise ImportError("half a module")

    monkeypatch.setattr(registration, "_registration", registration._Registration())
    registration.register_with_keras(lambda: None)
    monkeypatch.setattr(registration, "_registration", registration._Registration())
    with pytest.raises(ImportError):
        registration.register_with_keras(register)
    for _ in range(3):
        registration.register_classes()
    assert len(calls) == 2


def test_importing_ganzoo_imports_neither_keras_nor_tensorflow():
    code = "import sys, ganzoo; ganzoo.list_entries(); assert not {'keras', 'tensorflow'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_class_and_layer_of_the_package_is_registered():
    import importlib
    import inspect
    import pkgutil

    import ganzoo

    unregistered, seen = [], set()
    for folder in ("gans", "layers", "pretraining"):
        package = importlib.import_module(f"ganzoo.{folder}")
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            for kind in vars(importlib.import_module(module.name)).values():
                saved = inspect.isclass(kind) and issubclass(kind, keras.Layer | keras.initializers.Initializer)
                if saved and kind.__module__ == module.name:
                    seen.add(kind.__name__)
                    if keras.saving.get_registered_name(kind) != f"ganzoo>{kind.__name__}":
                        unregistered.append(kind.__name__)
    assert not unregistered and {"DCGAN", "BatchNorm", "Held", "InRange", "Pretraining"} <= seen
    assert ganzoo.GAN is keras.saving.get_registered_object("ganzoo>GAN")
