"""What the values of pixels mean: bits, signs and floats of a file's own tags, and the scale to 0..255.

What the tags leave open is decided over the whole data, never from one file alone: a 16-bit file may hold 10, 12 or 14
bits, an 8-bit file a mask of 0 and 1, a file of floats [0, 1] or [0, 255].
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin

EIGHT, SIXTEEN, SIGNED, FLOAT = "8-bit", "16-bit", "signed", "floating-point"
# The value that becomes 255, unless the whole data say otherwise.
FIRST_GUESS = {EIGHT: 255.0, SIXTEEN: 65535.0, SIGNED: 32767.0, FLOAT: 1.0}
_SCALES = {
    EIGHT: (1, 255),
    SIXTEEN: (1, 255, 1023, 4095, 16383, 65535),
    SIGNED: (1, 255, 1023, 4095, 16383, 32767, 65535),
    FLOAT: (1, 255),
}
_ROUNDED = 1e-3  # floats may be beyond their range by so much
_OTHER_BYTE = {"16B": "16L", "16L": "16B", "16N": "16B" if sys.byteorder == "little" else "16L"}
_UNSIGNED, _SIGNED, _FLOATING = 1, 2, 3  # TIFF's SampleFormat


class Unreadable(Exception):
    """A file that is no usable image; its text is the reason that the report gives.

    `passing`: the cause may be gone at the next attempt (no memory, a failing disk), so that nothing may be remembered.
    """

    def __init__(self, reason: str, passing: bool = False):
        super().__init__(reason)
        self.passing = passing


class Values(NamedTuple):
    """The kind of an image's values ("" where the file leaves no choice), their range, and the tags' own maximum."""

    kind: str
    low: float
    high: float
    tagged: float | None = None


@dataclass
class Scales:
    """The scale of each kind of values: the value that becomes 255.

    `dark`: no image had a value above 1 so far; once one has, nothing more is measured in 8-bit images.
    """

    full: Mapping[str, float] = field(default_factory=lambda: dict(FIRST_GUESS))
    dark: bool = True


def scale_of(kind: str, high: float) -> float:
    """The smallest usual scale of a `kind` that reaches `high`, the greatest value in all the data."""
    tolerance = _ROUNDED if kind == FLOAT else 0
    return next((scale for scale in _SCALES[kind] if high <= scale + tolerance), _SCALES[kind][-1])


def decide(found: Iterable[Values]) -> dict[str, float]:
    """The scale of each kind of values that occurs, from the ranges of all images.

    8-bit values are 0..255, unless not one image of the whole data has a value above 1: then they are masks.
    """
    highest: dict[str, float] = {}
    for values in found:
        if values.tagged is None:
            highest[values.kind] = max(highest.get(values.kind, 0.0), values.high)
        else:
            highest.setdefault("", 0.0)
    mask = set(highest) == {EIGHT} and highest[EIGHT] == 1
    return {
        kind: (1.0 if mask else 255.0) if kind == EIGHT else float(scale_of(kind, high) if high else FIRST_GUESS[kind])
        for kind, high in highest.items()
        if kind
    }


def describe_scale(kind: str, full: float, high: float, count: int) -> str | None:
    """What was assumed of `count` images of a kind, for the report; None where nothing had to be assumed."""
    images = f"{count:,} {kind} image{'' if count == 1 else 's'}"
    if kind == EIGHT and full == 255:
        return None
    if kind == FLOAT:
        return f"{images}: the values are read as 0 to {full:g} (the greatest is {high:.4g})"
    if full == 1:
        return f"{images}: no value is above 1, so they are read as masks (1 becomes 255)"
    if full == FIRST_GUESS[kind]:
        return f"{images}: the values are read as 0 to {full:,.0f}"
    bits = int(full).bit_length()
    return (
        f"{images}: the greatest value of all is {high:,.0f}, so they are read as {bits} bits ({full:,.0f} becomes 255)"
    )


def check_kind(image: Image.Image) -> None:
    """Refuse kinds of TIFF that Pillow opens but decodes to wrong values.

    Raises:
        Unreadable: it is one of them; the reason names its kind.
    """
    if image.format != "TIFF":
        return
    tags = image.tag_v2
    bits, form = tags.get(258, (1,))[0], tags.get(339, (_UNSIGNED,))[0]
    packed, big = tags.get(259, 1) != 1, tags.prefix == b"MM"
    separate = tags.get(284, 1) == 2 and tags.get(277, 1) > 1
    if (
        (form == _SIGNED and (bits == 8 or (packed and big)))
        or (form == _UNSIGNED and bits == 32)
        or (form == _FLOATING and packed and big)
        or (separate and bits != 8)
    ):
        raise Unreadable(f"an unsupported kind of TIFF ({name_tiff(tags)})")


def name_tiff(tags: Mapping[int, object]) -> str:
    """The kind of a TIFF in words, from its tags."""

    def first(tag: int, default: int) -> int:
        value = tags.get(tag, default)
        value = value[0] if isinstance(value, tuple) and value else value
        return value if isinstance(value, int) else default

    form = {_SIGNED: "signed ", _FLOATING: "floating-point ", 5: "complex ", 6: "complex "}.get(first(339, 1), "")
    parts = [f"{first(277, 1)} x {form}{first(258, 1)} bits"]
    if first(284, 1) == 2:
        parts.append("one plane for each channel")
    if tags.get("prefix") == b"MM" or getattr(tags, "prefix", None) == b"MM":
        parts.append("big-endian")
    if first(259, 1) != 1:
        parts.append(f"compression {TiffImagePlugin.COMPRESSION_INFO.get(first(259, 1), first(259, 1))}")
    parts.append(f"photometric interpretation {first(262, -1)}")
    return ", ".join(parts)


def measure(image: Image.Image, rawmode: str, scales: Scales) -> Values:
    """The kind and the range of a decoded image's values; `rawmode` is what Pillow decoded it from."""
    if image.mode.startswith(("I", "F")):
        array = np.asarray(image)
        low, high = float(array.min()), float(array.max())
        unsigned = image.mode.startswith("I;16") or (";16" in rawmode and not rawmode.endswith("S"))
        kind = FLOAT if image.mode == "F" else SIXTEEN if unsigned else SIGNED
        scales.dark &= high <= 1
        return Values(kind, low, high, _tagged_maximum(image, kind))
    if ";16" in rawmode:
        extremes = image.getextrema()
        colours = extremes[: 1 if rawmode.startswith("LA") else 3]
        high = max(band[1] for band in colours)
        scales.dark &= high == 0
        return Values(SIXTEEN, 0, 256 * high + 255)
    if image.mode not in ("L", "LA", "RGB", "RGBA") or image.format == "JPEG":
        scales.dark = False
        return Values("", 0, 255)
    if not scales.dark:
        return Values(EIGHT, 0, 255)
    extremes = image.getextrema()
    bands = [extremes] if image.mode == "L" else extremes[: 1 if image.mode == "LA" else 3]
    high = max(band[1] for band in bands)
    scales.dark &= high <= 1
    return Values(EIGHT, 0, high)


