"""The values of arrays of images, brought to 0..255: what is assumed is said, and what stays open is refused."""

import math
from collections.abc import Iterator

import numpy as np

from ganzoo.data.images.limits import check_memory
from ganzoo.errors import DataError

RULE = (
    "Arrays of images are (N, H, W) or (N, H, W, C) with 1 to 4 channels. They hold integers from 0 to 255, masks of 0 "
    "and 1, uint16 of 10 to 16 bits, or floats in [0, 1], [-1, 1] or [0, 255]."
)
_TOO_DARK = 16  # integers up to this one are hardly images of 8 bits
_ROUNDED = 1e-3
_SIGNED_BELOW = -0.25  # floats in [-1, 1] have a value below this one somewhere
_TWICE_SCALED = 1.5 / 255
_CHUNK = 2**26  # values that are converted at once


def to_uint8(array: np.ndarray, source: str) -> tuple[np.ndarray, str | None]:
    """Images as uint8, and what was assumed of their values (None where nothing was).

    The assumption is made over the whole array: integers up to 1 are masks; uint16 up to 1023, 4095 or 16383 have 10,
    12 or 14 bits; floats are in [-1, 1] where some are below -0.25, in [0, 1] where none is above 1, else in [0, 255].

    Raises:
        DataError: the type or the values are none of these; the text names the fix.
    """
    kind = array.dtype.kind
    if kind == "b":
        return _converted(array, 0, 255, source), "true and false are read as 255 and 0"
    if kind not in "iuf":
        raise DataError(f"{_first(source)} holds values of type {array.dtype}. {RULE}")
    low, high = _range(array)
    if kind == "f":
        offset, factor, text = _floats(low, high, str(array.dtype), source)
        return _converted(array, offset, factor, source), text
    if low < 0:
        fix = " Add 128 first." if array.dtype == np.int8 else " Scale them to 0..255 first."
        raise DataError(f"{_wrong(source, array, low, high)}{fix} {RULE}")
    if high == 1:
        return _converted(array, 0, 255, source), "the values are 0 and 1: read as masks (1 becomes 255)"
    if 1 < high <= _TOO_DARK:
        code = "array * 17" if high <= 15 else f"array * (255 / {high})"
        raise DataError(
            f"{_wrong(source, array, low, high)} As images of 8 bits they would be black. If they have fewer bits, "
            f"scale them: `({code}).astype('uint8')`. If they are class numbers, they are not images. {RULE}"
        )
    if high <= 255:
        text = None
        if array.dtype != np.uint8:
            text = f"{array.dtype} values from {low:,} to {high:,} are read as 0 to 255"
        return (array if array.dtype == np.uint8 else _converted(array, 0, 1, source)), text
    if array.dtype == np.uint16:
        full = next(scale for scale in (1023, 4095, 16383, 65535) if high <= scale)
        text = f"uint16 values up to {high:,} are read as {full.bit_length()} bits ({full:,} becomes 255)"
        return _converted(array, 0, 255 / full, source), text
    full = next((scale for scale in (1023, 4095, 16383, 65535) if high <= scale), None)
    fix = f" Images of {full.bit_length()} bits: `(array * (255 / {full})).astype('uint8')`." if full else ""
    raise DataError(f"{_wrong(source, array, low, high)}{fix} Scale them to 0..255 first. {RULE}")


def _floats(low: float, high: float, kind: str, source: str) -> tuple[float, float, str]:
    """Offset and factor to 0..255 for floats from `low` to `high`, and what is assumed."""
    text = f"{kind} values from {low:.4g} to {high:.4g} are read as "
    if low >= _SIGNED_BELOW and low < -_ROUNDED and high <= 1 + _ROUNDED:
        raise DataError(
            f"{_first(source)} holds {kind} values from {low:.4g} to {high:.4g}. Are they [0, 1] or [-1, 1]? Cut them "
            "to [0, 1] (`array.clip(0, 1)`), or give integers from 0 to 255."
        )
    if low >= -1 - _ROUNDED and low < _SIGNED_BELOW and high <= 1 + _ROUNDED:
        return 1, 127.5, f"{text}[-1, 1]"
    if low >= -_ROUNDED and 0 < high <= _TWICE_SCALED:
        raise DataError(
            f"{_first(source)} holds {kind} values from {low:.4g} to {high:.4g}: as [0, 1] they would be black. Were "
            "they divided by 255 twice? Multiply them by 255."
        )
    if low >= -_ROUNDED and high <= 1 + _ROUNDED:
        return 0, 255, f"{text}[0, 1]"
    if low >= -_ROUNDED and _TOO_DARK < high <= 255 + _ROUNDED:
        return 0, 1, f"{text}[0, 255]"
    hint = ""
    if math.isfinite(low) and math.isfinite(high) and low < 0:
        hint = " Undo their normalisation first (`array * deviation + mean`)."
    elif not (math.isfinite(low) and math.isfinite(high)):
        hint = " Replace what is not finite first."
    raise DataError(
        f"{_first(source)} holds {kind} values from {low} to {high}.{hint} Scale them to [0, 1] or to 0..255. {RULE}"
    )


def _first(source: str) -> str:
    return source[:1].upper() + source[1:]


def _wrong(source: str, array: np.ndarray, low: int, high: int) -> str:
    return f"{_first(source)} holds {array.dtype} values from {low} to {high}."


def _parts(array: np.ndarray) -> Iterator[slice]:
    rows = max(1, _CHUNK // max(1, math.prod(array.shape[1:])))
    return (slice(start, start + rows) for start in range(0, len(array), rows))


def _range(array: np.ndarray) -> tuple:
    """The smallest and the greatest value, NaN where there is one, read in parts."""
    pairs = [(array[part].min(), array[part].max()) for part in _parts(array)]
    lows, highs = zip(*pairs, strict=True)
    low, high = np.min(lows), np.max(highs)
    return (float(low), float(high)) if array.dtype.kind == "f" else (int(low), int(high))


def _converted(array: np.ndarray, offset: float, factor: float, source: str) -> np.ndarray:
    """(array + offset) * factor, rounded, as uint8."""
    check_memory(array.size, f"{_first(source)} as uint8")
    result = np.empty(array.shape, np.uint8)
    for part in _parts(array):
        if factor == 1 and offset == 0 and array.dtype.kind in "iu":
            result[part] = array[part]
        else:
            values = (array[part].astype(np.float32) + np.float32(offset)) * np.float32(factor)
            result[part] = np.rint(values).clip(0, 255).astype(np.uint8)
    return result
