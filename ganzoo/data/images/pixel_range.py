"""The range of the pixels that a training is given: known from the type, and for floats from the first samples.

- `uint8` is 0..255. Other integers are 0..255 too; `bool` is black and white.
- Floats are [-1, 1]. The overshoot of a resize, up to 0.25 beyond, is accepted.
- Floats with no value below -0.1 in the first 1,024 samples are taken for 0..1 and refused: images in [-1, 1] have dark
  pixels near -1, but a single batch may have none. One value below -0.1 decides for [-1, 1].
- Integers with no value above 1 are taken for 0/1 masks and refused.
- A single value everywhere is no evidence: after 1,024 samples such images are accepted.
- Floats are refused if the first 1,024 samples hold NaN or infinite values and do not show their range. The train step
  refuses such values in every batch.

The first samples cannot speak for the later ones: an operation of the train step checks that every batch stays within
0..255 or [-1.25, 1.25]. That a later batch is 0..1 cannot be recognised in it alone.
"""

from typing import Any

import numpy as np

from ganzoo.errors import DataError

ENOUGH = 1_024  # samples, after which floats without a dark pixel are taken for 0..1
OVERSHOOT = 0.25
OUT_OF_RANGE = "Pixels out of range"
_DARK = -0.1
_RULE = (
    "Expected: integers in 0..255, or floats in [-1, 1] (where black is -1). An image data set is scaled by "
    "dataset.map(lambda x: FIX), an array by the same formula."
)
_SURE = (
    " If the images are in [-1, 1] and really have no dark pixel, give them as integers: "
    "tf.cast(tf.round((x + 1) * 127.5), tf.uint8)."
)


class PixelRange:
    """Judges the range of images from batch to batch.

    Attributes:
        decided: whether no further sample is looked at: the range is known, or `ENOUGH` samples show a single value.
    """

    def __init__(self) -> None:
        self.decided = False
        self._low, self._high, self._count = np.inf, -np.inf, 0
        self._not_finite = 0  # samples of batches with NaN or infinite values
        self._dtype = np.dtype("uint8")

    def see(self, images: np.ndarray) -> None:
        """Take a batch into account.

        Args:
            images: `(batch, height, width, channels)`, of any type.

        Raises:
            DataError: they are out of range, or the first 1,024 samples are 0..1 or hold NaN or infinite values.
        """
        if self.decided or images.size == 0:
            return
        self._dtype = images.dtype
        if self._dtype.kind == "b":
            self.decided = True
            return
        if self._dtype.kind not in "iuf" and self._dtype.name != "bfloat16":
            raise DataError(f"Images cannot be of type {self._dtype}. {_rule('tf.cast(x, tf.uint8)')}")
        low, high = (float(value) for value in (images.min(), images.max()))
        if not np.isfinite([low, high]).all():
            self._not_finite += len(images)
            if self._count + self._not_finite >= ENOUGH:
                self._refuse_not_finite()
            return  # the train step refuses these and says so
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._count += len(images)
        if self._is_integer():
            self._see_integers()
        else:
            self._see_floats()

    def finish(self) -> None:
        """There are no more samples; raises `DataError` where those seen are 0..1."""
        if not self.decided and self._count:
            self._refuse_unit()

    def _see_integers(self) -> None:
        if self._low < 0 or self._high > 255:
            raise DataError(f"{OUT_OF_RANGE}: {self._seen()}. {_rule(_integer_fix(self._low, self._high))}")
        self.decided = self._high > 1
        self._see_enough()

    def _see_floats(self) -> None:
        if self._low < -1 - OVERSHOOT or self._high > 1 + OVERSHOOT:
            raise DataError(f"{OUT_OF_RANGE}: {self._seen()}. {_rule(_float_fix(self._low, self._high))}")
        self.decided = self._low < _DARK
        self._see_enough()

    def _see_enough(self) -> None:
        if self.decided or self._count + self._not_finite < ENOUGH:
            return
        self._refuse_unit()
        if self._not_finite:
            self._refuse_not_finite()
        self.decided = True

    def _refuse_not_finite(self) -> None:
        raise DataError(
            f"Images hold NaN or infinite values: the batches of {self._not_finite:,} of the first "
            f"{self._count + self._not_finite:,} images do. Expected: finite values in every image. Find the step that "
            "makes them (a division by a deviation of 0?), or leave such images out with dataset.filter."
        )

    def _refuse_unit(self) -> None:
        if self._is_integer():
            if self._high == 1:
                raise DataError(f"{OUT_OF_RANGE}: {self._seen()}, so these are 0/1 masks. {_rule('x * 255')}")
        elif self._high > self._low:  # a single value everywhere is no evidence
            raise DataError(
                f"{OUT_OF_RANGE}: {self._seen()}. Without a value below {_DARK} they are taken for 0..1. "
                f"{_rule('x * 2 - 1')}{_SURE}"
            )

    def _is_integer(self) -> bool:
        return self._dtype.kind in "iu"

    def _seen(self) -> str:
        return f"{self._dtype} values from {self._low:.4g} to {self._high:.4g} in the first {self._count:,} images"


