"""The zoo: entries by name. Nothing but YAML is read until an entry is created.

An entry is a YAML file `zoo_configs/<domain>/<entry>.yaml` naming a file of `ganzoo/gans/`. A plug-in package adds
entries by the entry-point group `ganzoo.zoo`, whose value is a package holding `<domain>/<entry>.yaml` files; its
YAML names its class as `package.module`. It counts where it is installed, not where it is only in the current folder.
"""

import fnmatch
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import logging
import os
import pkgutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.errors import RecipeError, unknown_name
from ganzoo.recipes import yaml_files
from ganzoo.recipes.yaml_files import RUN_RECIPE

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN
    from ganzoo.recipes.schema import Recipe

_ENTRY_POINTS = "ganzoo.zoo"
_REGISTER = ("ganzoo.pretraining.model", "ganzoo.zoo.composition")  # what they define is known once they are imported


@dataclass(frozen=True)
class ZooEntry:
    """One recipe of the zoo, or of a run directory.

    Attributes:
        name: `domain/arch_size`, stable; for a run directory its path.
        path: the YAML file.
        raw: its keys, not yet validated.
        about: what `ganzoo list` shows of an entry of the zoo: `parameters` by network, and `use`, a sentence. It is
            no part of a recipe.
    """

    name: str
    path: Path
    raw: Mapping[str, Any]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """One line."""
        return self.raw.get("summary", "")

    @property
    def paper(self) -> str:
        """The paper's address."""
        return self.raw.get("paper", "")

    @property
    def scores(self) -> Mapping[str, Any]:
        """Measured scores of the published weights, with how they were measured."""
        return self.raw.get("scores") or {}

    @property
    def weights(self) -> Mapping[str, Any] | None:
        """Where the published weights are, their sha256, licence and training data."""
        return self.raw.get("weights")

    def recipe(self, **overrides: Any) -> "Recipe":
        """The validated recipe, with overrides (nested mappings, or dotted keys)."""
        raw = yaml_files.merge(self.raw, yaml_files.nest(overrides))
        raw.setdefault("entry", self.name)
        for key in ("gan", "domain"):
            if not isinstance(raw.get(key), str):
                what = f"needs a name under the key '{key}'" if key in raw else f"lacks the key '{key}'"
                raise RecipeError(f"The recipe {self.path} {what}.")
        from ganzoo.domains import get_domain
        from ganzoo.recipes import schema

        return schema.validate(raw, get_domain(raw["domain"]).Options, gan_class(raw["gan"]).Options)


def list_entries(pattern: str = "*") -> list[str]:
    """Names of the entries that match a shell pattern, sorted. Loads no TensorFlow."""
    return sorted(fnmatch.filter(_files(), pattern))


def get_entry(name: str) -> ZooEntry:
    """The entry of a name, or of a run directory's (or preset's) path.

    Raises:
        RecipeError: no such entry; names the nearest one.
    """
    files = _files()
    if name in files:
        raw = yaml_files.read_yaml(files[name], files[name].parents[1])
        about = raw.pop("about", None)
        return ZooEntry(name, files[name], raw, about if isinstance(about, Mapping) else {})
    for folder in (Path(name), Path(name) / "preset"):
        if (folder / RUN_RECIPE).is_file():
            return ZooEntry(str(name), folder / RUN_RECIPE, yaml_files.read_yaml(folder / RUN_RECIPE))
    if Path(name).is_dir():
        raise RecipeError(f"{name} is not a run directory: it holds no {RUN_RECIPE}.")
    domains = {file.split("/")[0] for file in files}
    also = "" if name.split("/")[0] in domains else " There is no run directory of that name either."
    raise RecipeError(unknown_name("entry", name, files) + also)


def gan_class(gan: str) -> type["GAN"]:
    """The class of an architecture: the one subclass of `GAN` that its module defines.

    A plain name is a module of `ganzoo.gans`. A dotted one is in a package that an installed distribution registers
    under the entry point `ganzoo.zoo`; no other module is imported, since a recipe may come from anyone.

    Raises:
        RecipeError: there is no such module, or its package is not registered.
    """
    known = [path.stem for path in (Path(__file__).parents[1] / "gans").glob("*.py") if path.stem != "__init__"]
    module_name = gan if "." in gan else f"ganzoo.gans.{gan}"
    if not all(part.isidentifier() for part in module_name.split(".")) or ("." not in gan and gan not in known):
        raise RecipeError(unknown_name("architecture (key 'gan')", gan, known))
    if "." in gan:
        _check_registered(gan)
    return own_class(module_name, "GAN", "build_generator")


