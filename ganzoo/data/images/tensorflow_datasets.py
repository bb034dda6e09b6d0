"""Images from TensorFlow Datasets, by name: `tfds:mnist`, `tfds:NAME/CONFIG:SPLIT`."""

import contextlib
import re
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np

from ganzoo.data.images.decode import fit_image
from ganzoo.data.images.image_files import Progress, cached_pixels
from ganzoo.data.images.labels import class_notes
from ganzoo.data.images.options import ImageOptions
from ganzoo.data.images.pixels import EIGHT, FLOAT, SIXTEEN, Values, decide, describe_scale
from ganzoo.data.sample_set import Original, SampleSet
from ganzoo.errors import DataError, missing_package

_NAME = re.compile(r"tfds:(?P<builder>[\w./-]+(:\d+\.[\d*]+\.[\d*]+)?)(:(?P<split>[A-Za-z_].*))?$")


def parse_name(name: str, split: str = "train") -> tuple[str, str]:
    """The builder's name (with a configuration and a version, if given) and its split; `split` unless it has one."""
    match = _NAME.match(name)
    if match is None:
        raise DataError(
            f"A TensorFlow data set is named 'tfds:NAME', 'tfds:NAME/CONFIG' or 'tfds:NAME/CONFIG:SPLIT', such as "
            f"'tfds:mnist' or 'tfds:mnist:train[:10%]'. Received: '{name}'."
        )
    return match["builder"], match["split"] or {"val": "validation"}.get(split, split)


def _only(features: object, wanted: str, kind: type) -> str | None:
    """The key of the feature called `wanted`, or else of the only one of type `kind`."""
    fitting = [key for key in features if isinstance(features[key], kind)]
    return wanted if wanted in fitting else fitting[0] if len(fitting) == 1 else None


@contextlib.contextmanager
def _few_retries() -> Iterator[None]:
    """Four attempts at a download, about 3 seconds; TFDS' own eleven take more than 3 minutes without a network."""
    from tensorflow_datasets.core.download import downloader

    kept = downloader.MAX_RETRIES
    downloader.MAX_RETRIES = 3
    try:
        yield
    finally:
        downloader.MAX_RETRIES = kept


def _prepared(name: str, split: str, data_dir: str | None):
    """The builder, its data downloaded and prepared, the split checked."""
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        raise DataError(
            f"TensorFlow Datasets knows no data set '{name}'. Its catalogue is at "
            "https://www.tensorflow.org/datasets/catalog."
        ) from error
    except Exception as error:
        raise DataError(f"The TensorFlow data set '{name}' cannot be set up: {error}") from error
    if not builder.info.splits:
        try:
            with _few_retries():
                builder.download_and_prepare()
        except ImportError as error:
            raise DataError(
                f"TensorFlow Datasets needs a package more to prepare '{name}': {error}. Install it with pip."
            ) from error
        # Downloads fail in many ways, and each data set adds its own.
        except Exception as error:
            text = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(". ")
            raise DataError(
                f"The TensorFlow data set '{name}' is not in {builder.data_path.parent} and cannot be downloaded: "
                f"{text}. Prepare it where there is a network (`tfds build {name}`), copy the folder, and let "
                "TFDS_DATA_DIR name the one above it; or use the built-in 'mnist5k', a folder, a zip or arrays."
            ) from error
    try:
        builder.info.splits[split]
    except (KeyError, ValueError, AssertionError) as error:
        raise DataError(
            f"The TensorFlow data set '{name}' has no split '{split}'. Use one of {sorted(builder.info.splits)}, "
            f"or a part such as 'train[:10%]'."
        ) from error
    return builder


_KINDS = {"uint8": EIGHT, "uint16": SIXTEEN, "float32": FLOAT}  # those of `tfds.features.Image`


def _values(array: np.ndarray, name: str) -> Values:
    """The kind and the range of a decoded image's values, without an alpha channel."""
    kind = _KINDS.get(str(array.dtype))
    if kind is None or array.ndim != 3:
        raise DataError(
            f"The images of '{name}' are {array.dtype} of rank {array.ndim}; uint8, uint16 and float32 (H, W, C) are "
            "read."
        )
    colours = array[..., :3] if array.shape[-1] == 4 else array
    return Values(kind, float(colours.min()), float(colours.max()))


def _from_tensor(array: np.ndarray, full: float) -> Any:
    """A Pillow image of 8 bits, in which `full` has become 255."""
    from PIL import Image

    if array.dtype == np.uint16 and full == 65535:
        array = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    elif array.dtype != np.uint8 or full != 255:
        colours = np.rint(array.clip(0, full) * np.float32(255 / full)).astype(np.uint8)
        if array.dtype == np.uint8 and array.shape[-1] == 4:  # a mask's alpha is one of 8 bits
            colours[..., 3] = array[..., 3]
        array = colours
    return Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)