def _rule(fix: str) -> str:
    return _RULE.replace("FIX", fix)


def _integer_fix(low: float, high: float) -> str:
    if low < 0:
        return "tf.cast(x, tf.int32) + 128"
    return (
        "tf.cast(x // 257, tf.uint8)"
        if high > 4095
        else f"tf.cast(x * 255 // {2 ** int(high).bit_length() - 1}, tf.uint8)"
    )


def _float_fix(low: float, high: float) -> str:
    if low >= _DARK and high <= 256:
        return "x / 127.5 - 1"
    if low >= _DARK:
        return f"x / {high:.6g} * 2 - 1"
    return "(x * standard_deviation + mean) * 2 - 1"  # takes a normalisation back


def to_unit(images: Any) -> Any:
    """Images in [-1, 1], float32: integers x / 127.5 - 1, bool -1 or 1, floats as they are.

    Args:
        images: a numpy array or a TensorFlow tensor.
    """
    if isinstance(images, np.ndarray):
        if images.dtype.kind == "b":
            return images.astype(np.float32) * np.float32(2) - np.float32(1)
        if images.dtype.kind not in "iu":
            return images.astype(np.float32)
        return images.astype(np.float32) / np.float32(127.5) - np.float32(1)
    import tensorflow as tf

    if images.dtype == tf.bool:
        return tf.cast(images, tf.float32) * 2.0 - 1.0
    if not images.dtype.is_integer:
        return tf.cast(images, tf.float32)
    return tf.cast(images, tf.float32) / 127.5 - 1.0


def check_batch(images: Any) -> list[Any]:
    """Assertions for a train step that a batch is in its type's range; none for uint8 and bool, which cannot leave it.

    They cost one pass over the batch. The error is an `InvalidArgumentError` whose text begins with `OUT_OF_RANGE`.

    Args:
        images: a TensorFlow tensor `(batch, height, width, channels)`.
    """
    import tensorflow as tf

    if images.dtype in (tf.uint8, tf.bool):
        return []
    values = tf.cast(images, tf.float32)
    low, high = (0.0, 255.0) if images.dtype.is_integer else (-1.0 - OVERSHOOT, 1.0 + OVERSHOOT)
    smallest, largest = tf.reduce_min(values), tf.reduce_max(values)
    # What is not finite has an error of its own.
    inside = tf.logical_not(tf.logical_or(smallest < low, largest > high))
    expected = "integers in 0..255" if images.dtype.is_integer else "floats from -1 to 1"
    text = (
        f"{OUT_OF_RANGE} in a later batch: {images.dtype.name} values. Expected: {expected}, in every batch. Scale all "
        "images alike, such as x / 127.5 - 1 for 0..255. Received:"
    )
    return [tf.debugging.Assert(inside, [text, smallest, "to", largest])]
