"""Images that are arrays already: numpy arrays, `.npy` and `.npz` files, and idx files (MNIST, Fashion-MNIST)."""

import gzip
import math
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ganzoo.data.images.array_values import RULE, to_uint8
from ganzoo.data.images.decode import fit_image
from ganzoo.data.images.image_folder import open_regular
from ganzoo.data.images.labels import class_notes
from ganzoo.data.images.limits import MAX_CLASSES, check_memory, read_at_most, workers
from ganzoo.data.images.options import ImageOptions
from ganzoo.data.sample_set import Original, SampleSet
from ganzoo.errors import DataError
from ganzoo.files.reading import read_member
from ganzoo.printing import printable

SAMPLE_KEYS = ("samples", "images", "pictures", "x_train", "x", "X", "arr_0")
LABEL_KEYS = ("labels", "label", "y_train", "y", "Y", "arr_1")
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_IDX = re.compile(r"(?P<set>.+?)[-.]idx(?P<rank>[13])[-.]ubyte(\.gz)?$")
_MOST_PACKED = 1_100  # deflate packs by 1,032 at most
_BROKEN = (
    *(ValueError, OSError, EOFError, KeyError, SyntaxError, OverflowError),
    *(tokenize.TokenError, zipfile.BadZipFile, zlib.error, struct.error),
)


def _images(array: np.ndarray, source: str) -> tuple[np.ndarray, str | None]:
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] not in _MODES or 0 in array.shape:
        hint = ""
        if array.ndim == 4 and array.shape[1] in _MODES:
            hint = " The channels seem to be the first axis: give array.transpose(0, 2, 3, 1)."
        raise DataError(f"{source[:1].upper()}{source[1:]} has the shape {array.shape}. {RULE}{hint}")
    return to_uint8(array, source)


def _fit_all(images: np.ndarray, options: ImageOptions) -> np.ndarray:
    if images.shape[1:] == options.shape:
        return images
    from PIL import Image

    def fit(image: np.ndarray) -> np.ndarray:
        return fit_image(Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image), options)

    check_memory(
        len(images) * math.prod(options.shape), f"{len(images):,} images of {options.size} x {options.size} px"
    )
    result = np.empty((len(images), *options.shape), np.uint8)
    with ThreadPoolExecutor(workers()) as pool:
        for start in range(0, len(images), 1024):
            for index, image in enumerate(pool.map(fit, images[start : start + 1024]), start):
                result[index] = image
    return result


def check_no_parts(options: ImageOptions, source: str) -> None:
    """Refuse a part of data that have none.

    Raises:
        DataError: the options ask for validation or test images.
    """
    if options.split in ("val", "test"):
        raise DataError(
            f"{source[:1].upper()}{source[1:]} has no parts, so that there is no '{options.split}'. Set the split to "
            "'train' (data.split, `ganzoo data --split`): all images are read then."
        )


