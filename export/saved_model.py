"""A generator as a SavedModel for TensorFlow Serving: a folder of versions, `serving_default`, any batch size."""

from pathlib import Path

import tensorflow as tf

from .generator import Generator, Servable

VERSION = "1"


def write(generator: Generator, path: Path) -> None:
    """Write `path/1/saved_model.pb` and what belongs to it; `path` is what TensorFlow Serving takes as `base_path`."""
    servable = Servable(generator, batch=None)
    tf.saved_model.save(servable, str(path / VERSION), signatures={generator.signature["name"]: servable.concrete})
