import base64
import hashlib
import json
import math
import shutil
import subprocess
import sys
from types import SimpleNamespace

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
import yaml
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from keras import layers

import ganzoo
from ganzoo import export
from ganzoo.errors import ExportError, GanzooError
from ganzoo.export import files, gpu, metadata, model_card, tflite, verify
from ganzoo.export.generator import Generator, of_gan
from ganzoo.export.reference import load_reference
from ganzoo.recipes.entries import get_entry, list_entries
from ganzoo.weights import preset_files

TFLITE = ("generator_float32.tflite", "generator_float16.tflite")
EIGHT_BITS = ("generator_dynamic.tflite", "generator_int8.tflite")
ALL = (*TFLITE, *EIGHT_BITS, "saved_model", "generator.onnx")
FORMATS, QUANTIZE = ("tflite", "saved_model", "onnx"), ("none", "float16", "dynamic", "int8")


def trained_like(name, **overrides):
    """A tiny GAN whose averaged generator has noise in every weight and BatchNorm statistics to match."""
    gan = ganzoo.create(name, **get_entry(name).raw["tiny"] | overrides)
    random = np.random.default_rng(0)
    for weight in gan.generator_ema.weights:
        if "moving_" not in weight.path:
            weight.assign(weight * 1.5 + 0.1 * random.normal(size=weight.shape))
    for weight in gan.generator_ema.weights[-2:]:
        weight.assign(weight / 3.0)  # samples that stay within their range for the most part
    gan.calibrate()
    return gan


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=pytest.mark.heavy_with_backbone) for name in list_entries()]
)
def exported(request, tmp_path_factory):
    gan = trained_like(request.param)
    folder = tmp_path_factory.mktemp("export") / "made" / "here"
    card = export.export_generator(gan, folder, FORMATS, QUANTIZE)
    return SimpleNamespace(gan=gan, folder=folder, card=card)


@pytest.fixture(scope="module")
def dcgan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dcgan")
    gan = trained_like("image/dcgan_32")
    export.export_generator(gan, folder, formats=["tflite"])
    return SimpleNamespace(gan=gan, folder=folder)


@pytest.fixture
def folder(dcgan, tmp_path):
    """A copy of an export, to be damaged."""
    return shutil.copytree(dcgan.folder, tmp_path / "copy")


def by_keras(gan, inputs):
    """Samples of a GAN's averaged generator, its latents times the truncation."""
    latents = {name: value * inputs["truncation"][:, None] for name, value in inputs.items() if name == "latents"}
    conditions = {name: value for name, value in inputs.items() if name == "class_id"}
    return np.asarray(gan(latents | conditions))


def drawn(gan, count, seed):
    """Inputs of an exported generator."""
    truncation = np.random.default_rng(seed).uniform(0.5, 1.0, count).astype("float32")
    return gan.draw_latents(count, seed) | gan.draw_conditions(count) | {"truncation": truncation}


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rewrite(path, content, adapt_card):
    """Replace a file, and where asked what the card says of it."""
    path.write_bytes(content)
    if adapt_card:
        card = json.loads((path.parent / files.CARD).read_text())
        entry = next(file for file in card["files"] if file["file"] == path.name)
        entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (path.parent / files.CARD).write_text(json.dumps(card))


def flipped(path):
    """The content of a float32 file with the signs of the first 64 numbers of its largest weight turned."""
    content = path.read_bytes()
    buffers = [bytes(buffer.data) for buffer in flatbuffer_utils.read_model(path).buffers if buffer.data is not None]
    largest = max(buffers, key=len)
    start = content.index(largest)
    changed = bytearray(content)
    for index in range(start + 3, start + 4 * 64, 4):
        changed[index] ^= 0x80
    return bytes(changed)


# Every entry.


