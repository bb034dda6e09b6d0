"""The networks of keras.applications, keras_cv and keras_hub without their tops, with their weights."""

import contextlib
import difflib
import importlib
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo.backbones import weights as backbone_weights
from ganzoo.backbones.catalogue import LITE_SIDES, BackboneInfo, catalogue, keras_cv_presets
from ganzoo.backbones.lite import efficientnet_lite
from ganzoo.errors import WeightsError, missing_package
from ganzoo.files.reading import read_json
from ganzoo.weights.foreign import is_weights_file
from ganzoo.weights.torch_files import read_state_dict

if TYPE_CHECKING:
    import keras

_DOWNLOAD_TIMEOUT = 20.0  # seconds without an answer before a download is given up


def without_top(
    info: BackboneInfo, shape: tuple[int, ...], weights: str | os.PathLike | None
) -> tuple["keras.Model", BackboneInfo]:
    """The library's own network without its top, and what is then known of it: weights may tell other data or ranges.

    Args:
        info: of the backbone.
        shape: (H, W, 3).
        weights: as `ganzoo.backbones.create` takes them, but no run's.

    Raises:
        WeightsError: the network or its weights cannot be had.
    """
    return (_hub_network if info.library == "keras_hub" else _library_network)(info, shape, weights)


def _library_network(
    info: BackboneInfo, shape: tuple[int, ...], weights: str | os.PathLike | None
) -> tuple["keras.Model", BackboneInfo]:
    """A network of keras.applications or keras_cv, its weights loaded, and its info: a mapping tells other data."""
    name, _, mapping = str(weights).partition(",mapping=")
    path = None if weights in (None, "default") else Path(name)
    if path is not None and not path.is_file():
        raise WeightsError(
            f"weights='{weights}' is not a file. Give 'default', None (random), the path of one, or RUN:trunk."
        )
    if weights == "default" and info.trained_on is None:
        raise WeightsError(
            f"No weights of '{info.name}' are published. Name a file or take random ones (in a recipe "
            "model.backbone_weights=FILE or random, in Python weights=FILE or None), or use one of "
            f"{[name for name, other in catalogue().items() if other.trained_on and other.library == info.library]}."
        )
    kind = info.name.rpartition("/")[2]
    if info.library == "keras.applications":
        import keras

        make = getattr(keras.applications, kind)
        if weights == "default":
            with _download(info):
                return make(include_top=False, weights="imagenet", input_shape=shape), info
        network = _built(info, shape, lambda: make(include_top=False, weights=None, input_shape=shape))
    elif info.name in LITE_SIDES:
        network = _built(info, shape, lambda: efficientnet_lite(int(kind[-1]), shape))
        if weights is not None and not mapping:
            state, source = backbone_weights.lite_state(info.name) if path is None else (read_state_dict(path), path)
            backbone_weights.load_lite(network, state, source)
            return network, info
    else:
        class_name, config = keras_cv_presets()[kind]
        make = getattr(_import_keras_cv(info.name).models, class_name)
        network = _built(info, shape, lambda: make(input_shape=shape, include_rescaling=True, **config))
        if weights == "default":
            with _download(info):
                network.set_weights(make.from_preset(f"{kind}_imagenet").get_weights())
    if path is not None and is_weights_file(path):
        return network, backbone_weights.load_mapped(network, path, mapping or None, info)
    if path is not None:
        backbone_weights.load_keras(network, path, info)
    return network, info


