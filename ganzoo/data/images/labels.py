"""Files of labels beside images: StyleGAN's `dataset.json`, and `labels.csv`, `metadata.csv`, `metadata.jsonl`."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ganzoo.data.images.limits import MAX_CLASSES, MAX_LABEL_FILE, read_whole
from ganzoo.data.names import class_names, listed, natural_key
from ganzoo.errors import DataError
from ganzoo.files.reading import FileProblem, parse_json
from ganzoo.printing import printable

LABEL_FILES = ("dataset.json", "labels.csv", "metadata.csv", "labels.tsv", "metadata.jsonl", "labels.jsonl")
FEW = 50  # images of a class
_PATHS = ("file_name", "filename", "file", "path", "image_path", "image", "img", "id", "name")
_LABELS = ("label", "labels", "class", "class_name", "classname", "category", "target", "y", "class_id")
_FIX = "Correct it, or move it out of the data, or read without classes."


class Table(NamedTuple):
    """What a file of labels says: its name, (path, label) in order, and whether a label is the class's own number."""

    name: str
    rows: list[tuple[str, str | int]]
    numbered: bool


def read_table(name: str, data: bytes) -> Table | None:
    """The labels in a file of that name; None where it has a form of its own, without labels.

    Raises:
        DataError: it is broken, too large, or its labels are neither whole numbers nor names.
    """
    what = f"The file of labels {printable(name)}"
    if len(data) > MAX_LABEL_FILE:
        read_whole(io.BytesIO(data), MAX_LABEL_FILE, what)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{what} is not UTF-8 text ({error.reason}). Save it as UTF-8.") from None
    base = name.rsplit("/", 1)[-1].lower()
    try:
        if base.endswith(".json"):
            return _style_gan(name, text)
        rows = _json_lines(text) if base.endswith(".jsonl") else _csv_rows(text)
        return Table(name, list(rows), False) if rows is not None else None
    except FileProblem as problem:
        raise DataError(f"{what} cannot be read: it {problem}. {_FIX}") from None
    except (ValueError, csv.Error) as error:
        raise DataError(f"{what} cannot be read: {error or type(error).__name__}. {_FIX}") from None


def _style_gan(name: str, text: str) -> Table:
    found = parse_json(text, plain=False)
    labels = found.get("labels") if isinstance(found, Mapping) else None
    if labels is None:
        if isinstance(found, Mapping) and "labels" in found:
            return Table(name, [], True)
        raise ValueError('expected {"labels": [["image.png", 0], ...]}')
    pairs = list(labels.items()) if isinstance(labels, Mapping) else labels
    if not isinstance(pairs, list):
        raise ValueError(f"`labels` must be a list of [path, number]. Received: {type(pairs).__name__}")
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise ValueError(f"`labels` must hold [path, number]. Received: {str(pair)[:80]}")
        if type(pair[1]) is not int or not 0 <= pair[1] < MAX_CLASSES:
            raise ValueError(
                f"a label must be a whole number from 0 to {MAX_CLASSES - 1:,}. Received: {str(pair[1])[:80]}"
            )
    return Table(name, [(path, number) for path, number in pairs], True)


def _json_lines(text: str) -> list[tuple[str, str]] | None:
    rows, columns = [], None
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = parse_json(line, plain=False)  # its other columns may hold anything
        if not isinstance(found, dict):
            raise ValueError(f"line {number} is no JSON object")
        columns = columns or _columns(list(found))
        if columns is None:
            return None
        rows.append((_cell(found.get(columns[0])), _cell(found.get(columns[1]))))
    return rows


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool | int | str):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    raise ValueError(f"a label must be a name or a whole number. Received: {str(value)[:80]}")


def _csv_rows(text: str) -> list[tuple[str, str]] | None:
    first = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(",;\t", key=first.count)
    lines = (row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row)
    header = next(lines, [])
    columns = _columns(header)
    if columns is None:
        # Two columns without a header: the first line names an image already.
        if len(header) != 2 or "." not in header[0]:
            return None
        return [(header[0].strip(), header[1].strip()), *_pairs(lines, 0, 1)]
    return list(_pairs(lines, header.index(columns[0]), header.index(columns[1])))