def test_files_and_card(exported):
    names = {path.name for path in exported.folder.iterdir()}
    assert names == {*ALL, "reference.npz", "model_card.json", "MODEL_CARD.md"}
    assert json.loads((exported.folder / "model_card.json").read_text()) == exported.card
    card = exported.card
    assert [file["file"] for file in card["files"]] == list(ALL)
    assert card["parameters"] == exported.gan.generator_ema.count_params()
    kernels = [layer.kernel.shape for layer in exported.gan.generator_ema.layers if hasattr(layer, "kernel")]
    assert card["multiply_adds"] >= sum(math.prod(shape) for shape in kernels) > 0  # each is used once at least
    text = (exported.folder / "MODEL_CARD.md").read_text()
    assert ("pipeline_tag: unconditional" in text) == (not exported.gan.conditions_spec())
    for expected in (card["entry"], card["paper"], f"{card['multiply_adds']:,}", *ALL):
        assert expected in text
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["library_name"] == "tflite" and card["entry"] in front["tags"]


def test_parity_on_samples_that_differ(exported):
    reference = load_reference(exported.folder / "reference.npz")
    assert reference.samples.std(axis=0).mean() > 0.05
    assert np.mean(np.isclose(np.abs(reference.samples), 1.0, atol=1e-3)) < 0.5  # not saturated
    np.testing.assert_allclose(reference.samples, by_keras(exported.gan, reference.inputs), atol=1e-6)
    assert set(reference.inputs["truncation"]) == {np.float32(1.0), np.float32(0.7)}
    for file in exported.card["files"]:
        assert file["mean_error"] <= file["max_error"] <= file["allowed"]
        if file["precision"] in verify.TOLERANCES:
            assert file["allowed"] == {"float32": 1e-4, "float16": 3e-2}[file["precision"]]
        else:
            assert file["psnr_db"] > 20
        assert set(file["steady"]) == ({"1", "2", "4"} if file["format"] != "saved_model" else set(file["steady"]))
        assert all(0 < one["minimum_ms"] <= one["median_ms"] for one in file["steady"].values())
        assert file["first_ms"] > 0 and file["time_against_keras"]["call"] > 0
        assert file["peak_bytes"] is None or file["peak_bytes"] > file["bytes"] / 2


def test_tflite_signature_and_other_latents(exported):
    inputs = drawn(exported.gan, 3, seed=7)
    expected = by_keras(exported.gan, inputs)
    for name in (*TFLITE, *EIGHT_BITS):
        interpreter = Interpreter(str(exported.folder / name))
        signatures = interpreter.get_signature_list()
        assert signatures == {"serving_default": {"inputs": sorted(inputs), "outputs": ["samples"]}}
        runner = interpreter.get_signature_runner("serving_default")
        made = [runner(**{key: value[i : i + 1] for key, value in inputs.items()})["samples"] for i in range(3)]
        assert made[0].dtype == np.float32
        if name in TFLITE:
            np.testing.assert_allclose(np.concatenate(made), expected, atol=1e-4 if "32" in name else 3e-2)
        else:
            assert np.sqrt(np.mean(np.square(np.concatenate(made) - expected))) < 0.5 * expected.std()


def test_tflite_has_builtin_operators_only(exported):
    for name in (*TFLITE, *EIGHT_BITS):
        model = flatbuffer_utils.read_model(exported.folder / name)
        assert not any(code.customCode for code in model.operatorCodes)
        listed = next(file["operators"] for file in exported.card["files"] if file["file"] == name)
        assert sum(listed.values()) == sum(len(graph.operators) for graph in model.subgraphs)
        kinds = {type(layer) for layer in exported.gan.generator_ema.layers}
        if kinds & {keras.layers.Conv2D, keras.layers.Conv2DTranspose}:
            assert "CONV_2D" in listed or "TRANSPOSE_CONV" in listed
        if keras.layers.Dense in kinds:
            assert "FULLY_CONNECTED" in listed


def test_saved_model_and_onnx_take_any_batch(exported):
    loaded = tf.saved_model.load(str(exported.folder / "saved_model" / "1"))  # versions, as TensorFlow Serving has them
    serve = loaded.signatures["serving_default"]
    session = onnxruntime.InferenceSession(str(exported.folder / "generator.onnx"))
    for count in (1, 5):
        inputs = drawn(exported.gan, count, seed=9)
        made = serve(**{name: tf.constant(value) for name, value in inputs.items()})
        assert list(made) == ["samples"]
        np.testing.assert_allclose(made["samples"], by_keras(exported.gan, inputs), atol=1e-4)
        np.testing.assert_allclose(session.run(["samples"], inputs)[0], by_keras(exported.gan, inputs), atol=1e-4)


