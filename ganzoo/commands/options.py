"""Kinds of arguments and options: numbers within ranges, and names that the shell completes."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

SEED = click.IntRange(0, 2**32 - 1)


class Finite(click.FloatRange):
    """A finite number within a range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number; an error of usage where it is infinite or not a number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


class OneOf(click.ParamType):
    """One of a few whole numbers."""

    name = "integer"

    def __init__(self, *allowed: int):
        self.allowed = allowed

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The number."""
        listed = " or ".join(str(one) for one in self.allowed)
        try:
            number = int(value)
        except ValueError:
            self.fail(f"{value!r} is not a whole number. Use {listed}.", param, ctx)
        if number not in self.allowed:
            self.fail(f"{number} is not allowed. Use {listed}.", param, ctx)
        return number


class Name(click.ParamType):
    """A name that the shell completes.

    Args:
        names: gives the names, when they are needed.
        files: which paths are completed too: "dir", "file" or none.
        several: whether several names may be given, separated by commas.
    """

    name = "text"

    def __init__(self, names: Callable[[], Iterable[str]], files: str | None = None, several: bool = False):
        self._names, self._files, self._several = names, files, several

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text as it is: the command itself names what is nearest to an unknown name."""
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The names that begin so."""
        before, comma, last = incomplete.rpartition(",") if self._several else ("", "", incomplete)
        found = [CompletionItem(f"{before}{comma}{name}") for name in self._names() if name.startswith(last)]
        # What asks the shell for paths comes first: in bash it clears what is before it.
        return ([CompletionItem(incomplete, type=self._files)] if self._files else []) + found


def entries() -> list[str]:
    """The entries of the zoo."""
    from ganzoo.recipes.entries import list_entries

    return list_entries()


def _built_in() -> list[str]:
    from ganzoo.data.images.builtin import BUILTIN

    return [*BUILTIN, "tfds:"]


def _methods() -> list[str]:
    from ganzoo.recipes.entries import recipe_paths

    return list(recipe_paths("_pretraining"))


def _studies() -> list[str]:
    from ganzoo.recipes.entries import recipe_paths

    return [*recipe_paths("_studies"), "scores"]


ENTRY = Name(entries, "dir")
DATA = Name(_built_in, "file")
METHOD = Name(_methods)
STUDY = Name(_studies)
FOLDER = click.Path(file_okay=False)
EXPORT = click.Path(path_type=str)


def names(*allowed: str, several: bool = False) -> Name:
    """One of a few names."""
    return Name(lambda: allowed, several=several)


def folder_of(path: str | Path) -> Path:
    """The folder that a file is written to."""
    return Path(path).absolute().parent
