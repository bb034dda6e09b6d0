"""Readers of images: whatever holds them becomes one `SampleSet`."""

import os
from pathlib import Path

import numpy as np

from ganzoo.data.images.image_files import Progress
from ganzoo.data.images.options import ImageOptions
from ganzoo.data.sample_set import Original, Problem, SampleSet
from ganzoo.errors import DataError, GanzooError, unknown_name
from ganzoo.printing import printable
from ganzoo.progress import task

__all__ = ["ImageOptions", "Original", "Problem", "SampleSet", "load_images"]

_ALLOWED = (
    "Data are a folder, a .zip, a .npy or .npz file, an idx file (or a folder of them), 'tfds:NAME', "
    "or the name of a built-in data set; in Python also an array or (array, labels)."
)


def load_images(data: object, options: ImageOptions, progress: Progress | None = None) -> SampleSet:
    """Reads images from wherever they are.

    Args:
        data: the path of a folder, a zip, a `.npy`, `.npz` or idx file; "tfds:NAME/CONFIG:SPLIT"; the name of a
            built-in data set ("mnist5k"; a file or folder of that name comes first); a numpy array; a tuple
            (array, labels).
        options: the form in which every image is wanted.
        progress: is called with (done, all) now and then, where reading takes long; `ganzoo.progress` by default.

    Returns:
        uint8 samples (N, size, size, channels), with what was skipped and what should be said about it.

    Raises:
        DataError: there is no such thing, or nothing readable in it.
    """
    if progress is None:
        with task("Reading images", unit="images") as advance:
            return load_images(data, options, advance.to)
    try:
        return _load(data, options, progress)
    except GanzooError:
        raise
    except MemoryError as error:
        raise DataError(
            f"There is not enough memory to read {_name(data)}. Close other programs, or give fewer or smaller images."
        ) from error
    except OSError as error:
        raise DataError(f"{_name(data)} cannot be read: {printable(error.strerror or error)}.") from error
    # Files may be broken in ways that no library foresees: whatever they make it raise is an error in the data.
    except Exception as error:
        text = printable(str(error).strip() or type(error).__name__, 1000)
        raise DataError(f"{_name(data)} cannot be read ({type(error).__name__}: {text}). Is it damaged?") from error


def _name(data: object) -> str:
    return printable(data, 4096) if isinstance(data, str | os.PathLike) else f"the given {type(data).__name__}"


def _load(data: object, options: ImageOptions, progress: Progress | None) -> SampleSet:
    from ganzoo.data.images import arrays, builtin

    if isinstance(data, np.ndarray | tuple):
        arrays.check_no_parts(options, "the given array")
    if isinstance(data, np.ndarray):
        return arrays.from_arrays(data, None, options)
    if isinstance(data, tuple) and len(data) == 2:
        return arrays.from_arrays(np.asanyarray(data[0]), data[1], options)
    if not isinstance(data, str | os.PathLike):
        raise DataError(f"{_ALLOWED} Received: {type(data).__name__}.")
    if str(data).startswith("tfds:"):
        from ganzoo.data.images.tensorflow_datasets import read_tfds

        return read_tfds(str(data), options, progress)
    path = Path(data).expanduser()
    try:
        if path.is_dir():
            return _load_folder(path, options, progress)
        if path.is_file():
            return _load_file(path, options, progress)
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    if str(data) in builtin.BUILTIN:
        arrays.check_no_parts(options, f"the built-in data set {data}")
        return builtin.BUILTIN[str(data)](options)
    if path.exists() or path.is_symlink():
        raise DataError(f"{path} is neither a file nor a folder (a pipe, a device or a broken link). {_ALLOWED}")
    if len(path.parts) > 1 or path.suffix:
        raise DataError(f"There is no file or folder {path}. {_ALLOWED}")
    raise DataError(f"{unknown_name('file, folder or built-in data set', str(data), builtin.BUILTIN)} {_ALLOWED}")


def _load_folder(path: Path, options: ImageOptions, progress: Progress | None) -> SampleSet:
    from ganzoo.data.images import arrays, image_folder

    idx = arrays.find_idx(path, options.split) if os.access(path, os.R_OK) else None
    if idx is not None:
        return arrays.read_idx(idx, options)
    return image_folder.read_image_folder(path, options, progress)


def _load_file(path: Path, options: ImageOptions, progress: Progress | None) -> SampleSet:
    from ganzoo.data.images import archives, arrays, image_folder

    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return arrays.read_numpy(path, options)
    if arrays.is_idx(path):
        return arrays.read_idx(path, options)
    with image_folder.open_regular(str(path)) as file:
        packed = file.read(4) in (b"PK\3\4", b"PK\5\6")
    if suffix == ".zip" or packed:
        return archives.read_zip(path, options, progress)
    raise DataError(f"The file {path} is not one that is read. {_ALLOWED}")
