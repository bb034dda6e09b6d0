"""8-bit files: which operators stay in float, what `auto` takes, and how files are judged."""

import time

import numpy as np
import pytest

import ganzoo
from ganzoo import export
from ganzoo.errors import ExportError
from ganzoo.export import aware, choose, model_card, quality, tflite
from ganzoo.export.generator import of_gan
from ganzoo.export.quantize import Quantizer, run
from ganzoo.export.reference import draw_calibration, draw_reference
from ganzoo.metrics import real_set
from ganzoo.metrics.real_set import RealSet
from ganzoo.recipes import yaml_files
from ganzoo.recipes.entries import get_entry, list_entries
from ganzoo.weights import preset_files
from ganzoo.zoo.load import load

ENTRY = "image/dcgan_32"
TINY = get_entry(ENTRY).raw["tiny"]


@pytest.fixture(scope="module")
def made():
    gan = ganzoo.create(ENTRY, **TINY)
    gan.calibrate()
    return of_gan(gan)


@pytest.fixture(scope="module")
def quantizer(made):
    return Quantizer(tflite.convert(made, "float32"), draw_calibration(made, 32))


def images(count, seed=0):
    """Smooth ones that differ: a network has something to learn."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 4, 4, 3)).astype("uint8")
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def error(content, reference):
    return float(np.mean(np.square(run(content, reference.each()) - reference.samples)))


def test_floats_in_an_int8_file_lower_its_error(made, quantizer):
    reference = draw_reference(made, 16)
    shares = quantizer.error_shares(reference)
    assert sum(shares.values()) == pytest.approx(1.0) and list(shares.values()) == sorted(shares.values())[::-1]
    assert {"FULLY_CONNECTED", "TRANSPOSE_CONV"} <= {operator.kind for operator in shares}
    assert {"dense", "reshape"} <= {operator.layer for operator in shares}
    whole = error(quantizer.int8(), reference)
    assert error(quantizer.int8(list(shares)), reference) < 0.1 * whole
    assert error(quantizer.int8(list(shares)[:4]), reference) < whole
    dense = next(operator for operator in shares if operator.kind == "FULLY_CONNECTED")
    # Its weights stay 8-bit ones, whatever its activations are.
    assert len(quantizer.int8([dense])) - len(quantizer.int8()) < np.prod(made.network.get_layer("dense").kernel.shape)


def test_the_fewest_floats_that_pass_are_taken(made, quantizer):
    reference = draw_reference(made, 16)
    whole = error(quantizer.int8(), reference)
    for allowed, passed in ((2 * whole, True), (0.7 * whole, True), (0.0, False)):
        content, found = choose.int8_with_floats(
            quantizer, reference, lambda content: error(content, reference), allowed
        )
        assert found["passed"] == passed and (found["error"] <= allowed) == passed
        assert (found["in_float"] == []) == (allowed > whole)
        assert error(content, reference) == pytest.approx(found["error"])


def described(precision, size, change):
    return {"precision": precision, "bytes": size, "fid_change": change}


def test_auto_takes_the_fastest_that_is_good():
    files = [
        described("float32", 100, 0.0),
        described("float16", 50, 0.001),
        described("dynamic", 27, 0.01),
        described("int8", 26, 0.03),
    ]
    noise = np.array([1.0, 1.1, 0.98, 1.02, 1.3, 0.99, 1.01, 1.0, 1.04])
    times = {"float32": noise, "float16": 1.1 * noise, "dynamic": 0.5 * noise, "int8": 0.3 * noise}
    chosen, reason = choose.choose(files, "cpu", 0.02, times)
    assert chosen == "dynamic" and "0.50 (0.50 to 0.50) of float32's time" in reason and "0.27 of float32's" in reason
    assert "int8 (+3.0%)" in reason and "float16 1.10" in reason
    assert choose.choose(files, "cpu", 0.05, times)[0] == "int8"
    assert choose.choose(files, "cpu", 0.0, times)[0] == "float32"
    assert choose.choose(files[:2], "gpu", 0.02)[0] == "float16"


def test_auto_asks_for_a_difference_beyond_noise():
    files = [described("float32", 100, 0.0), described("float16", 50, 0.0), described("int8", 27, 0.01)]
    random = np.random.default_rng(0)
    float16, int8 = 1 + 0.1 * random.random((2, 9))
    level = {"float32": float16, "float16": float16, "int8": 0.99 * int8}
    chosen, reason = choose.choose(files, "cpu", 0.02, level)
    assert chosen == "float16" and "no 8-bit file with a good FID is faster beyond noise" in reason
    assert choose.choose(files, "cpu", 0.02, {**level, "int8": 0.97 * float16})[0] == "float16", "too little to matter"
    assert choose.choose(files, "cpu", 0.02, {**level, "int8": 0.6 * int8})[0] == "int8"
    once = np.where(np.arange(9) == 4, 3.0, 0.6) * int8  # one disturbed round is no matter, two are
    assert choose.choose(files, "cpu", 0.02, {**level, "int8": once})[0] == "int8"
    once[5] = 3.0
    assert choose.choose(files, "cpu", 0.02, {**level, "int8": once})[0] == "float16"
    both = [*files, described("dynamic", 26, 0.01)]
    times = {**level, "int8": 0.6 * int8, "dynamic": 0.601 * int8}
    assert choose.choose(both, "cpu", 0.02, times)[0] == "dynamic", "level within noise, and smaller"


def test_files_are_timed_in_turn():
    order = []

    def run(name):
        order.append(name)
        time.sleep(0.002)

    times = choose.time_in_rounds({"a": lambda: run("a"), "b": lambda: run("b")}, rounds=3)
    assert [len(found) for found in times.values()] == [3, 3] and min(map(min, times.values())) > 0
    turns = [name for at, name in enumerate(order) if at == 0 or order[at - 1] != name]
    assert turns == ["a", "b", "a", "b"]  # b is the last of the first round and the first of the second


def test_auto_needs_real_samples_on_a_processor(made, tmp_path):
    card = export.export_generator(made.gan, tmp_path / "out", ["tflite"], ["auto"])
    assert card["files"][0]["precision"] == "float16" and "no real samples to judge 8-bit files by" in card["chosen"]
    card = export.export_generator(made.gan, tmp_path / "gpu", ["tflite"], ["auto"], target="gpu")
    (file,) = card["files"]
    assert (
        file["file"] == "generator.tflite" and file["precision"] == "float16" and card["chosen"].startswith("float16")
    )
    export.verify_export(tmp_path / "gpu" / "generator.tflite")


def test_files_are_judged_over_the_same_latents(tmp_path):
    gan = ganzoo.create(ENTRY, **yaml_files.merge(TINY, {"export": {"samples": 100}}))
    gan.calibrate()
    card = export.export_generator(gan, tmp_path, ["tflite"], ["none", "dynamic", "int8", "auto"], data=images(80))
    by_name = {file["file"]: file for file in card["files"]}
    assert abs(by_name["generator_float32.tflite"]["fid_change"]) < 1e-3
    chosen = by_name["generator.tflite"]
    assert chosen["fid"] == pytest.approx(card["fid"] * (1 + chosen["fid_change"]))
    assert chosen["fid_change"] <= 0.02 and card["chosen"].startswith(chosen["precision"])
    assert {file["precision"] for file in chosen["tried"]} == {"float32", "float16", "dynamic", "int8"}
    assert not (tmp_path / "generator_float16.tflite").exists() and (tmp_path / "closest.png").is_file()
    assert card["memorised"]["training_samples"] == 80
    export.verify_export(tmp_path)


def judged(made, reals, samples, monkeypatch):
    monkeypatch.setattr(quality.Judge, "images", samples)
    return quality.Judge(made, reals, len(samples)).memorised()


def noisy(reals):
    return np.clip(reals + np.random.default_rng(0).integers(-3, 4, reals.shape), 0, 255).astype("uint8")


def test_samples_that_are_copies_are_told_and_refused(made, monkeypatch):
    monkeypatch.setattr(real_set, "_MOST", 256)
    monkeypatch.setattr(real_set, "_LEAST", 200)
    monkeypatch.setattr(real_set, "_PIXELS", 200 * 32 * 32)
    reals = real_set.real_set(images(600))
    for samples, share, warned in ((noisy(reals.images), 1.0, True), (images(600, seed=1), 0.1, False)):
        found = judged(made, reals, samples, monkeypatch)
        assert abs(found["closer_share"] - share) < 0.1 and (found["warning"] is not None) == warned
        assert found["samples"] == 200 and found["variants"]
        assert found["expected_range"] == [0.051, 0.149]  # 0.1 -+ 2 sqrt(0.1 * 0.9 * (1/200 + 1/600))
        assert "to 15% are" in model_card._memorised(found)
        if warned:
            with pytest.raises(ExportError, match=r"memorised_within"):
                quality.refuse_if_memorised(found, 0.5)
        quality.refuse_if_memorised(found, None)


def test_memorisation_is_not_judged_by_few_training_images_unless_all_is_copied(made, monkeypatch):
    reals = real_set.real_set(images(100))
    found = judged(made, reals, images(100, seed=1), monkeypatch)
    assert found["closer_share"] is None and found["warning"] is None and "500 are needed" in found["reason"]
    assert model_card._memorised(found).startswith("Not judged: 100 training images are too few")
    quality.refuse_if_memorised(found, 0.01)
    found = judged(made, reals, noisy(reals.images), monkeypatch)
    assert found["closer_share"] == 1.0 and "memorised training images" in found["warning"] and not found["reason"]


def test_training_images_that_are_all_alike_are_not_judged_and_refused_where_copies_are_limited(made, monkeypatch):
    reals = real_set.real_set(images(20))
    alike = RealSet(reals.network, reals.arrays, reals.features[:1].repeat(600, axis=0), reals.size)
    found = judged(made, alike, images(20, seed=1), monkeypatch)
    assert found["closer_share"] is None and found["samples"] == 0 and "all alike" in found["reason"]
    assert found["warning"] == found["reason"] and model_card._memorised(found).startswith("Not judged: Copies cannot")
    quality.refuse_if_memorised(found, None)
    with pytest.raises(ExportError, match=r"export.memorised_within: 30%.*all alike"):
        quality.refuse_if_memorised(found, 0.3)


def test_reals_are_kept_without_their_images(tmp_path):
    reals = real_set.real_set(images(60))
    preset_files.save(ganzoo.create(ENTRY, **TINY), tmp_path)
    assert quality.find_reals(load(str(tmp_path)), str(tmp_path)) is None
    real_set.save(reals, tmp_path)
    kept = quality.find_reals(load(str(tmp_path)), str(tmp_path))
    assert kept.images is None and kept.size == (32, 32)
    np.testing.assert_allclose(kept.features, reals.features, rtol=2e-3, atol=2e-3)
    others = images(50, seed=2)
    assert kept.fid(others) == pytest.approx(reals.fid(others), rel=0.02)


def test_a_card_says_not_where_the_data_lay():
    recipe = get_entry(ENTRY).recipe().model_copy(update={"weights": None})
    origin = model_card._origin(recipe, {"source": "the folder /home/me/secret/cats", "given": "/home/me/secret/cats"})
    assert origin == ("unknown", "the folder cats")


def test_a_domain_may_have_no_features_to_judge_by(monkeypatch):
    monkeypatch.delattr("ganzoo.domains.image.real_set")
    gan = ganzoo.create(ENTRY, **TINY)
    assert quality.find_reals(gan, None) is None
    with pytest.raises(ExportError, match="leave --data out"):
        quality.find_reals(gan, None, images(60))


def test_a_run_is_judged_by_its_own_data(tmp_path):
    np.save(tmp_path / "data.npy", images(60))
    tiny = yaml_files.merge(TINY, {"evaluation": {"every": 0}, "guards": {"every": 0}})
    ganzoo.train(ENTRY, str(tmp_path / "data.npy"), tmp_path / "run", samples=16, overrides=tiny)
    gan = load(str(tmp_path / "run"))
    for name in (tmp_path / "run", tmp_path / "run" / "preset"):
        found = quality.find_reals(gan, str(name)).images
        assert {one.tobytes() for one in found} == {one.tobytes() for one in images(60)}
    np.save(tmp_path / "data.npy", images(3))  # too few to tell anything by
    assert quality.find_reals(gan, str(tmp_path / "run")) is None
    (tmp_path / "data.npy").unlink()
    assert quality.find_reals(gan, str(tmp_path / "run")) is None


def test_weights_are_rounded_for_each_channel():
    kernel = np.array([[[[0.5, -2.0]], [[1.27, 0.3]]]], "float32")  # (1, 2, 1, 2): the last axis are the channels
    rounded = np.asarray(aware._round_weights(kernel, (3,)))
    scales = np.array([1.27, 2.0]) / 127
    np.testing.assert_allclose(rounded, np.round(kernel / scales) * scales, atol=1e-6)
    assert rounded[0, 1, 0, 0] == pytest.approx(1.27) and rounded[0, 0, 0, 1] == pytest.approx(-2.0)


@pytest.mark.parametrize("name", list_entries())
def test_fine_tuning_bears_what_the_runtime_rounds(name):
    """The simulation errs as much as TFLite does, and a generator that was fine-tuned under it loses less there."""
    gan = ganzoo.create(name, **get_entry(name).raw["tiny"])
    random = np.random.default_rng(0)
    for weight in gan.generator_ema.weights:
        if "moving_" not in weight.path:
            weight.assign(weight * 1.5 + 0.05 * random.normal(size=weight.shape))
    gan.calibrate()
    made = of_gan(gan)
    before = [np.array(weight) for weight in made.network.weights]
    reference = draw_reference(made, 64)
    made_of = {"plain": made, "fine_tuned": aware.fine_tuned(made, steps=300, rate=1e-3, critic=0.0)}
    inputs = draw_calibration(made, 64)
    errors = {}
    for kind, one in made_of.items():
        content = Quantizer(tflite.convert(one, "float32"), inputs).int8()
        samples = run(content, reference.each())
        errors[kind] = np.mean(np.square(samples - reference.samples))
        if kind == "plain":
            drawn = {key: value for key, value in reference.inputs.items() if key != "truncation"}
            drawn["latents"] = drawn["latents"] * reference.inputs["truncation"][:, None]
            simulated = np.asarray(aware.simulated(one)(drawn, training=False))
            # Single roundings fall one way or the other; how far they carry is alike.
            assert 0.5 < np.mean(np.square(simulated - reference.samples)) / errors[kind] < 2.0
    if name == "image/projected_mobile_64":  # the others have little to lose: transposed and plain convolutions
        assert errors["fine_tuned"] < 0.9 * errors["plain"]
    assert errors["fine_tuned"] < 1.3 * errors["plain"]
    assert all(np.array_equal(weight, was) for weight, was in zip(made.network.weights, before, strict=True))