def _scale(found: Iterable[Values], name: str, count: int) -> tuple[float, str | None]:
    """The value that becomes 255, decided over all images, and what was assumed."""
    kind, low, high = "", 0.0, 0.0
    for values in found:
        kind, low, high = values.kind, min(low, values.low), max(high, values.high)
        if not (np.isfinite(values.low) and np.isfinite(values.high)):
            raise DataError(f"The images of '{name}' hold values that are not finite. Replace them first.")
        if kind == EIGHT and high > 1:  # nothing is left to decide
            break
    if not kind:
        return 255.0, None
    if low < 0:
        raise DataError(f"The images of '{name}' hold values from {low:g} to {high:g}: [0, 1] or [0, 255] is read.")
    full = decide([Values(kind, low, high)])[kind]
    return full, describe_scale(kind, full, high, count)


def _key(builder: Any, split: str, options: ImageOptions) -> list:
    """What the pixels of a split depend on."""
    checksum = [[info.name, *info.shard_lengths] for info in builder.info.splits.values()]
    form = [options.size, options.channels, options.fit, options.colour]
    return ["tfds", str(builder.data_path), split, checksum, *form, "scale over the split"]


def _labels(
    facts: dict[str, Any], feature: Any, options: ImageOptions
) -> tuple[np.ndarray | None, tuple[str, ...], list[str]]:
    """The labels, the names of the classes, and the notes."""
    labels, names, notes = None, (), [facts["assumed"]] if facts["assumed"] else []
    if facts["enlarged"]:
        notes.append(f"{facts['enlarged']:,} images smaller than {options.size} px enlarged")
    if options.labelled and feature is not None and min(facts["labels"]) >= 0:  # -1: no label given
        labels, names = np.asarray(facts["labels"], np.int32), tuple(feature.names)
    elif options.labelled:
        notes.append("no classes: the data have no labels")
    return labels, names, notes


def read_tfds(
    name: str, options: ImageOptions, progress: Progress | None = None, data_dir: str | None = None
) -> SampleSet:
    """One split of a TensorFlow data set with an image feature, in its own fixed order.

    Args:
        name: "tfds:NAME", "tfds:NAME/CONFIG", either with ":SPLIT" (that of `options` unless given).
        options: the wanted form; with `labelled`, the class feature gives the labels.
        progress: is called with (done, all) now and then.
        data_dir: the folder of prepared data; TFDS' own choice (`$TFDS_DATA_DIR`) unless given.

    Raises:
        DataError: there is no such data set or split, it cannot be downloaded, or it holds no images.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise DataError(f"{missing_package(repr(name), 'tensorflow-datasets')} ({error})") from None

    builder_name, split = parse_name(name, options.split)
    builder = _prepared(builder_name, split, data_dir)
    features = builder.info.features
    image_key = _only(features, "image", tfds.features.Image)
    label = _only(features, "label", tfds.features.ClassLabel)
    if image_key is None:
        raise DataError(f"'{name}' has no single image feature; its features are {sorted(features)}.")
    count = builder.info.splits[split].num_examples

    def examples(*keys: str | None) -> Iterable[dict[str, Any]]:
        partial = tfds.decode.PartialDecoding({key: True for key in keys if key})
        return tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False, decoders=partial))

    def produce(out: BinaryIO) -> dict:
        originals, labels, enlarged = [], [], 0
        full, assumed = _scale((_values(example[image_key], name) for example in examples(image_key)), name, count)
        for example in examples(image_key, label):
            image = _from_tensor(example[image_key], full)
            out.write(fit_image(image, options).tobytes())
            side = min(image.size) if options.fit == "crop" else max(image.size)
            originals.append(("", *image.size, image.mode))
            labels.append(int(example[label]) if label else 0)
            enlarged += side < options.size
            if progress is not None and len(originals) % 256 == 0:
                progress(len(originals), count)
        return {"originals": originals, "labels": labels, "enlarged": enlarged, "assumed": assumed}

    samples, facts = cached_pixels(_key(builder, split, options), options.shape, produce)
    if not len(samples):
        raise DataError(f"The split '{split}' of '{name}' is empty.")
    labels, names, notes = _labels(facts, features[label] if label else None, options)
    return SampleSet(
        samples=samples,
        labels=labels,
        class_names=names,
        source=f"the TensorFlow data set {builder.info.full_name}, split {split}",
        notes=(*notes, *class_notes(labels, names)),
        originals=tuple(Original(*original) for original in facts["originals"]),
    )
