"""ganzoo: a Keras model zoo of GANs with pretraining and generators that export to phones.

    import ganzoo
    gan = ganzoo.create("image/dcgan_32")
    gan.compile()
    gan.fit(dataset)

Everything is imported when it is first used: a plain `import ganzoo` loads no TensorFlow. Models that were saved with
`gan.save("x.keras")` can be loaded by `keras.saving.load_model` after it.
"""

import importlib
from typing import Any

from ganzoo.core.registration import register_with_keras

_HOMES = {
    "list_entries": "registry",
    "get_entry": "registry",
    "create": "registry",
    "load": "presets",
    "describe_data": "data.description",
    "check_installation": "doctor",
    "examine": "doctor",
    "train": "training",
    "finetune": "finetuning",
    "distill": "finetuning",
    "pretrain": "training",
    "list_methods": "pretraining",
    "compare_runs": "comparison",
    "bench": "study",
    "list_studies": "study",
    "evaluate": "evaluation",
    "generate": "sampling",
    "export_generator": "export",
    "demo": "demonstration",
    "GAN": "gan",
    "GanzooError": "errors",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ganzoo' has no attribute '{name}'")
    return getattr(importlib.import_module(f"ganzoo.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


def _import_classes() -> None:
    importlib.import_module("ganzoo.registry").import_classes()


register_with_keras(_import_classes)