def _hub_network(
    info: BackboneInfo, shape: tuple[int, ...], weights: str | os.PathLike | None
) -> tuple["keras.Model", BackboneInfo]:
    """keras_hub's backbone of a preset, and its info with the range that the preset's image converter gives.

    A folder that holds no converter takes values of 0 to 255.
    """
    try:
        hub = importlib.import_module("keras_hub")
    except ImportError as error:
        raise WeightsError(
            f"{missing_package(repr(info.name), 'keras-hub', 'hub')} The backbones of keras_cv, keras.applications and "
            f"EfficientNet-Lite need no extra. ({error})"
        ) from None
    if weights is None:
        raise WeightsError(
            f"'{info.name}' cannot start from random weights: keras_hub loads its architecture together with its "
            "weights. Give weights='default', or the folder of a saved preset."
        )
    if weights == "default":
        source = info.name.partition("/")[2]
    elif (Path(weights) / "config.json").is_file():
        source = str(weights)
        _check_preset(Path(weights))
    else:
        raise WeightsError(f"weights='{weights}' is not a folder of a keras_hub preset: it holds no config.json.")
    with _download(info) if weights == "default" else contextlib.nullcontext():
        network = _built(info, shape, lambda: hub.models.Backbone.from_preset(source, image_shape=shape))
    try:
        converter = hub.layers.ImageConverter.from_preset(source)
    except FileNotFoundError:
        return network, info
    scale, offset = (
        tuple(float(number) for number in np.broadcast_to(fallback if given is None else given, 3))
        for given, fallback in ((converter.scale, 1.0), (converter.offset, 0.0))
    )
    # The converter takes values p of 0 to 255: p = 127.5 x + 127.5.
    moved = tuple(127.5 * s + o for s, o in zip(scale, offset, strict=True))
    return network, replace(info, scale=tuple(127.5 * s for s in scale), offset=moved)


def _check_preset(folder: Path) -> None:
    """Refuse a keras_hub preset that names modules of others, which Keras would import, or layers that hold code."""
    for path in sorted(folder.glob("*.json")):
        waiting = [read_json(path, error=WeightsError)]
        while waiting:
            one = waiting.pop()
            waiting.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
            if not isinstance(one, dict):
                continue
            module, kind = one.get("module") or "keras", one.get("class_name")
            own = isinstance(module, str) and module.partition(".")[0] in ("keras", "keras_hub", "keras_nlp")
            if not own or kind in ("Lambda", "__lambda__"):
                raise WeightsError(
                    f"{path} was refused: it names {module}.{kind}, which could run code of others. A preset may name "
                    "classes of keras and keras_hub, but no Lambda."
                )


def _built(info: BackboneInfo, shape: tuple[int, ...], make: Any) -> "keras.Model":
    try:
        return make()
    except ValueError as error:  # the library's own limits, such as a smallest size
        raise WeightsError(f"'{info.name}' cannot be built for images of {shape}: {error}") from None


@contextlib.contextmanager
def _download(info: BackboneInfo) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # libraries tell of their downloads where results are printed
            yield
    except Exception as error:  # every library and every fault of a network has an exception of its own
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"The weights of '{info.name}' could not be fetched. Source: {info.source}. Answer: {reason:.500}. "
            "Fetch the file on another machine and name it (in a recipe that has it model.backbone_weights=FILE, in "
            "Python weights=FILE), or use a backbone that needs no download: "
            f"{', '.join(LITE_SIDES)}. Random ones are model.backbone_weights=random, in Python weights=None."
        ) from None
    finally:
        socket.setdefaulttimeout(before)


def catalogue_of(library: str, like: str, most: int = 3) -> str:
    """The backbones of a library whose names are nearest to that of another library's."""
    names = {name.partition("/")[2]: name for name in catalogue() if name.startswith(f"{library}/")}
    near = difflib.get_close_matches(like.partition("/")[2], names, n=most, cutoff=0.0)
    return ", ".join(names[name] for name in near)


def _import_keras_cv(name: str) -> Any:
    """keras_cv, without what its libraries print below Python's own standard error while they start."""
    with tempfile.TemporaryFile() as swallowed:
        kept = os.dup(2)
        os.dup2(swallowed.fileno(), 2)
        try:
            return importlib.import_module("keras_cv")
        except ImportError as error:
            raise WeightsError(
                f"'{name}' is built with keras_cv, which cannot be imported ({error}). Install it (pip install "
                "keras-cv); or use a backbone of keras_hub (pip install 'ganzoo[hub]'), such as "
                f"{catalogue_of('keras_hub', name)}; or EfficientNet-Lite, which needs neither."
            ) from None
        finally:
            os.dup2(kept, 2)
            os.close(kept)
