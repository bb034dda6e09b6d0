"""A generator as an ONNX file, for ONNX Runtime; any batch size. Needs the extra `ganzoo[onnx]`."""

from pathlib import Path

import tensorflow as tf

from ganzoo.errors import ExportError
from ganzoo.startup import no_stderr

from .generator import Generator, Servable

_OPSET = 17


def write(generator: Generator, path: Path) -> None:
    """Write the file.

    Raises:
        ExportError: `tf2onnx` is not installed, or cannot convert an operator.
    """
    try:
        import tf2onnx
    except ImportError as error:
        raise ExportError(f"ONNX files need tf2onnx ({error}): pip install 'ganzoo[onnx]'.") from None
    servable = Servable(generator, batch=None)
    signature = list(servable.concrete.structured_input_signature[1].values())
    with no_stderr():
        function = tf.function(
            lambda *given: servable.concrete(**{s.name: g for s, g in zip(signature, given, strict=True)})
        )
        tf2onnx.convert.from_function(function, input_signature=signature, opset=_OPSET, output_path=str(path))