def test_metadata_inside_tell_a_client_all(exported):
    gan = exported.gan
    for name in (*TFLITE, *EIGHT_BITS):
        found = metadata.extract((exported.folder / name).read_bytes())
        assert found == exported.card["metadata"]
    inputs = {given["name"]: given for given in found["inputs"]}
    assert inputs.keys() == drawn(gan, 1, 0).keys() and inputs["truncation"]["default"] == 1.0
    assert found["outputs"][0]["range"] == [-1.0, 1.0] and found["outputs"][0]["colours"] == "RGB"
    packed = found["directions"]["latents"]
    directions = np.frombuffer(base64.b64decode(packed["float16"]), "<f2").reshape(packed["shape"]).astype("float64")
    dim = gan.latents_spec()["latents"].shape[0]
    assert directions.shape == (min(8, dim), dim)
    np.testing.assert_allclose(directions @ directions.T, np.eye(len(directions)), atol=5e-3)
    # The first layer answers the first direction most: ||A n|| falls, and none answers more.
    kernel = np.asarray(gan.generator_ema.get_layer("dense").kernel)[:dim]
    lengths = np.linalg.norm(directions @ kernel, axis=1)
    assert np.all(np.diff(lengths) < 1e-2 * lengths[0])
    assert lengths[0] >= np.linalg.norm(kernel, 2) * 0.99


def test_equal_arrays_stand_once_in_a_file(exported):
    model = schema.Model.GetRootAs((exported.folder / "generator_int8.tflite").read_bytes())
    graph = model.Subgraphs(0)
    points = [
        quantization.ZeroPointAsNumpy()
        for quantization in (graph.Tensors(index).Quantization() for index in range(graph.TensorsLength()))
        if quantization is not None and quantization.ZeroPointLength()
    ]
    contents = {values.tobytes() for values in points}
    assert len({values.ctypes.data for values in points}) == len(contents) < len(points)


def test_verify_again(exported):
    report = export.verify_export(exported.folder)
    assert report["entry"] == exported.card["entry"]
    fixed = ("file", "bytes", "sha256", "max_error", "operators", "allowed")
    assert [{k: file[k] for k in fixed} for file in report["files"]] == [
        {k: file[k] for k in fixed} for file in exported.card["files"]
    ]


@pytest.mark.parametrize("exported", ["image/dcgan_32"], indirect=True)
def test_verify_one_file_again(exported):
    for name in ALL:
        (file,) = export.verify_export(str(exported.folder / name))["files"]
        assert file["file"] == name


# What is refused.


def test_flipped_weights_are_refused(folder):
    path = folder / TFLITE[0]
    changed = flipped(path)
    rewrite(path, changed, adapt_card=False)
    with pytest.raises(ExportError, match="sha256"):
        export.verify_export(path)
    rewrite(path, changed, adapt_card=True)
    with pytest.raises(ExportError, match=r"differs from Keras by up to .* 0.0001 is allowed"):
        export.verify_export(folder)
    export.verify_export(folder / TFLITE[1])


@pytest.mark.parametrize("adapt_card", [False, True])
@pytest.mark.parametrize("keep", [12, 0.5, -40])
def test_truncated_file_is_refused(folder, keep, adapt_card):
    path = folder / TFLITE[0]
    content = path.read_bytes()
    rewrite(path, content[: int(keep * len(content)) if keep == 0.5 else keep], adapt_card)
    with pytest.raises(ExportError, match="damaged" if adapt_card else "cut off"):
        export.verify_export(path)


def test_what_is_no_export_is_refused(folder, tmp_path):
    text = tmp_path / "notes.tflite"
    text.write_text("no model at all")
    with pytest.raises(ExportError, match="not a TFLite file"):
        export.verify_export(text)
    with pytest.raises(ExportError, match="There is no"):
        export.verify_export(tmp_path / "absent")
    with pytest.raises(ExportError, match=r"model_card\.json is missing"):
        export.verify_export(tmp_path)
    shutil.copy(folder / TFLITE[0], folder / "other.tflite")
    with pytest.raises(ExportError, match="not listed"):
        export.verify_export(folder / "other.tflite")
    (folder / TFLITE[1]).unlink()
    with pytest.raises(ExportError, match="missing"):
        export.verify_export(folder)


