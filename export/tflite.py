"""Conversion to TFLite: static batch 1, builtin operators only."""

import re

import tensorflow as tf

from ganzoo import progress
from ganzoo.errors import ExportError

from .generator import Generator, Servable


def convert(generator: Generator, precision: str) -> bytes:
    """A TFLite file's content, with named inputs and outputs.

    Args:
        generator: what is converted.
        precision: `float32`, or `float16` for weights of half the size (inputs and outputs stay float32).

    Raises:
        ExportError: the generator needs operators that are not built into TFLite; names them.
    """
    servable = Servable(generator, batch=1)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([servable.concrete], servable)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision == "float16":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    try:
        with progress.task(f"Converting to TFLite ({precision})"):
            return converter.convert()
    except Exception as error:  # The converter's own class is private.
        foreign = foreign_operators(str(error))
        if not foreign:
            raise ExportError(f"The conversion to TFLite failed: {str(error).splitlines()[0]}") from error
        raise ExportError(
            f"The generator needs operators that are not built into TFLite: {foreign}. Replace the layers that use "
            "them; select operators are not used, since phones lack them."
        ) from None


def foreign_operators(text: str) -> list[str]:
    """The operators that a converter's error complains of, sorted."""
    found = set(re.findall(r"'tf\.(\w+)' op is neither a custom op nor a flex op", text))
    for line in re.findall(r"(?:TF Select|Custom) ops: (.*)", text):
        found |= {name.strip() for name in line.split(",")}
    return sorted(found)
