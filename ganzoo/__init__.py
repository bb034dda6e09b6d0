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
    "list_entries": "recipes.entries",
    "get_entry": "recipes.entries",
    "create": "zoo.create",
    "load": "zoo.load",
    "describe_data": "data.images.description",
    "check_installation": "commands.doctor",
    "examine": "commands.doctor",
    "train": "runs.train",
    "finetune": "runs.finetune",
    "distill": "runs.finetune",
    "pretrain": "runs.train",
    "list_methods": "pretraining",
    "compare_runs": "reports.comparison",
    "bench": "commands.study",
    "list_studies": "commands.study",
    "evaluate": "runs.evaluate",
    "generate": "commands.generate",
    "export_generator": "export",
    "demo": "commands.demo",
    "GanzooError": "errors",
    # For classes of one's own.
    "GAN": "core.gan",
    "Phase": "core.phases",
    "Batch": "core.phases",
    "Latent": "core.inputs",
    "ClassCondition": "core.inputs",
    "AddOn": "core.addon",
    "Task": "pretraining.task",
    "Section": "recipes.schema",
    "PositiveInt": "recipes.schema",
    "NonNegativeInt": "recipes.schema",
    "PositiveFloat": "recipes.schema",
    "NonNegativeFloat": "recipes.schema",
    "Fraction": "recipes.schema",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ganzoo' has no attribute '{name}'")
    return getattr(importlib.import_module(f"ganzoo.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


def _import_classes() -> None:
    importlib.import_module("ganzoo.recipes.entries").import_classes()


register_with_keras(_import_classes)
