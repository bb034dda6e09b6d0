"""What `fit` and its kin are given: its first batches, and whether samples and classes have the right form."""

import itertools
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ganzoo.errors import DataError

WRONG_CLASS = "A class id out of range"
_AT_ONCE = 64  # samples of an array


def as_dict(data: Any) -> dict[str, Any]:
    """One batch, as Keras or a dataset hands it over, as a dict with `real`; raises `DataError` for a tuple."""
    if isinstance(data, tuple):
        while len(data) > 1 and data[-1] is None:  # Keras adds targets and sample weights that are not there
            data = data[:-1]
        if len(data) == 1:
            data = data[0]
    if isinstance(data, tuple | list):
        raise DataError(
            "A batch is a tensor of images, or a dict with 'real' and the conditions. Received: a tuple of "
            f"{len(data)}. Map your dataset with `lambda x, y: {{'real': x, 'class_id': y}}`, or to x alone; arrays "
            "are given as {'real': x, 'class_id': y}."
        )
    return dict(data) if isinstance(data, Mapping) else {"real": data}


def is_arrays(data: Any) -> bool:
    """Whether this is an array, or a dict of arrays, which Keras cuts into batches by itself."""
    leaves = tf.nest.flatten(data)
    return bool(leaves) and all(isinstance(leaf, np.ndarray) or keras.ops.is_tensor(leaf) for leaf in leaves)


def first_batches(data: Any) -> tuple[Iterator[dict[str, np.ndarray]], Any]:
    """The batches of whatever `fit` takes, one after the other, as numpy arrays; and what then goes to `fit`.

    The latter is the same object, but for a generator: its first batches are kept and given again.

    Args:
        data: a `tf.data.Dataset`, a `keras.utils.PyDataset`, a generator, another iterable of batches such as a
            PyTorch `DataLoader`, an array or a dict of arrays.
    """
    if isinstance(data, str | Path):
        raise DataError(
            f"fit takes batches of samples. Received: the name '{data}'. A folder or a file is read by "
            "ganzoo.train(NAME, data, run), or by keras.utils.image_dataset_from_directory."
        )
    if isinstance(data, tf.data.Dataset):
        return _as_arrays(data.as_numpy_iterator()), data
    if isinstance(data, keras.utils.PyDataset):
        return _as_arrays(data[index] for index in range(data.num_batches or 2**31)), data
    if isinstance(data, types.GeneratorType):
        seen: list[Any] = []
        return _as_arrays(_kept(data, seen)), _again(data, seen)
    if isinstance(data, Mapping) or is_arrays(data) or isinstance(data, tuple | list):
        return _pieces(data), data
    if hasattr(data, "__iter__"):
        return _as_arrays(iter(data)), data
    raise DataError(
        f"fit takes a tf.data.Dataset, a PyDataset, a generator or arrays. Received: {type(data).__name__}. A folder "
        "or a file is read by ganzoo.train."
    )


def _kept(generator: Iterator[Any], seen: list[Any]) -> Iterator[Any]:
    for batch in generator:
        seen.append(batch)
        yield batch


def _again(generator: Iterator[Any], seen: list[Any]) -> Iterator[Any]:
    for batch in itertools.chain(seen, generator):
        yield batch if isinstance(batch, tuple) else (batch,)  # Keras takes only tuples from a generator


