"""Two logical CPU devices for the whole test run, quiet TensorFlow, a cache of its own, the same seed for each test."""

import ctypes
import gc
import os
import signal

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest


@pytest.fixture(scope="session", autouse=True)
def _environment(tmp_path_factory):
    import tensorflow as tf

    os.environ["GANZOO_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    # Whoever starts the tests in the background may have these ignored, and so would every test and its children.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.hookimpl(tryfirst=True)  # before the heavy ones are left out
def pytest_collection_modifyitems(items):
    """Mark what `heavy_with_backbone` makes heavy; the longest first, so that no process is left alone with one."""
    from ganzoo.recipes import entries

    backbones = [n for n in entries.list_entries() if "backbone_size" in entries.get_entry(n).raw["tiny"]["model"]]
    for item in items:
        if item.get_closest_marker("heavy_with_backbone") and any(f"{name}]" in item.nodeid for name in backbones):
            item.add_marker("heavy")
    items.sort(key=lambda item: "projected" not in item.nodeid)


@pytest.fixture(scope="module", autouse=True)
def _free_memory():
    """Free what a module's GANs leave: TensorFlow keeps each graph with a custom gradient, 5 to 70 MB a GAN."""
    yield
    import keras
    from tensorflow.python.framework import ops

    gradients = ops.gradient_registry._registry
    for name in [name for name in gradients if name.startswith("CustomGradient-")]:
        del gradients[name]
    keras.backend.clear_session()
    gc.collect()
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


@pytest.fixture(autouse=True)
def _seed():
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture
def tiny():
    """Make an entry in its tiny form, always with the same weights."""
    import keras

    from ganzoo.recipes import entries, yaml_files
    from ganzoo.zoo.create import create

    def make(name, **overrides):
        keras.utils.set_random_seed(0)
        entry = entries.get_entry(name)
        gan = create(name, **yaml_files.merge(entry.raw["tiny"], yaml_files.nest(overrides)))
        gan.compile()
        return gan

    return make


@pytest.fixture
def reals():
    """Random reals that suit a GAN, with its conditions: a `tf.data.Dataset` of whole batches."""
    import numpy as np
    import tensorflow as tf

    def make(gan, steps):
        training = gan.recipe.training
        size = training.batch_size * training.d_steps
        shape = gan.generator.output.shape[1:]
        images = np.random.default_rng(0).integers(0, 256, (steps * size, *shape)).astype("uint8")
        classes = {k: (np.arange(len(images)) % s.classes).astype("int32") for k, s in gan.conditions_spec().items()}
        data = {"real": images, **classes} if classes else images
        return tf.data.Dataset.from_tensor_slices(data).batch(size)

    return make


@pytest.fixture
def as_torch():
    """A trunk's weights as PyTorch would hold them, and the mapping back."""
    import numpy as np

    def make(trunk):
        tensors, lines = {}, []
        for index, layer in enumerate(layer for layer in trunk.layers if layer.weights):
            for weight in layer.weights:
                name, array = f"features.{index}.{weight.name}", np.array(weight)
                conv = array.ndim == 4
                tensors[name] = np.ascontiguousarray(array.transpose(3, 2, 0, 1) if conv else array)
                rule = f"{{from: {name}, transpose: [2, 3, 1, 0]}}" if conv else name
                lines.append(f"{layer.name}/{weight.name}: {rule}")
        return tensors, "\n".join(lines)

    return make
