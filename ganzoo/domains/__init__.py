"""Domains, one file each: how samples are read and shown. Domains differ here and nowhere else.

A domain's module has `Options` (the schema of a recipe's `data`), `read`, `to_unit`, `from_unit`, `quick_score`
(lower is better; named by `QUICK_SCORE`), and ways to show samples. `PixelRange`, `check_batch` and
`OUT_OF_RANGE` judge the range of samples that do not come from `read`
(`ganzoo.data.images.pixel_range`). It may have `real_set`: the real samples that an export is judged by.
"""

import importlib
import pkgutil
from types import ModuleType

from ganzoo.errors import RecipeError, unknown_name


def list_domains() -> list[str]:
    """The names of all domains, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def get_domain(name: str) -> ModuleType:
    """The module of a domain, imported when it is asked for.

    Raises:
        RecipeError: there is no such domain.
    """
    if name not in list_domains():
        raise RecipeError(unknown_name("domain", name, list_domains()))
    return importlib.import_module(f"{__name__}.{name}")
