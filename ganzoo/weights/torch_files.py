"""A reader of PyTorch checkpoints that needs no PyTorch and runs no code from the file.

A checkpoint is a pickle, and a pickle may name any function of any module and have it called. Here only what rebuilds
tensors is admitted: dictionaries, storages and the tensor constructors. Every other name is refused before anything
is looked up or called.

Both layouts are read: the older one (four pickles, then the raw storages) and the zip archive that `torch.save` has
written since PyTorch 1.6.
"""

import collections
import io
import math
import pickle
import pickletools
import re
import zipfile
from collections.abc import Iterator
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganzoo.errors import WeightsError
from ganzoo.files.reading import guard, read_bytes
from ganzoo.files.tensors import MOST_WEIGHTS

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
# bfloat16 has no numpy type: its 16 bits are the upper half of a float32, see `_array`.
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_MOST_NESTED = 200  # of a pickle's values
_FILLING = ("APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD")  # what lies below their values
_MOST_COPIES = 4  # of a file's bytes that its tensors may have in all: some share a storage
_TENSOR_BUILDERS = ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")


class _StorageType(NamedTuple):
    name: str

    @property
    def dtype(self) -> np.dtype:
        code = _STORAGES[self.name]
        return np.dtype("<u2" if code == "bfloat16" else code)


class _Storage(NamedTuple):
    type: _StorageType
    key: str
    numel: int


class _Module:
    """A module of a TorchScript archive: its attributes alone, which are tensors, modules and plain values."""


class _Tensor(NamedTuple):
    """A tensor whose numbers have not been read yet."""

    storage: Any
    offset: Any
    size: Any
    stride: Any


def read_state_dict(path: str | PathLike) -> dict[str, np.ndarray]:
    """Read the tensors of a PyTorch checkpoint, in the order in which they were saved.

    Args:
        path: a `.pth` or `.pt` file that holds a state dict, or a dictionary with one under the key "state_dict"; or a
            TorchScript archive, of which the tensors alone are read.

    Returns:
        Name -> array. bfloat16 becomes float32; every other type stays as it was.

    Raises:
        WeightsError: the file is missing, truncated, no checkpoint, or names anything but tensors.
    """
    path = Path(path)
    with guard(path, WeightsError, "Give a file written by torch.save(model.state_dict(), ...)."):
        content = read_bytes(path, MOST_WEIGHTS)
    try:
        if content[:4] == b"PK\x03\x04":
            value, arrays = _read_zip(content, path)
        else:
            value, arrays = _read_legacy(content, path)
        return _state_dict(value, arrays, path)
    except WeightsError:
        raise
    except Exception as error:  # whatever broken bytes can raise inside pickle, zipfile or numpy
        raise WeightsError(
            f"The file '{path}' is truncated or is not a PyTorch checkpoint ({type(error).__name__}: {error}). "
            "Fetch it again, or give a file written by torch.save(model.state_dict(), ...)."
        ) from None


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: io.BytesIO, path: Path):
        _check_pickle(stream, path)
        super().__init__(stream, encoding="utf-8")
        self.path = path
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _StorageType(name)
        if module == "torch._utils" and name in _TENSOR_BUILDERS:
            # A new function each time, so that nothing in a file can alter one that outlives the read.
            if name == "_rebuild_parameter":
                return lambda data, *_: data
            return lambda storage, offset, size, stride, *_: _Tensor(storage, offset, size, stride)
        # Modules of a TorchScript archive: nothing of their code is read. A new class each time, as above.
        if module.startswith("__torch__."):
            return type("_Module", (_Module,), {})
        if module == "torch.jit._pickle" and name.startswith("build_"):
            return lambda values: values
        raise WeightsError(
            f"The file '{self.path}' was refused: it names '{module}.{name}', which is not a part of a tensor and "
            "could run code. Expected a plain state dict: torch.save(model.state_dict(), ...)."
        )

    def persistent_load(self, saved: Any) -> _Storage:
        kind, storage_type, key, _, numel, *view = saved
        if kind != "storage" or not isinstance(storage_type, _StorageType) or any(part is not None for part in view):
            raise WeightsError(f"The file '{self.path}' refers to a storage of an unknown kind: {saved!r:.100}.")
        if type(key) is not str or type(numel) is not int or numel < 0:
            raise WeightsError(f"The file '{self.path}' has a storage with an impossible size: {numel!r:.100}.")
        storage = _Storage(storage_type, key, numel)
        if self.storages.setdefault(key, storage) != storage:
            raise WeightsError(f"The file '{self.path}' describes the storage '{key:.100}' in two ways.")
        return storage