def _pairs(lines: Iterator[list[str]], path: int, label: int) -> Iterator[tuple[str, str]]:
    for row in lines:
        if len(row) <= max(path, label):
            raise ValueError(f"a line has too few columns: {str(row)[:80]}")
        yield row[path].strip(), row[label].strip()


def _columns(header: Sequence[str]) -> tuple[str, str] | None:
    """The columns of paths and of labels, by their names; None where one is missing."""
    plain = {name.strip().lower(): name for name in reversed(header)}
    path = next((plain[name] for name in _PATHS if name in plain), None)
    label = next((plain[name] for name in _LABELS if name in plain), None)
    return (path, label) if path is not None and label is not None else None


def match(table: Table, paths: Sequence[str]) -> tuple[dict[str, str | int], int]:
    """The label of each of `paths` that a table names, and how many of the table's rows name no image.

    Paths are relative to the table's folder; where there is no such image, a file's name alone or its name without
    suffix will do, if only one image has it.

    Raises:
        DataError: the table has labels for no image at all, or two for one image.
    """
    folder = table.name.rsplit("/", 1)[0] + "/" if "/" in table.name else ""
    below = {path[len(folder) :]: path for path in paths if path.startswith(folder)}
    by_name: dict[str, str | None] = {}
    for inner, path in below.items():
        name = inner.rsplit("/", 1)[-1]
        for short in {name, name.rsplit(".", 1)[0], inner.rsplit(".", 1)[0]} - {inner}:
            by_name[short] = None if short in by_name else path
    found: dict[str, str | int] = {}
    missing = 0
    for given, label in table.rows:
        inner = given.replace("\\", "/").removeprefix("./")
        path = below.get(inner) or by_name.get(inner)
        if path is None:
            missing += 1
        elif label != "" and found.setdefault(path, label) != label:
            raise DataError(
                f"{printable(table.name)} gives {printable(path)} two labels, {printable(found[path])!r} and "
                f"{printable(label)!r}. One image has one class."
            )
    if table.rows and not found:
        raise DataError(
            f"{printable(table.name)} names {printable(table.rows[0][0])!r} and {len(table.rows) - 1:,} more files, "
            f"but none of them is an image of the data, such as {printable(next(iter(below), 'none'))!r}. {_FIX}"
        )
    return found, missing


def numbered(labels: Sequence[str | int], own_numbers: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """The class number of each label, int32, and the classes' names.

    With `own_numbers` a label is the number of its class, and classes without an image keep their numbers; otherwise
    labels are names, and classes are numbered in the natural order of their names.
    """
    if own_numbers:
        numbers = np.asarray(labels, np.int32)
        return numbers, tuple(str(number) for number in range(int(numbers.max(initial=-1)) + 1))
    distinct = sorted({str(label) for label in labels}, key=natural_key)
    if len(distinct) > MAX_CLASSES:
        raise DataError(
            f"There are {len(distinct):,} classes; at most {MAX_CLASSES:,} are read. Are the labels classes?"
        )
    index = {name: number for number, name in enumerate(distinct)}
    return np.asarray([index[str(label)] for label in labels], np.int32), class_names(distinct)


def class_notes(labels: np.ndarray | None, names: Sequence[str]) -> tuple[str, ...]:
    """What should be known about classes: those without images, those with few, and names that are other numbers."""
    if labels is None or not names:
        return ()
    counts = np.bincount(labels, minlength=len(names)).tolist()
    empty = [name for name, count in zip(names, counts, strict=True) if not count]
    few = [f"{name} ({count})" for name, count in zip(names, counts, strict=True) if 0 < count < FEW]
    notes = []
    if empty:
        begin = ": labels start at a number above 0" if counts[0] == 0 else ""
        notes.append(f"{_classes(len(empty))} without an image{begin}: {listed(empty)}")
    if few:
        notes.append(f"{_classes(len(few))} with fewer than {FEW} images: {listed(few)}")
    if all(name.isdecimal() and name.isascii() for name in names) and list(names) != [
        str(i) for i in range(len(names))
    ]:
        notes.append(
            f"the classes' names are numbers, but not those of the classes: '{names[0]}' is class 0, "
            f"'{names[-1]}' is class {len(names) - 1}"
        )
    return tuple(notes)


def _classes(count: int) -> str:
    return f"{count:,} class" + ("" if count == 1 else "es")
