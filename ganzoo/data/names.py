"""Names from files and folders: in natural order, all different, safe to print."""

import re
from collections import Counter
from collections.abc import Iterable

from ganzoo.printing import printable

_DIGITS = re.compile(r"([0-9]+)")


def natural_key(name: str) -> tuple:
    """A key that sorts "2" before "10" and "cat2" before "cat10"; other parts are compared as text.

    Digits are compared by length and text, so that a name of thousands of digits costs nothing.
    """
    parts: list = _DIGITS.split(name)
    parts[1::2] = [(len(digits.lstrip("0")), digits.lstrip("0")) for digits in parts[1::2]]
    return tuple(parts), name


def class_names(raw: Iterable[str]) -> tuple[str, ...]:
    """Printable names for classes, one for each of `raw`, all different."""
    names = [printable(name) for name in raw]
    taken, seen = set(names), Counter()
    for index, name in enumerate(names):
        seen[name] += 1
        number = seen[name]
        if number > 1:
            while f"{name} ({number})" in taken:
                number += 1
            names[index] = f"{name} ({number})"
            taken.add(names[index])
    return tuple(names)


def listed(names: Iterable[object], most: int = 12) -> str:
    """The first `most` names, and how many there are in all where there are more."""
    names = [printable(name) for name in names]
    return ", ".join(names[:most]) + (f", ... ({len(names):,} in all)" if len(names) > most else "")
