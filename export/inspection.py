"""What a SavedModel would do, read from its file before TensorFlow runs any of it.

A SavedModel is a program: its operators may read and write files. A generator needs none of those.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ganzoo.errors import ExportError
from ganzoo.files.reading import MOST_ARRAYS, guard, read_bytes

# Operators with a state or an effect that a generator may have.
_STATEFUL = {
    "VarHandleOp",
    "ReadVariableOp",
    "ResourceGather",
    "VarIsInitializedOp",
    "PartitionedCall",
    "StatefulPartitionedCall",
}
# Operators without a state that reach beyond the graph all the same.
_REACHING = {"ReadFile", "MatchingFiles", "DecodeProtoV2", "EncodeProto", "RestoreV2", "Restore", "RestoreSlice"}
# A captured tensor is a constant of a function that TensorFlow did not write into the function itself.
_KINDS = {None, "user_object", "variable", "function", "bare_concrete_function", "constant", "captured_tensor"}


def check_saved_model(path: Path) -> None:
    """Refuse a SavedModel whose functions use an operator that a generator does not need.

    Args:
        path: the folder with `saved_model.pb`.

    Raises:
        ExportError: it cannot be read, is of TensorFlow 1, holds assets or tables, or such an operator; names them.
    """
    from tensorflow.core.protobuf import saved_model_pb2

    file = path / "saved_model.pb"
    with guard(file, ExportError, "Export again."):
        found = saved_model_pb2.SavedModel.FromString(read_bytes(file, MOST_ARRAYS))
    if len(found.meta_graphs) != 1 or not found.meta_graphs[0].HasField("object_graph_def"):
        raise ExportError(f"{file} is not a SavedModel of TensorFlow 2 with one graph. Export again.")
    graph = found.meta_graphs[0]
    kinds = {node.WhichOneof("kind") for node in graph.object_graph_def.nodes} - _KINDS
    foreign = sorted(set(_operators(graph))) + sorted(kinds)
    if foreign:
        raise ExportError(
            f"{file} was refused: it uses {foreign[:8]}, which no generator needs and which may read or write files."
        )


def _operators(graph: Any) -> Iterator[str]:
    """The operators that are not allowed, of all functions that loading or a call may run."""
    from tensorflow.python.framework import op_def_registry

    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    waiting, seen = list(graph.object_graph_def.concrete_functions), set()
    while waiting:
        name = waiting.pop()
        if name in seen or name not in functions:
            continue
        seen.add(name)
        for node in functions[name].node_def:
            for value in node.attr.values():
                waiting += [value.func.name, *(one.name for one in value.list.func)]
            if node.op in functions:
                waiting.append(node.op)
                continue
            known = op_def_registry.get(node.op)
            if known is None or (known.is_stateful and node.op not in _STATEFUL) or node.op in _REACHING:
                yield node.op