@pytest.mark.parametrize("name", ["reference.npz", "model_card.json"])
def test_damaged_companions_are_refused(folder, name):
    content = (folder / name).read_bytes()
    for broken in (b"", content[: len(content) // 2], content[:-1] + b"\x00" if name.endswith("json") else b"{}"):
        (folder / name).write_bytes(broken)
        with pytest.raises(ExportError, match=name):
            export.verify_export(folder)
    (folder / name).write_text('{"files": [{"file": "../x"}], "entry": 3}')
    with pytest.raises(ExportError, match=name):
        export.verify_export(folder)


def test_a_failed_export_leaves_the_older_one(dcgan, folder, monkeypatch):
    before = contents(folder)
    other = trained_like("image/dcgan_32")
    monkeypatch.setitem(verify.TOLERANCES, "float16", 0.0)
    with pytest.raises(ExportError, match="float16"):
        export.export_generator(other, folder, formats=["tflite"])
    assert contents(folder) == before
    with pytest.raises(ExportError):
        export.export_generator(other, folder.parent / "new", formats=["tflite"])
    assert not (folder.parent / "new").exists()


def test_an_export_is_not_mixed_with_other_files(dcgan, tmp_path):
    (tmp_path / "00000.png").write_bytes(b"mine")
    with pytest.raises(ExportError, match=r"holds other files, such as 00000\.png.*a new or an empty folder"):
        export.export_generator(dcgan.gan, tmp_path, formats=["tflite"], quantize=["none"])
    assert [path.name for path in tmp_path.iterdir()] == ["00000.png"]


@pytest.mark.heavy
@pytest.mark.parametrize("name", [name for name in list_entries() if get_entry(name).weights])
def test_published_weights_are_exported_to_a_saved_model(name, tmp_path):
    """At their full size: TensorFlow writes small constants of a function otherwise than large ones."""
    card = export.export_generator(name, tmp_path / "out", ["saved_model"], ["none"])
    assert [file["file"] for file in card["files"]] == ["saved_model"]
    assert [file["file"] for file in export.verify_export(tmp_path / "out")["files"]] == ["saved_model"]


def test_a_new_export_replaces_the_older_one_as_a_whole(dcgan, folder):
    (folder / "mine.txt").write_text("kept")
    (folder / "saved_model").mkdir()
    (folder / "saved_model" / "stale").write_text("from before")
    export.export_generator(dcgan.gan, folder, formats=["saved_model"])
    names = {path.name for path in folder.iterdir()}
    assert names == {"mine.txt", "saved_model", "reference.npz", "model_card.json", "MODEL_CARD.md"}
    assert not (folder / "saved_model" / "stale").exists()
    export.verify_export(folder)
    (folder / "saved_model" / "fingerprint.pb").write_bytes(b"other")
    with pytest.raises(ExportError, match="saved_model"):
        export.verify_export(folder / "saved_model")


def test_samples_that_are_not_finite_are_refused(tmp_path):
    gan = trained_like("image/dcgan_32")
    gan.generator_ema.weights[0].assign(gan.generator_ema.weights[0] * np.nan)
    with pytest.raises(ExportError, match="not finite"):
        export.export_generator(gan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_wrong_arguments(dcgan, tmp_path):
    with pytest.raises(ExportError, match=r"export format 'tflight'.*Did you mean 'tflite'"):
        export.export_generator(dcgan.gan, tmp_path / "out", formats=["tflight"])
    with pytest.raises(ExportError, match=r"quantization 'float61'.*Did you mean 'float16'"):
        export.export_generator(dcgan.gan, tmp_path / "out", quantize="float61")
    with pytest.raises(ExportError, match="No export format"):
        export.export_generator(dcgan.gan, tmp_path / "out", formats=[])
    with pytest.raises(ExportError, match="Received: int"):
        export.export_generator(3, tmp_path / "out")
    with pytest.raises(GanzooError, match="image/dcgan_32"):
        export.export_generator("image/dcgan_23", tmp_path / "out")
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="is a file"):
        export.export_generator(dcgan.gan, tmp_path / "file")
    assert not (tmp_path / "out").exists()


@keras.saving.register_keras_serializable("ganzoo_tests")
class Determinant(layers.Layer):
    def call(self, inputs):
        return inputs * tf.linalg.det(inputs[:, :2, :2, 0])[:, None, None, None]


def test_foreign_operators_are_named():
    latents = keras.Input((8,), name="latents")
    samples = Determinant(name="determinant")(layers.Reshape((2, 2, 2), name="reshape")(latents))
    described = {
        "name": "serving_default",
        "inputs": [
            {"name": name, "shape": shape, "dtype": "float32"} for name, shape in (("latents", [8]), ("truncation", []))
        ],
        "outputs": [{"name": "samples"}],
    }
    gan = ganzoo.create("image/dcgan_32", **get_entry("image/dcgan_32").raw["tiny"])
    with pytest.raises(ExportError, match=r"not built into TFLite: \['MatrixDeterminant'\]"):
        tflite.convert(Generator(gan, keras.Model({"latents": latents}, samples), described), "float32")


# Special cases.


def test_saved_weights_are_exported_by_their_folder(tmp_path):
    gan = trained_like("image/dcgan_32")
    preset_files.save(gan, tmp_path / "preset")
    export.export_generator(str(tmp_path / "preset"), tmp_path / "out", formats=["saved_model"])
    reference = load_reference(tmp_path / "out" / "reference.npz")
    np.testing.assert_allclose(reference.samples, by_keras(gan, reference.inputs), atol=1e-6)


def test_mixed_precision_is_exported_in_float32(tmp_path):
    gan = trained_like("image/dcgan_32", **{"training.precision": "mixed_float16"})
    card = export.export_generator(gan, tmp_path / "out", quantize=["none"])
    assert all(file["precision"] == "float32" for file in card["files"])
    reference = load_reference(tmp_path / "out" / "reference.npz")
    difference = np.abs(reference.samples - by_keras(gan, reference.inputs))
    assert 1e-6 < difference.max() < 3e-2


def test_multiply_adds_by_hand():
    inputs = x = keras.Input((3,))
    x = layers.Reshape((4, 4, 2))(layers.Dense(32)(x))  # 3 * 32
    x = layers.Conv2DTranspose(5, 3, 2, "same")(x)  # 4 * 4 positions, 3 * 3 * 2 * 5 each
    x = layers.DepthwiseConv2D(3, padding="same")(x)  # 8 * 8 * 3 * 3 * 5
    inner = keras.Sequential([keras.Input((8, 8, 5)), layers.Conv2D(5, 1)])  # 8 * 8 * 5 * 5, called twice
    model = keras.Model(inputs, inner(inner(x)))
    assert model_card.multiply_adds(model) == 96 + 1440 + 2880 + 2 * 1600


def test_card_names_published_data():
    gan = ganzoo.create("image/dcgan_32", **get_entry("image/dcgan_32").raw["tiny"])
    described = model_card.describe(of_gan(gan), "image/dcgan_32")
    assert "MNIST" in described["training_data"] and described["licence"] == "Apache-2.0"
    assert described["scores"] == get_entry("image/dcgan_32").scores and described["class_names"] == []
    recipe = get_entry("image/wgan_gp_32").recipe()
    assert recipe.weights.class_names == tuple("0123456789") and len(recipe.weights.class_names) == 10


def test_operators_that_graphics_processors_refuse():
    assert gpu.doubts({"ADD": 2, "GATHER": 1}) == ["GATHER"]
    assert "57610" in gpu.as_text(["GATHER"])
    assert "not a proof" in gpu.as_text([])
    assert all({"doubt", "source"} == set(known) for known in gpu.known().values())


def test_import_is_light():
    code = "import sys, ganzoo.export; assert not {'tensorflow', 'keras', 'ai_edge_litert'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
