"""Recipes as they stand in YAML files: `extends`, overrides. Validation is `ganzoo.recipes.schema`'s."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ganzoo.errors import RecipeError
from ganzoo.files.reading import MOST_NESTED, FileProblem, check_plain, read_text

RUN_RECIPE = "recipe.yaml"  # of a run directory or a preset
MOST_YAML = 1 << 20  # bytes; the longest recipe of the zoo has 4,000
_MOST_VALUES = 50_000
_MOST_EXTENDED = 8
_MOST_DIGITS = 400


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):
    """Safe YAML in which 2e-4 is a number (YAML 1.1 wants 2.0e-4)."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*)(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parse_value(text: str) -> Any:
    """The value of a `key=value` override, read as YAML."""
    try:
        return parse_yaml(text)
    except (FileProblem, yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"Cannot read the value '{text:.200}' as YAML: {error}.") from None


def parse_yaml(text: str) -> Any:
    """The plain value of a YAML text of at most `MOST_YAML` bytes.

    Nesting, values and what aliases (`*name`) expand to are counted before anything is built, so that a short text
    cannot take much memory.

    Raises:
        FileProblem, yaml.YAMLError, ValueError: it is no YAML, too large, or no plain value.
    """
    if len(text) > MOST_YAML:
        raise FileProblem(f"has {len(text):,} characters of YAML; at most {MOST_YAML:,} are read")
    depth = 0
    for values, event in enumerate(yaml.parse(text, Loader=_Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > _MOST_DIGITS and _is_number(event):
            raise FileProblem(f"has a number of more than {_MOST_DIGITS} characters. Write text in quotes")
        if depth > MOST_NESTED or values > _MOST_VALUES:
            raise FileProblem(f"is nested more than {MOST_NESTED} deep, or has more than {_MOST_VALUES:,} values")
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _expanded(node, {}) > _MOST_VALUES:
            raise FileProblem(f"has aliases (*name) that expand to more than {_MOST_VALUES:,} values")
        value = loader.construct_document(node)
    finally:
        loader.dispose()
    check_plain(value)
    return value


def _is_number(event: yaml.ScalarEvent) -> bool:
    """Whether a scalar may become a number, for which the time grows with the square of its length."""
    return event.tag is not None or (event.implicit[0] and event.value[0] in "+-.0123456789")


def _expanded(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node has where each alias is a copy of what it names."""
    if id(node) in known:
        if known[id(node)] < 0:
            raise FileProblem("has an alias (*name) inside of what it names")
        return known[id(node)]
    known[id(node)] = -1
    below = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        below = [one for pair in node.value for one in pair]
    known[id(node)] = 1 + sum(_expanded(one, known) for one in below)
    return known[id(node)]


def read_yaml(path: Path, within: Path | None = None) -> dict[str, Any]:
    """A recipe's raw keys, with those of the file that it `extends` (a path relative to it) beneath its own.

    Args:
        path: the file.
        within: the folder in which the files that it extends must lie; its own by default.

    Raises:
        RecipeError: a file is missing, larger than `MOST_YAML`, no YAML of keys and values, or is elsewhere.
    """
    path = Path(path)
    return _read_yaml(path, (within or path.parent).resolve(), ())


def _read_yaml(path: Path, within: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    path = path.parent.resolve() / path.name
    if path in seen:
        raise RecipeError(f"Recipes extend each other in a circle: {' -> '.join(p.name for p in (*seen, path))}.")
    if len(seen) >= _MOST_EXTENDED:
        raise RecipeError(f"{seen[0]} extends more than {_MOST_EXTENDED} recipes, one after the other.")
    text = read_text(path, RecipeError, MOST_YAML)
    try:
        raw = parse_yaml(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path} is not valid YAML: {error}") from None
    except FileProblem as problem:
        raise RecipeError(f"{path} {problem}.") from None
    if not isinstance(raw, dict):
        raise RecipeError(f"{path} must hold keys and values. Received: {type(raw).__name__}.")
    base = raw.pop("extends", None)
    if base is None:
        return raw
    named = isinstance(base, str) and base.endswith(".yaml") and "\0" not in base
    if not named or not (target := (path.parent / base).resolve()).is_relative_to(within):
        raise RecipeError(
            f"{path}: 'extends' names a .yaml file in {within}, relative to the recipe. Received: {base!r:.200}."
        )
    return merge(_read_yaml(target, within, (*seen, path)), raw)


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
