"""Recipes as they stand in YAML files: `extends`, overrides. Validation is `ganzoo.config`'s."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ganzoo.errors import RecipeError


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):
    """Safe YAML in which 2e-4 is a number (YAML 1.1 wants 2.0e-4)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_value(text: str) -> Any:
    """The value of a `key=value` override, read as YAML."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise RecipeError(f"Cannot read the value '{text}' as YAML: {error}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """A recipe's raw keys, with those of the file that it `extends` (a path relative to it) beneath its own."""
    return _read_yaml(Path(path), ())


def _read_yaml(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.resolve()
    if path in seen:
        raise RecipeError(f"Recipes extend each other in a circle: {' -> '.join(p.name for p in (*seen, path))}.")
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise RecipeError(f"Cannot read {path}: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(raw, dict):
        raise RecipeError(f"{path} must hold keys and values. Received: {type(raw).__name__}.")
    base = raw.pop("extends", None)
    return raw if base is None else merge(_read_yaml(path.parent / base, (*seen, path)), raw)


def merge(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `base`: mappings are merged key by key, anything else is replaced."""
    merged = dict(base)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def nest(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides with dotted keys (`{"training.batch_size": 8}`) as nested mappings."""
    nested: dict[str, Any] = {}
    for key, value in overrides.items():
        *parents, last = key.split(".")
        leaf = {last: nest(value) if isinstance(value, Mapping) and key not in ("init",) else value}
        for parent in reversed(parents):
            leaf = {parent: leaf}
        nested = merge(nested, leaf)
    return nested
