"""What a run has kept about its data: `data.json`, which `ganzoo.runs.data.describe` makes."""

from pathlib import Path
from typing import Any

from ganzoo.files.reading import read_json


def run_of(folder: Path) -> Path:
    """The run that a folder is, or whose `best` or `preset` it is."""
    return folder.parent if folder.name in ("best", "preset") else folder


def described(run: Path) -> dict[str, Any]:
    """What a run has kept as `data.json`; empty where there is none."""
    path = run / "data.json"
    return read_json(path, dict) if path.is_file() else {}