def _as_arrays(batches: Iterator[Any]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        yield {name: tf.nest.map_structure(np.asarray, value) for name, value in as_dict(batch).items()}


def _pieces(data: Any) -> Iterator[dict[str, np.ndarray]]:
    """Pieces of arrays, taken evenly from all over them: an array may be sorted."""
    arrays = {name: np.asarray(value) for name, value in as_dict(data).items()}
    lengths = {len(value) if value.ndim else 0 for value in arrays.values()}
    if len(lengths) > 1:
        shapes = {name: value.shape for name, value in arrays.items()}
        raise DataError(f"The arrays differ in length: {shapes}. Give one class id for each sample.")
    steps = -(-max(lengths) // _AT_ONCE)
    for start in range(steps):
        yield {name: value[start::steps] for name, value in arrays.items()}


def with_shapes(real: Any, expected: Sequence[tuple[int, ...]]) -> Any:
    """A batch whose leaves have static shapes: those that a data set does not know are checked when it runs."""
    leaves = tf.nest.flatten(real)
    if len(leaves) == len(expected):
        leaves = [
            leaf
            if leaf.shape.rank is not None and None not in leaf.shape[1:]
            else tf.ensure_shape(leaf, (None, *shape))
            for leaf, shape in zip(leaves, expected, strict=True)
        ]
    return tf.nest.pack_sequence_as(real, leaves)


def check_shapes(entry: str, real: Any, expected: Sequence[tuple[int, ...]]) -> None:
    """Raise `DataError` where the leaves of a batch of samples are not `(batch, *shape)` for the expected shapes."""
    received = [tuple(leaf.shape) for leaf in tf.nest.flatten(real)]
    if [shape[1:] for shape in received] == list(expected):
        return
    text = (
        f"{entry} makes samples of shape {list(expected)}, the data have {[shape[1:] for shape in received]}. "
        f"Expected: batches of shape {[(None, *shape) for shape in expected]}. Received: {received}. "
    )
    if len(received) == len(expected) == 1:
        raise DataError(text + _shape_fix(received[0], expected[0]))
    raise DataError(text + "Give the leaves in the order of the generator's outputs.")


def _shape_fix(received: tuple[int | None, ...], expected: tuple[int, ...]) -> str:
    if received == tuple(expected):
        return "The data are single samples without a batch axis: dataset.batch(BATCH_SIZE, drop_remainder=True)."
    if len(received) == len(expected):
        return (
            "An axis is missing. Single images are batched by dataset.batch(BATCH_SIZE, drop_remainder=True); grey "
            "images without a channel axis get one by x[..., None]."
        )
    if len(received) == len(expected) + 2:
        return "The data are batched twice: leave out one .batch()."
    if len(expected) == 3 and received[1:] == (expected[2], *expected[:2]):
        return "The channels come first: transpose to (batch, height, width, channels)."
    return "Set the recipe's `data` section to the data's size and channels, or resize the data."


def class_ids(name: str, values: Any, classes: int) -> Any:
    """Class ids of shape `(batch,)` or `(batch, 1)` as `(batch,)`; an array or a tensor.

    Raises:
        DataError: they are one-hot, of another shape or no integers.
    """
    if getattr(values.shape, "rank", 1) is None:
        values = tf.reshape(values, (-1,))  # the static shape is unknown; the first batch was checked
    shape, dtype = tuple(values.shape), np.dtype(getattr(values.dtype, "as_numpy_dtype", values.dtype))
    expected = f"Expected: integers of shape (batch,), from 0 to {classes - 1}. Received: {dtype} of shape {shape}."
    if len(shape) == 2 and shape[1] == classes > 1:
        raise DataError(f"'{name}' holds one-hot labels. {expected} Map them with tf.argmax(labels, -1).")
    if len(shape) == 2 and shape[1] == 1:
        values = values[:, 0]
    elif len(shape) != 1:
        raise DataError(f"'{name}' has the wrong shape. {expected} Give one class id for each sample.")
    if dtype.kind not in "iu":
        raise DataError(f"'{name}' must hold integers. {expected} Cast them: tf.cast(labels, tf.int32).")
    return values


def check_ids(name: str, values: np.ndarray, classes: int) -> None:
    """Raise `DataError` where class ids of an array are not from 0 to `classes - 1`."""
    wrong = values[(values < 0) | (values >= classes)]
    if len(wrong):
        raise DataError(wrong_ids(name, classes, ", ".join(str(value) for value in np.unique(wrong)[:5])))


def assert_ids(name: str, values: tf.Tensor, classes: int) -> tf.Operation:
    """An assertion for a train step that class ids are from 0 to `classes - 1`."""
    inside = tf.reduce_all((values >= 0) & (values < classes))
    text = wrong_ids(name, classes, "from")
    return tf.debugging.Assert(inside, [text, tf.reduce_min(values), "to", tf.reduce_max(values)])


def wrong_ids(name: str, classes: int, received: str) -> str:
    """The text for class ids that are out of range."""
    return (
        f"{WRONG_CLASS} in '{name}'. Expected: 0 to {classes - 1} (model.classes = {classes}). Labels that start at 1 "
        f"are mapped by labels - 1; for more classes create the entry with model.classes set. Received: {received}"
    )
