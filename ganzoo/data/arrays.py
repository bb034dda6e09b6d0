"""Images that are arrays already: numpy arrays, `.npy` and `.npz` files, and the idx files of MNIST and its kin."""

import gzip
import math
import re
import struct
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ganzoo.data.decode import fit_image
from ganzoo.data.image_files import workers
from ganzoo.data.options import ImageOptions
from ganzoo.data.sample_set import Original, SampleSet
from ganzoo.errors import DataError

SAMPLE_KEYS = ("samples", "images", "pictures", "x_train", "x", "X", "arr_0")
LABEL_KEYS = ("labels", "label", "y_train", "y", "Y", "arr_1")
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_IDX = re.compile(r"(?P<set>.+?)[-.]idx(?P<rank>[13])[-.]ubyte(\.gz)?$")
_RULE = (
    "Arrays of images are (N, H, W) or (N, H, W, C) with 1 to 4 channels, and hold 0..255 as integers, [0, 1] as "
    "floats (no value below 0), or [-1, 1] as floats (some value below 0)."
)


def _to_uint8(array: np.ndarray, source: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind not in "iuf":
        raise DataError(f"{source} holds values of type {array.dtype}. {_RULE}")
    low, high = array.min(), array.max()
    if array.dtype.kind in "iu" and low >= 0 and high <= 255:
        return array.astype(np.uint8)
    if array.dtype.kind == "f" and low >= -1 and high <= 1:
        offset, scale = (1, 127.5) if low < 0 else (0, 255)
        return np.rint((array.astype(np.float32) + offset) * scale).astype(np.uint8)
    raise DataError(f"{source} holds {array.dtype} values from {low} to {high}. {_RULE} Scale them first.")


def _images(array: np.ndarray, source: str) -> np.ndarray:
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in _MODES or 0 in array.shape:
        hint = ""
        if array.ndim == 4 and array.shape[1] in _MODES:
            hint = " The channels seem to come first: give array.transpose(0, 2, 3, 1)."
        raise DataError(f"{source} has the shape {array.shape}. {_RULE}{hint}")
    return _to_uint8(array, source)


def _fit_all(images: np.ndarray, options: ImageOptions) -> np.ndarray:
    if images.shape[1:] == options.shape:
        return images
    from PIL import Image

    def fit(image: np.ndarray) -> np.ndarray:
        return fit_image(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), options)

    result = np.empty((len(images), *options.shape), np.uint8)
    with ThreadPoolExecutor(workers()) as pool:
        for start in range(0, len(images), 1024):
            for index, image in enumerate(pool.map(fit, images[start : start + 1024]), start):
                result[index] = image
    return result


def _labels(labels: object, count: int, source: str) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,) or labels.dtype.kind not in "iu" or (count and labels.min() < 0):
        raise DataError(
            f"The labels of {source} must be {count} whole numbers from 0 up, one for each image. "
            f"Received: shape {labels.shape}, type {labels.dtype}."
        )
    return labels.astype(np.int32)