def _check_pickle(stream: io.BytesIO, path: Path) -> None:
    """Refuse a pickle whose values are nested too deeply, or numbered beyond its own length.

    Python's own code follows nested values (to hash a tuple, say) until its stack ends, and the process with it; a
    reader makes room for all numbers below one that is named.
    """
    start, size = stream.tell(), stream.getbuffer().nbytes
    depths: list[int | None] = []  # of the values on the reader's stack; None is a mark
    known: dict[int, int] = {}  # of those that a number was given
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            number = len(known) if argument is None else argument
            if number > size:
                raise WeightsError(f"The file '{path}' was refused: a value in it has the impossible number {number}.")
            known[number] = (depths[-1] if depths else 0) or 0
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            depths.append(known.get(argument, 0))
        elif opcode.name == "DUP":
            depths.append(depths[-1] if depths else 0)
        elif opcode.name == "POP":
            del depths[-1:]
        else:
            _apply(opcode, depths, path)
    stream.seek(start)


def _apply(opcode: pickletools.OpcodeInfo, depths: list[int | None], path: Path) -> None:
    """What an opcode does to the depths on the stack: what it makes or fills is one deeper than all that it takes."""
    taken, after = [], opcode.stack_after
    before = [one for one in opcode.stack_before if one is not pickletools.stackslice]
    if pickletools.markobject in before:
        while depths and (one := depths.pop()) is not None:
            taken.append(one)
        before = before[: before.index(pickletools.markobject)]
    for _ in before:
        taken.append((depths.pop() if depths else 0) or 0)
    filled = taken.pop() if opcode.name in _FILLING and taken else 0
    made = max(filled, 1 + max(taken)) if taken else filled
    if made > _MOST_NESTED:
        raise WeightsError(f"The file '{path}' was refused: its values are nested more than {_MOST_NESTED} deep.")
    depths.extend(None if one is pickletools.markobject else made for one in after)


def _truncated(path: Path, key: str, expected: int, received: int) -> WeightsError:
    return WeightsError(
        f"The file '{path}' is truncated or broken: storage '{key:.100}' should have {expected:,} bytes, "
        f"found {received:,}. Fetch it again."
    )


