"""Many small images as one that a person can read."""

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ganzoo.errors import DataError
from ganzoo.files.writing import atomic_write
from ganzoo.printing import printable

_LEGIBLE = 96  # pixels a side that small images are enlarged to, at most
_WIDEST = 2048
_GAP = 2
_LINE = 14
_FONTS = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "Arial Unicode.ttf", "arial.ttf")


def grid(images: np.ndarray, columns: int | None = None, labels: Sequence[object] | None = None) -> Image.Image:
    """Lays images out in rows, on white, the first one top left.

    Args:
        images: uint8 (N, H, W, C), C = 1 (the result is grey) or 3. Small ones are enlarged by a whole factor, each
            pixel to a square, so that 32 x 32 are legible.
        columns: how many in a row; about as many as rows unless given.
        labels: one text below each image.

    Raises:
        DataError: there is nothing to show, or it has another shape or type.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype != np.uint8 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        raise DataError(
            "A grid shows uint8 images (N, H, W, C) with 1 or 3 channels, at least one. "
            f"Received: {images.dtype} {images.shape}."
        )
    if labels is not None and len(labels) != len(images):
        raise DataError(f"A grid of {len(images)} images needs as many labels. Received: {len(labels)}.")
    count, height, width, channels = images.shape
    columns = min(count, columns or math.ceil(math.sqrt(count)))
    rows = math.ceil(count / columns)
    factor = max(1, min(_LEGIBLE // max(height, width), _WIDEST // (columns * width)))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = height * factor, width * factor
    down, across = height + _GAP + (_LINE if labels is not None else 0), width + _GAP
    sheet = np.full((rows * down + _GAP, columns * across + _GAP, channels), 255, np.uint8)
    for index, image in enumerate(images):
        top, left = _GAP + index // columns * down, _GAP + index % columns * across
        sheet[top : top + height, left : left + width] = image
    image = Image.fromarray(sheet[..., 0] if channels == 1 else sheet)
    if labels is not None:
        _write_labels(image, [str(label) for label in labels], columns, (across, down), height)
    return image


def font_for(texts: Iterable[str]) -> tuple[Any, bool]:
    """A font for labels, and whether it has all letters of `texts`.

    Pillow's own font has ASCII alone; for other letters fonts of the system are tried.
    """
    from PIL import ImageFont

    size, letters = _LINE - 3, {letter for text in texts for letter in text if not letter.isascii()}
    own = ImageFont.load_default(size=size)
    if not letters:
        return own, True
    for name in _FONTS:
        with contextlib.suppress(OSError):
            font = ImageFont.truetype(name, size)
            missing = bytes(font.getmask("\U0010ffff"))
            if all(bytes(font.getmask(letter)) != missing for letter in letters):
                return font, True
    return own, False


def _write_labels(image: Image.Image, labels: list[str], columns: int, step: tuple[int, int], height: int) -> None:
    from PIL import ImageDraw

    labels = [printable(label) for label in labels]
    font, draw = font_for(labels)[0], ImageDraw.Draw(image)
    for index, label in enumerate(labels):
        label = _fitting(label, lambda text: draw.textlength(text, font=font) <= step[0] - _GAP)
        left, top = _GAP + index % columns * step[0], _GAP + index // columns * step[1] + height
        draw.text((left, top), label, fill="black", font=font)


def _fitting(text: str, fits: Callable[[str], bool]) -> str:
    """The text, or as much of its beginning as fits with two dots at its end."""
    if fits(text):
        return text
    return next((f"{text[:end]}.." for end in range(len(text) - 1, 0, -1) if fits(f"{text[:end]}..")), "")


def save_grid(
    path: str | Path, images: np.ndarray, columns: int | None = None, labels: Sequence[object] | None = None
) -> Path:
    """Writes `grid(images, columns, labels)` as a PNG, whole or not at all, and returns its path."""
    image = grid(images, columns, labels)
    return atomic_write(path, lambda temporary: image.save(temporary, format="PNG"))


def save_sample(path: str | Path, image: np.ndarray) -> Path:
    """Writes one uint8 image (H, W, C) as a PNG of its own size, whole or not at all, and returns its path."""
    image = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return atomic_write(path, lambda temporary: image.save(temporary, format="PNG"))
