"""Where ganzoo keeps what it can compute again, and how a file comes to be whole or not at all."""

import json
import math
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ganzoo.errors import GanzooError, WeightsError


def cache_dir(kind: str) -> Path:
    """The folder for cached files of one `kind` ("features", "networks"), made if it is missing.

    It lies under `$GANZOO_CACHE` where that is set, else under `~/.cache/ganzoo`. Everything in it may be deleted.
    """
    root = os.environ.get("GANZOO_CACHE") or "~/.cache/ganzoo"
    folder = Path(root).expanduser() / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def atomic_write(path: str | Path, writer: Callable[[Path], None]) -> Path:
    """Let `writer(temporary_path)` write a file, then move it to `path` in one step, so that no reader sees half of it.

    The temporary file lies beside `path` and has the same suffix. If `writer` raises, `path` stays as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        writer(temporary)
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        # Some writers make files for their owner alone; a finished file is as readable as any other.
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_json(path: str | Path, form: type = object) -> Any:
    """What a JSON file holds; raises `GanzooError` naming it where it is no JSON, or not of the `form` (dict, list)."""
    path = Path(path)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise GanzooError(f"{path} is damaged ({error}). Remove it, or put back a whole one.") from None
    if not isinstance(found, form):
        raise GanzooError(f"{path} is damaged (no {form.__name__}). Remove it, or put back a whole one.")
    return found


def atomic_write_bytes(path: str | Path, content: bytes) -> Path:
    """Write `content` to `path`, whole or not at all."""
    return atomic_write(path, lambda temporary: temporary.write_bytes(content))


def read_objects(path: Path, *numbers: str, unread: list[str] | None = None, start: int = 0) -> list[dict[str, Any]]:
    """The objects of a JSONL file, from its byte `start` on; none where it is missing.

    Lines that are no objects are left out (a killed process may have torn them), and objects in which one of `numbers`
    is no number. `unread` is told how many lines are no objects; a torn last one is no news (a run may be writing it).
    """
    found, broken = [], 0
    content = b""
    if path.is_file():
        with path.open("rb") as file:
            file.seek(start)
            content = file.read()
    lines = content.decode(errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            broken += number < len(lines)
        elif all(is_number(value.get(name)) for name in numbers):
            found.append(value)
    if broken and unread is not None:
        unread.append(f"{path.name}: lines that are no JSON objects: {broken}")
    return found


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_safetensors(path: Path) -> dict[str, Any]:
    """All arrays of a file; raises `WeightsError` where it is missing or broken."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is no readable safetensors file ({error}). Train or download it again.") from None
    except (AttributeError, TypeError, KeyError) as error:
        raise WeightsError(
            f"{path} holds numbers of a type that numpy lacks ({error}). Convert it to float32."
        ) from None