def _read_legacy(content: bytes, path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    stream = io.BytesIO(content)

    def load() -> Any:
        return _Unpickler(stream, path).load()

    if load() != _LEGACY_MAGIC or load() != _LEGACY_PROTOCOL:
        raise WeightsError(
            f"The file '{path}' is not a PyTorch checkpoint: it does not start with PyTorch's magic number."
        )
    if load().get("little_endian") is not True:
        raise WeightsError(f"The file '{path}' was written on a big-endian machine, which is not supported.")
    unpickler = _Unpickler(stream, path)
    value = unpickler.load()
    arrays = {}
    for key in load():
        storage = unpickler.storages.get(key)
        if storage is None:
            raise WeightsError(f"The file '{path}' holds a storage '{key!r:.100}' that no tensor uses.")
        header = stream.read(8)
        expected = storage.numel * storage.type.dtype.itemsize
        start, left = stream.tell(), len(content) - stream.tell()
        if len(header) < 8 or expected > left:
            raise _truncated(path, key, expected, left)
        if int.from_bytes(header, "little") != storage.numel:
            raise WeightsError(f"The file '{path}' is broken: storage '{key}' states two different sizes.")
        arrays[key] = np.frombuffer(content, storage.type.dtype, storage.numel, start)
        stream.seek(start + expected)
    return value, arrays


def _read_zip(content: bytes, path: Path) -> tuple[Any, dict[str, np.ndarray]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        # torch.save stores without compression, so that no entry can be larger than the file. TorchScript's code, which
        # is not read, is compressed.
        code = re.compile(r"[^/]+/(?:code|constants)")
        if any(info.compress_type != zipfile.ZIP_STORED for name, info in entries.items() if not code.match(name)):
            raise WeightsError(f"The file '{path}' is a compressed zip; torch.save never writes those.")
        pickles = [name for name in entries if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(pickles) != 1:
            raise WeightsError(f"The file '{path}' is a zip, but no PyTorch checkpoint: it has no data.pkl.")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
            raise WeightsError(f"The file '{path}' was written on a big-endian machine, which is not supported.")
        unpickler = _Unpickler(io.BytesIO(archive.read(pickles[0])), path)
        value = unpickler.load()
        arrays = {}
        whole = sum(storage.numel * storage.type.dtype.itemsize for storage in unpickler.storages.values())
        if whole > len(content):  # entries of a zip may overlap
            raise _truncated(path, "all", whole, len(content))
        for key, storage in unpickler.storages.items():
            info = entries.get(f"{root}data/{key}")
            expected = storage.numel * storage.type.dtype.itemsize
            if info is None or info.file_size != expected:
                raise _truncated(path, key, expected, info.file_size if info else 0)
            arrays[key] = np.frombuffer(archive.read(info), storage.type.dtype)
        return value, arrays


def _state_dict(value: Any, arrays: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    if isinstance(value, dict) and isinstance(value.get("state_dict"), dict):
        value = value["state_dict"]
    if isinstance(value, _Module):
        value = dict(_tensors_of(value, "", path, set()))
    if not isinstance(value, dict):
        raise WeightsError(f"The file '{path}' holds a {type(value).__name__}. Expected a state dict: name -> tensor.")
    strange = [name for name, tensor in value.items() if type(name) is not str or not isinstance(tensor, _Tensor)]
    if strange:
        raise WeightsError(
            f"The file '{path}' holds more than tensors, first under '{strange[0]!s:.100}'. "
            "Expected a plain state dict: torch.save(model.state_dict(), ...)."
        )
    found, taken, most = {}, 0, _MOST_COPIES * path.stat().st_size
    for name, tensor in value.items():
        found[name] = _array(name, tensor, arrays, path)
        taken += found[name].nbytes
        if taken > most:
            raise WeightsError(
                f"The file '{path}' was refused: its tensors share their numbers so often that they would take more "
                f"than {_MOST_COPIES} times its size."
            )
    return found


def _tensors_of(module: _Module, prefix: str, path: Path, seen: set[int]) -> Iterator[tuple[str, _Tensor]]:
    """The tensors of a TorchScript module and of those in it, by names as `net.layers.conv.weight`, in their order.

    Modules in two places are refused: a few of them that hold each other twice would have more names than memory has.
    """
    if id(module) in seen:
        raise WeightsError(f"The file '{path}' was refused: a module in it is used in two places.")
    seen.add(id(module))
    for name, value in vars(module).items():
        if isinstance(value, _Module):
            yield from _tensors_of(value, f"{prefix}{name}.", path, seen)
        elif isinstance(value, _Tensor):
            yield f"{prefix}{name}", value


def _array(name: str, tensor: _Tensor, arrays: dict[str, np.ndarray], path: Path) -> np.ndarray:
    storage, offset, size, stride = tensor
    if not isinstance(storage, _Storage) or storage.key not in arrays:
        raise WeightsError(f"The file '{path}' has no numbers for the tensor '{name}'.")
    whole = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride)
    whole = whole and all(type(number) is int and number >= 0 for number in (offset, *size, *stride))
    data = arrays[storage.key]
    if whole:
        count = math.prod(size)
        last = offset + sum((extent - 1) * step for extent, step in zip(size, stride, strict=True))
    # The count is checked too: with a stride of 0 a few numbers could claim to be terabytes.
    if not whole or count > storage.numel or (count > 0 and last >= storage.numel):
        raise WeightsError(
            f"The file '{path}' is broken: the tensor '{name}' (offset {offset!r:.20}, size {size!r:.100}, strides "
            f"{stride!r:.100}) reaches outside its storage of {storage.numel} numbers."
        )
    if count == 0:
        array = np.empty(size, data.dtype)
    else:
        steps = [step * data.itemsize for step in stride]
        array = np.lib.stride_tricks.as_strided(data[offset:], size, steps, writeable=False).copy()
    if _STORAGES[storage.type.name] == "bfloat16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array
