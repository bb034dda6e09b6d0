"""ganzoo's extras, `pip install 'ganzoo[NAME]'`: what each is for, and what of it is not installed."""

import importlib.metadata
import re
from collections.abc import Iterable
from typing import NamedTuple

EXTRAS = {
    "gpu": "training on NVIDIA graphics cards (Linux)",
    "hub": "backbones of keras_hub, next to those of keras_cv",
    "backbones": "ImageNet weights of efficientnet_lite1 and efficientnet_lite2",
    "onnx": "export to ONNX files",
    "study": "charts of `ganzoo bench`",
    "tensorboard": "TensorBoard, to view the curves that every run writes",
    "reference": "other projects' FID, KID and precision, for comparison",
    "docs": "building the documentation",
    "test": "the tests",
}
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*(\[(?P<inner>[^\]]*)\])?[^;]*(;(?P<marker>.*))?$")
_EXTRA = re.compile(r"extra\s*==\s*['\"](?P<extra>[^'\"]+)['\"]")


class Requirement(NamedTuple):
    """One line of a package's requirements: its name, its own extras, and the extra that it belongs to, if any."""

    name: str
    inner: tuple[str, ...]
    extra: str | None


def missing_extras(requirements: Iterable[str] | None = None) -> dict[str, list[str]]:
    """The packages that are not installed, by extra; an extra of which all is installed is left out.

    Args:
        requirements: as `importlib.metadata.requires` gives them; those of the installed ganzoo unless given.
    """
    parsed = _parsed(_requires("ganzoo") if requirements is None else requirements)
    missing = {extra: [name for one in parsed if one.extra == extra for name in _missing(one)] for extra in EXTRAS}
    return {extra: sorted(set(names)) for extra, names in missing.items() if names}


def _missing(requirement: Requirement) -> list[str]:
    """The packages of a requirement, and of the extras of other packages that it names, that are not installed."""
    if requirement.name == "ganzoo":  # an extra that is made of others
        others = [one for one in _parsed(_requires("ganzoo")) if one.extra in requirement.inner]
        return [name for one in others for name in _missing(one)]
    if not _installed(requirement.name):
        return [requirement.name]
    inner = [one for one in _parsed(_requires(requirement.name)) if one.extra in requirement.inner]
    return [one.name for one in inner if one.extra and not _installed(one.name)]


def _parsed(requirements: Iterable[str]) -> list[Requirement]:
    found = []
    for text in requirements:
        match = _REQUIREMENT.match(text)
        if match is None:
            continue
        extra = _EXTRA.search(match["marker"] or "")
        inner = tuple(part.strip() for part in (match["inner"] or "").split(",") if part.strip())
        found.append(Requirement(match["name"], inner, extra["extra"] if extra else None))
    return found


def _requires(package: str) -> list[str]:
    try:
        return importlib.metadata.requires(package) or []
    except importlib.metadata.PackageNotFoundError:  # run from a source tree that is not installed
        return []


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
