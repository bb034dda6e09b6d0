"""What people do with a `keras.Model` works with a GAN, or an error says what to do instead."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from ganzoo import cli
from ganzoo.commands.generate import class_of, generate, write_samples
from ganzoo.errors import DataError, GanzooError, RecipeError, TrainingError
from ganzoo.recipes import entries
from ganzoo.runs.finetune import finetune
from ganzoo.runs.train import train
from ganzoo.weights import preset_files
from ganzoo.zoo.load import load

ENTRY, CLASSES = "image/dcgan_32", "image/wgan_gp_32"
IMAGES = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3)).astype("uint8")
IDS = (np.arange(32) % 3).astype("int32")
SCORE = "sliced_wasserstein_x1000"


def test_the_summary_names_the_networks(tiny):
    lines = []
    tiny("image/elastic_mobile_64").summary(print_fn=lines.append)
    assert {"generator", "discriminator", "generator_ema", "narrow_ema"} <= set("\n".join(lines).split())


def test_predict_makes_what_generate_makes(tiny):
    gan = tiny(ENTRY)
    made = gan.predict(gan.draw_latents(20)["latents"], batch_size=8, verbose=0)
    assert made.dtype == np.float32 and np.array_equal(gan.domain.from_unit(made), gan.generate(20))
    inputs = gan.draw_latents(4)
    assert np.array_equal(gan.predict(inputs, verbose=0), gan(inputs))
    conditional = tiny(CLASSES)
    inputs = conditional.draw_latents(6) | conditional.draw_conditions(6)
    made = conditional.domain.from_unit(conditional.predict(inputs, verbose=0))
    assert np.abs(made.astype(int) - conditional.generate(6)).max() <= 1
    for wrong, message in (
        (np.zeros((4, 9), "float32"), r"'latents': \(None, 8\).*Received: \{'latents': \(4, 9\)\}"),
        (IMAGES, "gan.generate"),
        (inputs["latents"], "class_id"),
        (inputs | {"class_id": np.full(6, 5)}, "A class id out of range"),
    ):
        with pytest.raises(DataError, match=message):
            conditional.predict(wrong, verbose=0)


def test_evaluate_is_the_quick_score(tiny):
    gan = tiny(CLASSES)
    data = {"real": IMAGES, "class_id": IDS}
    fakes = gan.generate(32, seed=gan.recipe.seed, conditions={"class_id": IDS})
    with gan.calibrated():
        fakes = gan.generate(32, seed=gan.recipe.seed, conditions={"class_id": IDS})
    order = np.argsort(IDS, kind="stable")  # the score does not depend on the order of the images
    wanted = gan.domain.quick_score(IMAGES[order], fakes[order])
    assert gan.evaluate(data) == pytest.approx(wanted, rel=0.05)
    assert gan.evaluate(data, return_dict=True).keys() == {SCORE}
    with pytest.raises(DataError, match="No data"):
        gan.evaluate()
    with pytest.raises(TrainingError, match="Use evaluate"):
        gan.test_on_batch(data)


def test_validation_data_are_scored_and_callbacks_act_on_all_optimizers(tiny):
    gan = tiny(ENTRY, evaluation={"every_samples": 32})
    gan.compile(optimizers={"discriminator": keras.optimizers.Adam(8e-4, beta_1=0.5)})
    watch = {"monitor": f"val_{SCORE}", "mode": "min", "min_delta": 1e9}
    callbacks = [
        keras.callbacks.ReduceLROnPlateau(patience=1, factor=0.5, cooldown=0, **watch),
        keras.callbacks.EarlyStopping(patience=2, restore_best_weights=True, start_from_epoch=0, **watch),
    ]
    logs = gan.fit(IMAGES, epochs=9, validation_data=IMAGES, verbose=0, callbacks=callbacks).history
    assert len(logs[f"val_{SCORE}"]) == 3 and np.isfinite(logs[f"val_{SCORE}"]).all()
    assert logs["learning_rate"] == pytest.approx([2e-4, 2e-4, 1e-4])
    rates = {name: float(one.learning_rate) for name, one in gan.optimizers.items()}
    # Plateaus at the second and the third epoch; then the best weights came back, learning rates are no weights.
    assert rates["discriminator"] == pytest.approx(4 * rates["generator"]) and rates["generator"] == pytest.approx(5e-5)
    logs = gan.fit(IMAGES, validation_split=0.5, verbose=0).history
    assert f"val_{SCORE}" in logs


def test_a_schedule_scales_all_learning_rates(tiny):
    gan = tiny(ENTRY)
    gan.compile(optimizers={"discriminator": keras.optimizers.SGD(1e-3)})
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch, rate: [0.0, 4e-4][epoch])
    gan.fit(IMAGES[:8], epochs=2, verbose=0, callbacks=[schedule])
    rates = {name: float(one.learning_rate) for name, one in gan.optimizers.items()}
    assert rates == {"generator": pytest.approx(4e-4), "discriminator": pytest.approx(2e-3)}  # 1 to 5, also after 0
    assert float(gan.optimizer.learning_rate) == pytest.approx(4e-4) and int(gan.optimizer.iterations) == 2


def test_compile_takes_optimizers(tiny, tmp_path):
    gan = tiny(ENTRY)
    gan.compile("adam")
    assert [float(one.learning_rate) for one in gan.optimizers.values()] == pytest.approx([1e-3, 1e-3])
    given = keras.optimizers.RMSprop(5e-4, momentum=0.5)
    gan.compile(given)
    one, other = gan.optimizers.values()
    assert type(one) is keras.optimizers.RMSprop and one.momentum == 0.5 and one is not other and given is not one
    gan.fit(IMAGES[:16], verbose=0)
    gan.save(tmp_path / "x.keras")
    loaded = keras.saving.load_model(tmp_path / "x.keras")
    assert type(loaded.optimizers["generator"]) is keras.optimizers.RMSprop
    before, after = gan.state(), loaded.state()
    assert before.keys() == after.keys() and all(np.array_equal(before[key], after[key]) for key in before)
    elastic = tiny("image/elastic_mobile_64")
    elastic.compile(optimizers={"generator": keras.optimizers.SGD(0.1)})
    assert type(elastic.optimizers["narrow"]) is keras.optimizers.SGD  # it trains as the generator does
    assert type(elastic.optimizers["discriminator"]) is keras.optimizers.Adam
    half = tiny(ENTRY, training={"precision": "mixed_float16"})
    half.compile(keras.optimizers.Adam(1e-4))
    assert all(isinstance(one, keras.optimizers.LossScaleOptimizer) for one in half.optimizers.values())
    half.fit(IMAGES[:16], verbose=0)
    assert np.isfinite(half.predict(half.draw_latents(2), verbose=0)).all()
    for arguments, message in (
        ({"optimizer": "adamm"}, "Received: 'adamm'"),
        ({"optimizer": "adam", "optimizers": {}}, "not both"),
        ({"optimizer": {"generator": "adam"}}, "optimizers="),
        ({"optimizers": {"generater": "adam"}}, "Did you mean 'generator'"),
        ({"optimizers": "adam"}, "a dict by network"),
        ({"loss": "mse"}, "set by its recipe"),
        ({"metrics": ["mae"]}, "metrics"),
    ):
        with pytest.raises(TrainingError, match=message):
            gan.compile(**arguments)


def test_train_on_batch_returns_the_losses(tiny):
    gan = tiny(CLASSES)
    logs = gan.train_on_batch({"real": IMAGES[:8], "class_id": IDS[:8]}, return_dict=True)
    assert {"generator_loss", "discriminator_loss", "gradient_penalty"} <= logs.keys() and gan.step_count == 1
    assert len(gan.train_on_batch({"real": IMAGES[:8], "class_id": IDS[:8]})) == len(logs)
    with pytest.raises(TrainingError, match="sample_weight"):
        gan.train_on_batch(IMAGES[:8], sample_weight=np.ones(8))


def test_a_gan_exports_itself(tiny, tmp_path):
    card = tiny(ENTRY).export(tmp_path / "out", format="tf_saved_model")
    assert (tmp_path / "out" / "saved_model").is_dir() and [file["file"] for file in card["files"]] == ["saved_model"]
    with pytest.raises(GanzooError, match="export format"):
        tiny(ENTRY).export(tmp_path / "other", format="pickle")


def test_the_dtype_policy_of_keras_is_respected(tiny, tmp_path):
    preset_files.save(tiny(ENTRY), tmp_path / "preset")
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        gan = tiny(ENTRY)
        assert gan.recipe.training.precision == "mixed_bfloat16"
        assert gan.generator.get_layer("dense").dtype_policy.name == "mixed_bfloat16"
        latents = gan.draw_latents(4)
        assert np.array_equal(gan.domain.from_unit(gan.predict(latents, verbose=0)), gan.generate(4))
        assert tiny(ENTRY, training={"precision": "float32"}).recipe.training.precision == "float32"
        assert load(str(tmp_path / "preset")).recipe.training.precision == "float32"  # as it was trained
        gan.save(tmp_path / "x.keras")
        keras.config.set_dtype_policy("float16")
        with pytest.raises(RecipeError, match=r"policy 'float16'.*mixed_bfloat16"):
            tiny(ENTRY)
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.saving.load_model(tmp_path / "x.keras").recipe.training.precision == "mixed_bfloat16"


class Tracker(keras.callbacks.Callback):
    """As an experiment tracker: it keeps the losses of each step, and how many samples were seen."""

    def __init__(self):
        super().__init__()
        self.rows, self.ended = [], False

    def on_train_batch_end(self, batch, logs=None):
        self.rows.append((self.model.sample_count, float(logs["generator_loss"])))

    def on_train_end(self, logs=None):
        self.ended = True


def test_runs_take_callbacks(tmp_path):
    overrides = entries.get_entry(ENTRY).raw["tiny"]
    tracker, board = Tracker(), keras.callbacks.TensorBoard(tmp_path / "board", update_freq=1)
    callbacks = [tracker, board, keras.callbacks.CSVLogger(tmp_path / "log.csv")]
    train(ENTRY, IMAGES, tmp_path / "run", samples=32, overrides=overrides, callbacks=callbacks)
    assert [samples for samples, _ in tracker.rows] == [8, 16, 24, 32] and tracker.ended  # no step of the estimate
    assert list((tmp_path / "board").rglob("*events*")) and (tmp_path / "log.csv").read_text().count("\n") == 2
    again = Tracker()
    finetune(str(tmp_path / "run"), IMAGES[:24], tmp_path / "second", samples=8, callbacks=[again])
    assert [samples for samples, _ in again.rows] == [8]
    for wrong in (Tracker(), [Tracker]):
        with pytest.raises(TrainingError, match=r"a list of Keras callbacks.*Received"):
            train(ENTRY, IMAGES, tmp_path / "third", samples=8, overrides=overrides, callbacks=wrong)
    assert not (tmp_path / "third").exists()


def test_the_callback_of_a_package_that_is_missing_is_refused_with_its_extra(tmp_path, monkeypatch):
    board = keras.callbacks.TensorBoard(tmp_path / "board")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"needs the package tensorboard: pip install 'ganzoo\[tensorboard\]'"):
        train(ENTRY, IMAGES, tmp_path / "run", samples=8, callbacks=[board])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_is_refused_with_the_way_to_choose(backend):
    environment = {**os.environ, "KERAS_BACKEND": backend}
    for command in (
        [sys.executable, "-c", f"import ganzoo; ganzoo.create('{ENTRY}')"],
        [sys.executable, "-m", "ganzoo", "show", ENTRY, "--all"],
    ):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 1
        assert f"Received: '{backend}'" in done.stderr and "KERAS_BACKEND=tensorflow ganzoo" in done.stderr
        assert "os.environ['KERAS_BACKEND'] = 'tensorflow'" in done.stderr
    done = subprocess.run([sys.executable, "-m", "ganzoo", "list"], env=environment, capture_output=True)
    assert done.returncode == 0  # it needs no Keras


CONDITIONS = {
    "negative": ({"class_id": np.full(4, -1)}, "A class id out of range"),
    "too large": ({"class_id": np.full(4, 99)}, "A class id out of range"),
    "too few": ({"class_id": np.zeros(3, "int32")}, "one class id for each of the 4 samples. Received: 3"),
    "a number": ({"class_id": 1}, "wrong shape"),
    "one-hot": ({"class_id": np.eye(10, dtype="int32")[:4]}, "wrong shape|one-hot"),
    "floats": ({"class_id": np.zeros(4)}, "must hold integers"),
    "unknown": ({"colour": np.zeros(4, "int32")}, r"Conditions of this GAN: \['class_id'\]"),
}


@pytest.mark.parametrize("case", CONDITIONS)
def test_wrong_conditions_of_samples_are_refused(tiny, case):
    conditions, text = CONDITIONS[case]
    gan = tiny(CLASSES)
    with pytest.raises(DataError, match=text):
        gan.generate(4, conditions=conditions)


def test_wrong_counts_of_samples_are_refused(tiny):
    gan = tiny(ENTRY)
    for count in (0, -1, 2.0, True):
        with pytest.raises(DataError, match="count must be an integer of 1 or more"):
            gan.generate(count)
    with pytest.raises(TrainingError, match=r"Out of memory with 10,000,000,000,000 samples\. Generate fewer"):
        gan.generate(10**13)


def test_samples_are_not_mixed_with_other_files(tiny, tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "00000.png").write_bytes(b"mine")
    with pytest.raises(GanzooError, match=r"own holds other files, such as 00000\.png"):
        generate(tiny(ENTRY), tmp_path / "own", count=2)
    assert (tmp_path / "own" / "00000.png").read_bytes() == b"mine"
    generate(tiny(ENTRY), tmp_path / "new", count=2)
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_generate_takes_a_gan_and_says_which_classes_it_made(tiny, tmp_path):
    gan = tiny(CLASSES)
    path = generate(gan, tmp_path / "x.npy", count=5, condition=1)
    assert np.array_equal(np.load(path), gan.generate(5, conditions={"class_id": np.full(5, 1, "int32")}))
    made = write_samples(gan, tmp_path / "x.npy", count=5)
    assert made["classes"] == [{"id": index, "name": None} for index in range(3)]
    with pytest.raises(GanzooError, match="Received: int"):
        generate(5, tmp_path / "x.npy")
    with pytest.raises(GanzooError, match="has no classes"):
        generate(tiny(ENTRY), tmp_path / "x.npy", condition=1)


def test_a_class_is_named_by_its_name_or_its_number():
    names = ("cat", "dog", "2", "Yak")
    assert [class_of(given, names, 4) for given in ("dog", "2", "0", 3, "yak", " cat ")] == [1, 2, 0, 3, 3, 0]
    with pytest.raises(GanzooError, match=r"Unknown class 'dgo'\. Did you mean 'dog'"):
        class_of("dgo", names, 4)
    with pytest.raises(GanzooError, match=r"names of the classes are not known.*0 to 3"):
        class_of("dog", (), 4)
    with pytest.raises(GanzooError, match=r"from 0 to 3: cat, dog, 2, Yak. Received: 4"):
        class_of("4", names, 4)


def test_the_command_takes_class_names_of_runs_and_entries(tiny, tmp_path):
    run = tmp_path / "run"
    preset_files.save(tiny(CLASSES), run / "preset")
    (run / "data.json").write_text(json.dumps({"class_counts": {"cat": 3, "dog": 2, "yak": 9}}))
    out = str(tmp_path / "x.npy")

    def call(*arguments):
        result = CliRunner().invoke(cli.main, ["generate", *arguments, "--out", out, "--count", "2"])
        return result.exit_code, result.output

    assert call(str(run / "preset"), "--condition", "dog") == (0, f"2 samples: {out}\nClass: dog (1)\n")
    code, text = call(str(run), "--condition", "yak", "--json")
    assert code == 0 and json.loads(text)["classes"] == [{"id": 2, "name": "yak"}]
    code, text = call(str(run), "--condition", "dgo")
    assert code == 1 and "Did you mean 'dog'?" in text
    code, text = call(CLASSES, "--condition", "7")
    assert code == 0 and "Class: 7 (7)" in text
    assert entries.get_entry(CLASSES).weights["class_names"][7] == "7"