def _labels(labels: object, count: int, source: str) -> np.ndarray:
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    whole = labels.dtype.kind in "iu" or (
        labels.dtype.kind == "f" and np.isfinite(labels).all() and (labels == np.rint(labels)).all()
    )
    if labels.shape != (count,) or not whole or (count and labels.min() < 0):
        hint = ""
        if labels.ndim == 2 and len(labels) == count:
            hint = " One-hot labels: give labels.argmax(axis=1)."
        elif labels.shape == (count,) and whole:
            hint = f" The smallest is {labels.min()}."
        raise DataError(
            f"The labels of {source} must be {count} whole numbers from 0 up, one for each image. "
            f"Received: shape {labels.shape}, type {labels.dtype}.{hint}"
        )
    if count and labels.max() >= MAX_CLASSES:
        raise DataError(
            f"The labels of {source} reach {labels.max():,}; at most {MAX_CLASSES:,} classes are read. Number them "
            "from 0 first: `numpy.unique(labels, return_inverse=True)[1]`."
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
        samples: (N, H, W) or (N, H, W, C) with C from 1 (grey) to 4 (red, green, blue, alpha). What values mean, and
            which are refused, `ganzoo.data.images.array_values.to_uint8` says; the notes state what was assumed.
        labels: (N,) whole numbers from 0 up; kept where `options.labelled`.
        options: the wanted form. Images that have it already are passed on without a copy.
        source: what is read, for the log and for errors.
        class_names: one for each label; "0", "1", ... where empty.
        notes: more for the log.

    Raises:
        DataError: shape, type or values are others.
    """
    images, assumed = _images(np.asanyarray(samples), source)
    notes = (*notes, assumed) if assumed else notes
    count, height, width, channels = images.shape
    if not options.labelled or labels is None:
        if options.labelled:
            notes = (*notes, "no classes: the data have no labels")
        labels, class_names = None, ()
    else:
        labels = _labels(labels, count, source)
        class_names = class_names or tuple(str(number) for number in range(int(labels.max()) + 1))
        if labels.max() >= len(class_names):
            raise DataError(f"{source} has the label {labels.max()}, but only {len(class_names)} class names.")
        notes = (*notes, *class_notes(labels, class_names))
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
    """A `.npy` file, or a `.npz` file with samples and perhaps labels under the usual names. Never a pickle.

    An `.npz` file with parts (`x_train` and `x_test`, or `train_images` and `test_images`) gives that of
    `options.split`.

    Raises:
        DataError: the file is broken, holds pickled objects or claims more than it has, or the arrays do not suit.
    """
    path = Path(path)
    source = f"the file {path.resolve()}"
    try:
        with open_regular(str(path)) as file:
            packed = file.read(4)[:2] == b"PK"
        if not packed:
            check_no_parts(options, source)
            return from_arrays(np.load(path, mmap_mode="r", allow_pickle=False), None, options, source)
        samples, labels = _read_npz(path, options, source)
    except _BROKEN as error:
        raise DataError(
            f"{source[0].upper()}{source[1:]} cannot be read as numpy arrays: {printable(error)}. Pickled objects are "
            "never loaded; save plain arrays with numpy.save or numpy.savez."
        ) from error
    return from_arrays(samples, labels, options, source)


def _read_npz(path: Path, options: ImageOptions, source: str) -> tuple[np.ndarray, np.ndarray | None]:
    with open_regular(str(path)) as file, zipfile.ZipFile(file) as archive:
        keys = sorted(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))
        pairs = [(s, f"y_{part}") for part, s in (("train", "x_train"), ("val", "x_val"), ("test", "x_test"))]
        pairs += [(f"{part}_images", f"{part}_labels") for part in ("train", "val", "test")]
        parts = [pair for pair in pairs if pair[0] in keys]
        if parts:
            wanted = [pair for pair in parts if options.split == "all" or options.split in pair[0]]
            if not wanted:
                raise DataError(f"{source} holds {keys}, but no images of the part '{options.split}'.")
            found = [_read_npz_pair(archive, pair, keys, source) for pair in wanted]
            if len(found) == 1:
                return found[0]
            labels = None if any(one[1] is None for one in found) else np.concatenate([one[1] for one in found])
            return np.concatenate([one[0] for one in found]), labels
        sample_key = next((key for key in SAMPLE_KEYS if key in keys), None)
        if sample_key is None:
            raise DataError(f"{source} holds {keys[:20]}. Name the images one of {list(SAMPLE_KEYS)}.")
        check_no_parts(options, source)
        label_key = next((key for key in LABEL_KEYS if key in keys), "")
        return _read_npz_pair(archive, (sample_key, label_key), keys, source)


def _read_npz_pair(
    archive: zipfile.ZipFile, pair: tuple[str, str], keys: Sequence[str], source: str
) -> tuple[np.ndarray, np.ndarray | None]:
    samples = _read_npz_array(archive, pair[0], source)
    return samples, _read_npz_array(archive, pair[1], source) if pair[1] in keys else None


def _read_npz_array(archive: zipfile.ZipFile, key: str, source: str) -> np.ndarray:
    """One array of a zip, after its header's claim was compared with what is there."""
    member = archive.getinfo(f"{key}.npy")
    return read_member(archive, member, lambda size, name: check_memory(size, f"{name} of {source}"))


def _read_idx(path: Path) -> np.ndarray:
    """The uint8 array in an idx file: two zero bytes, the type (8 = uint8), the rank, big-endian sizes, the values."""
    try:
        with open_regular(str(path)) as plain, gzip.open(plain) if path.suffix == ".gz" else plain as file:
            size = plain.seek(0, 2)
            plain.seek(0)
            zeros, kind, rank = struct.unpack(">HBB", file.read(4))
            if zeros != 0 or kind != 8 or rank not in (1, 3):
                raise ValueError("its first bytes are not those of uint8 values with 1 or 3 axes")
            shape = struct.unpack(f">{rank}I", file.read(4 * rank))
            count = math.prod(shape)
            check_memory(min(count, size * (_MOST_PACKED if path.suffix == ".gz" else 1)), f"The idx file {path}")
            data = read_at_most(file, count)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise DataError(f"The idx file {path} cannot be read: {error}.") from error
    if len(data) != count:
        raise DataError(f"The idx file {path} is cut off: {count:,} values announced, {len(data):,} found.")
    return np.frombuffer(data, np.uint8).reshape(shape)


def find_idx(folder: Path, split: str = "train") -> Path | None:
    """The idx file of the training images in `folder` (of the test images where `split` is "test"), or None.

    Raises:
        DataError: there are idx files, but none of that part.
    """
    found = sorted(path for path in folder.iterdir() if (match := _IDX.match(path.name)) and match["rank"] == "3")
    if split in ("train", "all") or not found:
        return next((path for path in found if path.name.startswith("train")), found[0] if found else None)
    chosen = [path for path in found if path.name.startswith(("test", "t10k") if split == "test" else "val")]
    if not chosen:
        raise DataError(f"The idx files of {folder} have no part '{split}': {', '.join(path.name for path in found)}.")
    return chosen[0]


def is_idx(path: Path) -> bool:
    """Whether a file is an idx file, by its name ("train-images-idx3-ubyte.gz")."""
    return _IDX.match(path.name) is not None


def read_idx(path: str | Path, options: ImageOptions) -> SampleSet:
    """The images of an idx file (MNIST, Fashion-MNIST), with the labels of the idx1 file next to it.

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
