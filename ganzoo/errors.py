"""Errors whose text is written for the user: what went wrong, what was expected, what was received, the fix."""

import difflib
from collections.abc import Iterable


class GanzooError(Exception):
    """A clear error. The command line prints its text, without a traceback, and exits with code 1."""


class RecipeError(GanzooError):
    """A recipe, an override or a name in the registry is wrong."""


class DataError(GanzooError):
    """Data cannot be read, or do not suit the entry."""


class WeightsError(GanzooError):
    """Weights are missing, broken, or do not fit their target."""


class TrainingError(GanzooError):
    """A run cannot start, go on or be resumed."""


class StorageError(GanzooError, OSError):
    """A file cannot be written: the disk is full, or there is no permission. Files that were there are whole."""


class EvaluationError(GanzooError):
    """Scores cannot be computed or may not be compared."""


class ExportError(GanzooError):
    """A generator cannot be exported, or an export differs from its source."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C stopped a run after a step; from its first step on the state is saved.

    It is no `GanzooError`: what calls a run must stop too.
    """


class Terminated(SystemExit):
    """SIGTERM or SIGHUP stopped a run after a step, as `Interrupted`; its code is 128 + the signal's number."""


def missing_package(what: str, package: str, extra: str | None = None) -> str:
    """The text for a package that is not installed: `what` needs it, and how to install it, by its extra if it has one.

    Args:
        what: as a sentence begins, such as "The ONNX export".
        package: its name on PyPI.
        extra: of ganzoo, such as "onnx"; None for what ganzoo itself depends on.
    """
    if extra is None:
        return f"{what} needs the package '{package}', which is not installed. Fix it with: pip install {package}"
    return (
        f"{what} needs the package '{package}', which is not installed. Install ganzoo's extra '{extra}': "
        f"pip install 'ganzoo[{extra}]' (or: pip install {package})."
    )


def unknown_name(what: str, received: str, allowed: Iterable[str]) -> str:
    """The text for an unknown name: `what` it should have been, the nearest allowed name, all (or the nearest ten)."""
    allowed = sorted(allowed)
    near = difflib.get_close_matches(str(received), allowed, n=10, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    if len(allowed) <= 30:
        return f"Unknown {what} '{received}'.{hint} Use one of {allowed}."
    return f"Unknown {what} '{received}'.{hint} Use one of {len(allowed)}, among them {near or allowed[:10]}."