def from_arrays(
    samples: np.ndarray,
    labels: np.ndarray | None,
    options: ImageOptions,
    source: str = "the given array",
    class_names: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> SampleSet:
    """A sample set of images that lie in an array.

    Args:
        samples: (N, H, W) or (N, H, W, C) with C from 1 (grey) to 4 (red, green, blue, alpha). Integers are 0..255;
            floats without a negative value are [0, 1], floats with one are [-1, 1]; anything else is refused.
        labels: (N,) whole numbers from 0 up; kept where `options.labelled`.
        options: the wanted form. Images that have it already are passed on without a copy.
        source: what is read, for the log and for errors.
        class_names: one for each label; "0", "1", ... where empty.
        notes: more for the log.

    Raises:
        DataError: shape, type or values are others.
    """
    images = _images(np.asanyarray(samples), source)
    count, height, width, channels = images.shape
    if not options.labelled or labels is None:
        if options.labelled:
            notes = (*notes, "the entry takes classes, but the data have no labels: no classes")
        labels, class_names = None, ()
    else:
        labels = _labels(labels, count, source)
        class_names = class_names or tuple(str(number) for number in range(int(labels.max()) + 1))
        if labels.max() >= len(class_names):
            raise DataError(f"{source} has the label {labels.max()}, but only {len(class_names)} class names.")
    side = min(height, width) if options.fit == "crop" else max(height, width)
    if side < options.size:
        notes = (*notes, f"{count:,} images of {width} x {height} px enlarged to {options.size} px")
    return SampleSet(
        samples=_fit_all(images, options),
        labels=labels,
        class_names=class_names,
        source=source,
        notes=notes,
        originals=(Original("", width, height, _MODES[channels]),) * count,
    )


def read_numpy(path: str | Path, options: ImageOptions) -> SampleSet:
    """A `.npy` file, or a `.npz` file with samples (`SAMPLE_KEYS`) and perhaps labels (`LABEL_KEYS`). Never a pickle.

    Raises:
        DataError: the file is broken or holds pickled objects, or the arrays do not suit.
    """
    path = Path(path)
    source = f"the file {path.resolve()}"
    try:
        loaded = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return from_arrays(loaded, None, options, source)
        with loaded:
            samples = next((loaded[key] for key in SAMPLE_KEYS if key in loaded.files), None)
            labels = next((loaded[key] for key in LABEL_KEYS if key in loaded.files), None)
            keys = sorted(loaded.files)
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{source[0].upper()}{source[1:]} cannot be read as numpy arrays: {error}. Pickled objects are never "
            "loaded; save plain arrays with numpy.save or numpy.savez."
        ) from error
    if samples is None:
        raise DataError(f"{source} holds {keys}. Name the images one of {list(SAMPLE_KEYS)}.")
    return from_arrays(samples, labels, options, source)


def _read_idx(path: Path) -> np.ndarray:
    """The uint8 array in an idx file: two zero bytes, the type (8 = uint8), the rank, big-endian sizes, the values."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            zeros, kind, rank = struct.unpack(">HBB", file.read(4))
            if zeros != 0 or kind != 8 or rank not in (1, 3):
                raise ValueError("its first bytes are not those of uint8 values with 1 or 3 axes")
            shape = struct.unpack(f">{rank}I", file.read(4 * rank))
            count = math.prod(shape)
            data = file.read(count)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise DataError(f"The idx file {path} cannot be read: {error}.") from error
    if len(data) != count:
        raise DataError(f"The idx file {path} is cut off: {count:,} values announced, {len(data):,} found.")
    return np.frombuffer(data, np.uint8).reshape(shape)


def find_idx(folder: Path) -> Path | None:
    """The idx file of the training images in `folder` (or of its only images), or None."""
    found = sorted(path for path in folder.iterdir() if (match := _IDX.match(path.name)) and match["rank"] == "3")
    return next((path for path in found if path.name.startswith("train")), found[0] if found else None)


def is_idx(path: Path) -> bool:
    """Whether a file is an idx file, by its name ("train-images-idx3-ubyte.gz")."""
    return _IDX.match(path.name) is not None


def read_idx(path: str | Path, options: ImageOptions) -> SampleSet:
    """The images of an idx file (MNIST, Fashion-MNIST), with the labels of the idx1 file that lies beside it.

    Images of 28 x 28 px are padded to 32 x 32 with black rather than enlarged.

    Raises:
        DataError: a file is broken, or holds no images.
    """
    path = Path(path)
    images = _read_idx(path)
    if images.ndim != 3:
        raise DataError(f"The idx file {path} holds labels. Give the file of the images, '...-images-idx3-ubyte.gz'.")
    name = path.name.replace("images", "labels").replace("idx3", "idx1")
    beside = [path.with_name(name), path.with_name(name.removesuffix(".gz")), path.with_name(f"{name}.gz")]
    labels = next((_read_idx(other) for other in beside if other != path and other.is_file()), None)
    images, notes = pad_digits(images, options)
    return from_arrays(images, labels, options, f"the idx file {path.resolve()}", notes=notes)


def pad_digits(images: np.ndarray, options: ImageOptions) -> tuple[np.ndarray, tuple[str, ...]]:
    """28 x 28 images on black, where 32 x 32 are wanted, with two black pixels around; and a note on it."""
    if options.size == 32 and images.shape[1:3] == (28, 28):
        return np.pad(images, ((0, 0), (2, 2), (2, 2))), ("28 x 28 px padded with black to 32 x 32",)
    return images, ()