def _tagged_maximum(image: Image.Image, kind: str) -> float | None:
    """The greatest value that a TIFF's own tags allow, where they say so."""
    if image.format != "TIFF":
        return None
    bits = image.tag_v2.get(258, (0,))[0]
    if kind == SIXTEEN and bits < 16:
        return float(2**bits - 1)
    # MaxSampleValue of integers, SMaxSampleValue of all; they may also be the maximum of this image alone.
    for tag in (281, 341):
        value = image.tag_v2.get(tag)
        value = value[0] if isinstance(value, tuple) and value else value
        if kind == SIXTEEN and value in (1023, 4095, 16383, 65535):
            return float(value)
    return None


def to_8_bit(image: Image.Image, values: Values, scales: Scales, other_byte: Image.Image | None) -> Image.Image:
    """A decoded image with its values brought to 0..255.

    Args:
        image: as Pillow decoded it.
        values: what `measure` found in it.
        scales: what was decided, or is guessed at first.
        other_byte: of a colour image of 16 bits, of which Pillow keeps the high bytes, the low bytes.

    Raises:
        Unreadable: the values are none that can be read.
    """
    full = values.tagged or scales.full.get(values.kind, 255.0)
    if image.mode.startswith(("I", "F")):
        return _grey(image, values, full)
    if values.kind == SIXTEEN and full < 65535:
        if other_byte is None:
            raise Unreadable(f"unsupported: 16 bits for each channel, of which {int(full).bit_length()} are used")
        return _colour(np.asarray(image), np.asarray(other_byte), full)
    if values.kind == EIGHT and full == 1:
        bands = [band.point(lambda value: 255 * min(value, 1)) for band in image.split()]
        bands[-1:] = [image.split()[-1]] if image.mode in ("LA", "RGBA") else bands[-1:]
        return Image.merge(image.mode, bands)
    return image


def _grey(image: Image.Image, values: Values, full: float) -> Image.Image:
    low, high = values.low, values.high
    array = np.asarray(image)
    if values.kind == FLOAT:
        if not (low >= -_ROUNDED and high <= 255 + _ROUNDED):
            raise Unreadable(f"floating-point grey values from {low:g} to {high:g}; [0, 1] and [0, 255] are read")
        grey = np.rint(np.clip(array, 0, full) * (255 / full)).astype(np.uint8)
    else:
        if low < 0 or high > 65535:
            raise Unreadable(f"grey values from {low:.0f} to {high:.0f}; 8 to 16 bits without a sign are read")
        if full == 65535:
            grey = ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
        else:
            grey = np.rint(np.clip(array, 0, full) * np.float32(255 / full)).astype(np.uint8)
    if image.format == "TIFF" and image.tag_v2.get(262) == 0:  # white is zero; Pillow inverts 8 bits alone
        grey = 255 - grey
    return Image.fromarray(grey)


def _colour(high: np.ndarray, low: np.ndarray, full: float) -> Image.Image:
    values = (high.astype(np.uint16) << 8) | low
    result = np.rint(np.minimum(values, full) * np.float32(255 / full)).astype(np.uint8)
    if values.shape[2] == 4 and values[..., 3].max() > full:
        result[..., 3] = high[..., 3]
    return Image.fromarray(result)


def swap_bytes(image: Image.Image) -> bool:
    """Let a just opened image of 16 bits a channel decode its low bytes; whether that is possible."""
    tiles = []
    for tile in image.tile:
        args = tile[3] if isinstance(tile[3], tuple) else (tile[3],)
        name, _, form = str(args[0]).partition(";")
        if name not in ("RGB", "RGBA", "RGBX") or form not in _OTHER_BYTE:
            return False
        changed = (f"{name};{_OTHER_BYTE[form]}", *args[1:])
        tiles.append((*tile[:3], changed if isinstance(tile[3], tuple) else changed[0]))
    image.tile = tiles
    return bool(tiles)
