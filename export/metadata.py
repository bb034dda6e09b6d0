"""What a phone has to know of a generator, as JSON inside its TFLite file.

It stands in the flatbuffer's own list of metadata under the name `ganzoo`. (A zip appended at the end, as
`tflite-support` wrote, is dropped whenever a tool writes the file again.)
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from ganzoo.errors import ExportError

NAME = "ganzoo"


def embed(content: bytes, described: Mapping[str, Any]) -> bytes:
    """A TFLite file's content with `described` in it, in place of what stood there."""
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    others = [entry for entry in model.metadata or () if entry.name not in (NAME, NAME.encode())]
    buffer, entry = schema.BufferT(), schema.MetadataT()
    text = json.dumps(described, ensure_ascii=False, separators=(",", ":"))
    buffer.data = np.frombuffer(text.encode(), np.uint8)
    entry.name, entry.buffer = NAME, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*others, entry]
    return _packed(model)


def _packed(model: Any) -> bytes:
    """A model as a flatbuffer in which equal arrays (zero points of channels, shapes) stand once.

    An int8 file of many layers is smaller by a twentieth: weights and biases have eight bytes of zero point a channel.
    """
    import flatbuffers

    class Builder(flatbuffers.Builder):
        def CreateNumpyVector(self, x):
            key = (x.dtype.str, x.tobytes())
            if key not in written:
                written[key] = super().CreateNumpyVector(x)
            return written[key]

    written: dict[tuple[str, bytes], int] = {}
    builder = Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def extract(content: bytes, name: str = "The file") -> dict[str, Any]:
    """What `embed` put into a TFLite file's content.

    Raises:
        ExportError: there is nothing, or it is damaged.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(content)
        for index in range(model.MetadataLength()):
            entry = model.Metadata(index)
            if entry.Name() == NAME.encode():
                found = json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode())
                if isinstance(found, dict):
                    return found
    except Exception as error:  # broken offsets and lengths raise errors of many kinds
        raise ExportError(f"{name} is damaged: its metadata cannot be read ({type(error).__name__}).") from None
    raise ExportError(f"{name} has no metadata of ganzoo: it is not an export, or another tool removed them.")
