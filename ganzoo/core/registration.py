"""Registers all GAN classes and layers with Keras, so that `keras.saving.load_model` finds them by name.

Each class registers itself where it is defined; here all of their modules are imported, those of plug-ins too.
"""

import importlib
import importlib.abc
import importlib.metadata
import importlib.util
import logging
import pkgutil
import sys
import traceback
from typing import Any

from ganzoo.quiet import require_tensorflow

_state = {"done": False}


def register_classes() -> None:
    """Import every module that defines a GAN, a pretraining or a layer; a second call does nothing."""
    if _state["done"]:
        return
    _state["done"] = True
    gans = importlib.import_module("ganzoo.gans")
    for name in [*(f"ganzoo.gans.{module.name}" for module in pkgutil.iter_modules(gans.__path__)), _PRETRAINING]:
        importlib.import_module(name)
    if importlib.metadata.entry_points(group="ganzoo.zoo"):
        _register_plug_ins()


_PRETRAINING = "ganzoo.pretraining.model"


def _register_plug_ins() -> None:
    registry = importlib.import_module("ganzoo.registry")
    for name in registry.list_entries():
        try:
            gan = registry.get_entry(name).raw.get("gan")
            if isinstance(gan, str) and "." in gan:
                registry.gan_class(gan)
        except Exception as error:  # a broken plug-in must not stop what does not need it
            logging.getLogger("ganzoo").warning("The classes of %s are not registered with Keras: %s", name, error)


def register_with_keras() -> None:
    """Register all classes now if Keras is imported already, and otherwise as soon as it is.

    `import ganzoo` itself stays free of Keras and TensorFlow.
    """
    if "keras" not in sys.modules:
        sys.meta_path.insert(0, _AfterKeras())
    elif _uses_tensorflow():
        register_classes()


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Lets the import of Keras end with `register_classes`."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The specification that the other finders give; None for all modules but Keras."""
        if name != "keras":
            return None
        if _is_importing():
            require_tensorflow()
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            # A module of ganzoo that is being imported is not complete yet: the first model registers all classes.
            if _uses_tensorflow() and not _is_importing():
                register_classes()

        spec.loader.exec_module = exec_module
        return spec


def _uses_tensorflow() -> bool:
    keras = sys.modules["keras"]
    return hasattr(keras, "config") and keras.config.backend() == "tensorflow"


def _is_importing() -> bool:
    """Whether a module of ganzoo, or of a plug-in that uses it, is being imported now."""
    running = [frame for frame, _ in traceback.walk_stack(None) if frame.f_code.co_name == "<module>"]
    return any(frame.f_globals.get("__name__", "").partition(".")[0] == "ganzoo" for frame in running)
