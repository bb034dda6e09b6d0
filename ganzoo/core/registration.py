"""When GAN classes and layers are registered with Keras, so that `keras.saving.load_model` finds them by name.

Each class registers itself where it is defined. What imports all of their modules is given to `register_with_keras`.
"""

import importlib.abc
import sys
import traceback
from collections.abc import Callable
from typing import Any

from ganzoo.startup import require_tensorflow


class _Registration:
    """Whether the classes are registered, and what does it."""

    def __init__(self) -> None:
        self.register: Callable[[], None] | None = None
        self.done = self.running = False


_registration = _Registration()


def register_classes() -> None:
    """Import every module that defines a GAN, a pretraining or a layer; once that succeeded, do nothing."""
    if _registration.done or _registration.running or _registration.register is None:
        return
    _registration.running = True
    try:
        _registration.register()
        _registration.done = True
    finally:
        _registration.running = False


def register_with_keras(register: Callable[[], None]) -> None:
    """Register all classes now if Keras is imported already, and otherwise as soon as it is.

    `import ganzoo` itself stays free of Keras and TensorFlow.

    Args:
        register: imports every module that defines a class.
    """
    _registration.register = register
    if "keras" not in sys.modules:
        sys.meta_path.insert(0, _AfterKeras())
    elif _uses_tensorflow():
        register_classes()


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Lets the import of Keras end with `register_classes`.

    It stays until Keras is imported: other code may ask for the specification of Keras, and not import it then.
    """

    waits_for_keras = True

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The specification that the other finders give; None for all modules but Keras."""
        if name != "keras":
            return None
        if _is_importing():
            require_tensorflow()
        spec = _found_by_others(name, path, target)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            # A module of ganzoo that is being imported is not complete yet: the first model registers all classes.
            if _uses_tensorflow() and not _is_importing():
                register_classes()

        spec.loader.exec_module = exec_module
        return spec


def _found_by_others(name: str, path: Any, target: Any) -> Any:
    """The specification that the first finder gives that does not itself wait for Keras."""
    for finder in sys.meta_path:
        if not hasattr(finder, "waits_for_keras") and hasattr(finder, "find_spec"):
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                return spec
    return None


def _uses_tensorflow() -> bool:
    keras = sys.modules["keras"]
    return hasattr(keras, "config") and keras.config.backend() == "tensorflow"


def _is_importing() -> bool:
    """Whether a module of ganzoo, or of a plug-in that uses it, is being imported now."""
    running = [frame for frame, _ in traceback.walk_stack(None) if frame.f_code.co_name == "<module>"]
    return any(frame.f_globals.get("__name__", "").partition(".")[0] == "ganzoo" for frame in running)