def _check_registered(module: str) -> None:
    """Refuse a module that is in no registered package, before anything of it is imported."""
    for package in _plug_ins():
        if not module.startswith(f"{package}."):
            continue
        folder = package_folder(package)
        path = folder and folder.joinpath(*module.removeprefix(f"{package}.").split("."))
        kinds = importlib.machinery.all_suffixes()
        if path and ((path / "__init__.py").is_file() or any(Path(f"{path}{kind}").is_file() for kind in kinds)):
            return
        raise RecipeError(f"The architecture '{module}' does not exist: the package {package} has no such module.")
    raise RecipeError(
        f"The architecture '{module}' is in a package that is not registered as a plug-in. A recipe may name modules "
        f"of ganzoo.gans, and of packages under the entry point ganzoo.zoo: {_plug_ins() or 'none is installed'}. "
        "Install the package that registers it (a package that is only in the current folder is not installed)."
    )


def _plug_ins() -> list[str]:
    """The packages that installed distributions register; none that only lies in the current folder."""
    found = importlib.metadata.distributions(path=_installed_folders())
    return sorted({point.value for one in found for point in one.entry_points if point.group == _ENTRY_POINTS})


def _installed_folders() -> list[str]:
    """The folders of `sys.path` but the current one, from which Python imports where it was started there.

    Anyone's folder may hold metadata of a distribution; only installing it is a decision of the user.
    """
    installed = {os.path.realpath(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
    here = {_STARTED_IN, _current_folder()} - installed
    return [folder for folder in sys.path if os.path.isabs(folder) and os.path.realpath(folder) not in here]


def _current_folder() -> str:
    try:
        return os.path.realpath(os.getcwd())
    except OSError:  # it was deleted
        return ""


_STARTED_IN = _current_folder()


def import_classes() -> None:
    """Import every module that defines a GAN, a pretraining or a layer, which then is registered with Keras.

    And what composes GANs of add-ons (`ganzoo.zoo.composition`).

    A plug-in that cannot be imported is left out with a warning.
    """
    modules = pkgutil.iter_modules([str(Path(__file__).parents[1] / "gans")])
    for name in [*(f"ganzoo.gans.{module.name}" for module in modules), *_REGISTER]:
        importlib.import_module(name)
    for name in list_entries() if _plug_ins() else ():
        try:
            gan = get_entry(name).raw.get("gan")
            if isinstance(gan, str) and "." in gan:
                gan_class(gan)
        except Exception as error:  # a broken plug-in must not stop what does not need it
            logging.getLogger("ganzoo").warning("The classes of %s are not registered with Keras: %s", name, error)


def own_class(module_name: str, kind: str, method: str) -> type:
    """The one class of a kind that a module defines: that with the method by which such classes are known."""
    module = importlib.import_module(module_name)
    classes = [c for c in vars(module).values() if isinstance(c, type) and hasattr(c, method)]
    own = [c for c in classes if c.__module__ == module.__name__]
    if len(own) != 1:
        raise RecipeError(f"{module_name} must define one subclass of {kind}. It defines {[c.__name__ for c in own]}.")
    return own[0]


def recipe_paths(folder: str) -> dict[str, Path]:
    """The YAML files of a folder of `zoo_configs/` that holds no entries, by their names."""
    return {path.stem: path for path in sorted((package_folder("ganzoo.zoo_configs") / folder).glob("[!_]*.yaml"))}


@lru_cache(maxsize=1)
def _files() -> dict[str, Path]:
    packages = ("ganzoo.zoo_configs", *_plug_ins())
    folders = [folder for package in packages if (folder := package_folder(package))]
    return {
        f"{path.parent.name}/{path.stem}": path
        for folder in folders
        for path in sorted(folder.glob("[!_]*/[!_]*.yaml"))
    }


def package_folder(package: str) -> Path | None:
    """The folder of an installed package; None, with a warning, where there is none."""
    try:
        return Path(next(iter(importlib.util.find_spec(package).submodule_search_locations)))
    except (ModuleNotFoundError, AttributeError):
        logging.getLogger("ganzoo").warning("The plug-in %s cannot be found: its entries are left out.", package)
        return None
