"""One image file to one uint8 array: everything that can be odd about an image is dealt with here."""

import contextlib
import errno
import re
import struct
import threading
import zlib
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, TiffImagePlugin

from ganzoo.data.images.colour import to_srgb
from ganzoo.data.images.limits import MAX_FILE
from ganzoo.data.images.options import ImageOptions
from ganzoo.data.images.pixels import (
    SIXTEEN,
    Scales,
    Unreadable,
    Values,
    check_kind,
    measure,
    name_tiff,
    swap_bytes,
    to_8_bit,
)
from ganzoo.data.sample_set import Original

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
EXTENSIONS = frozenset((".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff"))
MAX_PIXELS = 89_478_485  # Pillow's own limit of what it opens without a warning
_LARGE_PIXELS = 16_000_000  # from here on images are decoded one at a time, to bound the memory
LARGE_FILE = 32 * 2**20  # bytes; likewise
LARGE = threading.RLock()
_OF_CONTENT = (errno.EINVAL, errno.EOVERFLOW, errno.EFBIG)  # an impossible position that a broken file names
_UNSUPPORTED = ("unsupported", "not supported", "not implemented", "not available", "cannot handle")
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Decoded(NamedTuple):
    """An image in its wanted form, and what was found in the file.

    `profile`: the name of the colour profile from which it was converted to sRGB, "" where it was not.
    """

    pixels: np.ndarray
    original: Original
    values: Values
    profile: str
    animated: bool
    enlarged: bool


def looks_like_image(head: bytes) -> bool:
    """Whether a file that begins with `head` (16 bytes suffice) has one of the `FORMATS`, by its content."""
    return (
        head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and len(head) >= 16 and head[14] in _BMP_HEADERS and head[15] == 0)
    )


def name_content(head: bytes) -> str:
    """What a file that is no image seems to be, in words, from its first bytes."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "an HTML page; perhaps a failed download"
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        return "an SVG drawing; only PNG, JPEG, WebP, BMP, GIF and TIFF are read"
    if head[4:8] == b"ftyp":
        return "an AVIF, HEIC or video file; only PNG, JPEG, WebP, BMP, GIF and TIFF are read"
    with contextlib.suppress(UnicodeDecodeError):
        # The last bytes may be half a character.
        text = head[: max(1, len(head) - 3)].decode("utf-8")
        if all(character.isprintable() or character in "\t\r\n\f" for character in text):
            return "text"
    return "not one of PNG, JPEG, WebP, BMP, GIF, TIFF"


def _too_many(pixels: str) -> str:
    return f"too many pixels, refused before decoding ({pixels}; limit {MAX_PIXELS:,} in all)"


def _reason(error: BaseException, file: BinaryIO, head: bytes) -> Unreadable:
    """The reason for which an image cannot be decoded, from what Pillow raised."""
    if isinstance(error, MemoryError):
        return Unreadable("out of memory while it was decoded", passing=True)
    if isinstance(error, OSError) and error.errno is not None and error.errno not in _OF_CONTENT:
        return Unreadable(f"could not be read ({error.strerror or error})", passing=True)
    if isinstance(error, Image.UnidentifiedImageError):
        kind = _unknown_kind(file, head)
        return Unreadable(kind or "truncated or corrupt (its header cannot be read)")
    if head[:4] == b"RIFF":  # WebP states its length, but its decoder does not say what is wrong
        announced, length = struct.unpack("<I", head[4:8])[0] + 8, file.seek(0, 2)
        if length < announced:
            return Unreadable(f"truncated ({length:,} of {announced:,} bytes)")
    text = str(error).strip() or type(error).__name__
    lowered = text.lower()
    if isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        pixels = next((int(word) for word in re.findall(r"\d+", text)), 0)
        return Unreadable(_too_many(f"{pixels:,}"))
    if "truncated" in lowered or "not enough data" in lowered or "unexpected end" in lowered:
        return Unreadable(f"truncated ({text})")
    if isinstance(error, NotImplementedError) or any(word in lowered for word in _UNSUPPORTED):
        return Unreadable(f"unsupported ({text})")
    return Unreadable(f"corrupt ({text})")


def _unknown_kind(file: BinaryIO, head: bytes) -> str | None:
    """The name of a whole file's kind that Pillow does not know, or None."""
    try:
        if head.startswith((b"II*\0", b"MM\0*")):
            file.seek(0)
            tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
            file.seek(tags.next)
            tags.load(file)
            if {256, 257} <= set(tags):
                return f"an unsupported kind of TIFF ({name_tiff(tags)})"
    # The tags of a broken file may be anything.
    except Exception:
        return None
    return None


def decode_image(file: BinaryIO, path: str, options: ImageOptions, scales: Scales | None = None) -> Decoded:
    """Decodes the image in the open `file`; `path` is only its name.

    The first image of an animated file is taken, EXIF rotation is applied, values are brought to 0..255 and colours to
    sRGB, transparency is composed onto the background before anything is resized (so hidden colours can't bleed into
    outlines), and the size is reached with Pillow's Lanczos filter, which widens with the reduction and so doesn't
    alias. An image that has the wanted form already keeps every value.

    Args:
        file: open for reading, and seekable.
        path: its name, for the result.
        options: the wanted form.
        scales: what values of more or fewer than 8 bits mean; the usual meaning of their type unless given.

    Raises:
        Unreadable: it is no image of the supported formats, or broken, or has more than `MAX_PIXELS`; or, with
            `passing`, there was no memory or the file could not be read.
    """
    try:
        head = file.read(1024)
        size = file.seek(0, 2)
        file.seek(0)
    except (OSError, ValueError) as error:
        raise _reason(error, file, b"") from error
    if not head:
        raise Unreadable("empty (0 bytes)")
    if not looks_like_image(head):
        raise Unreadable(f"not an image ({name_content(head)})")
    if size > MAX_FILE:
        raise Unreadable(f"a file of {size:,} bytes (limit {MAX_FILE:,})")
    scales = scales or Scales()
    try:
        with LARGE if size > LARGE_FILE else contextlib.nullcontext(), Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Unreadable(_too_many(f"{width:,} x {height:,}"))
            with LARGE if width * height > _LARGE_PIXELS else contextlib.nullcontext():
                return _decode(image, path, options, scales, file)
    except Unreadable:
        raise
    # Pillow's plug-ins raise nearly anything on broken files.
    except (Exception, Image.DecompressionBombWarning) as error:
        raise _reason(error, file, head) from error


def _decode(image: Image.Image, path: str, options: ImageOptions, scales: Scales, file: BinaryIO) -> Decoded:
    check_kind(image)
    size, mode, profile = image.size, image.mode, image.info.get("icc_profile")
    animated = image.format != "JPEG" and getattr(image, "is_animated", False)
    if image.format == "JPEG":
        # JPEG decodes at 1/2, 1/4 or 1/8 much faster, and without aliasing; twice the wanted size is left to Lanczos.
        image.draft(image.mode, (2 * options.size, 2 * options.size))
    rawmode = _rawmode(image)
    image.load()
    orientation = _orientation(image)
    values = measure(image, rawmode, scales)
    low = None
    if ";16" in rawmode and values.kind == SIXTEEN and image.mode in ("RGB", "RGBA") and scales.full[SIXTEEN] < 65535:
        low = _low_bytes(file)
    image = to_8_bit(image, values, scales, low)
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
        size = size[::-1] if orientation >= 5 else size
    image, converted = to_srgb(image, profile)
    pixels = fit_image(image, options)
    side = min(size) if options.fit == "crop" else max(size)
    return Decoded(pixels, Original(path, *size, mode), values, converted, animated, side < options.size)


def _rawmode(image: Image.Image) -> str:
    """The form in which the values lie in the file, by Pillow's name: "RGB;16B"."""
    if not image.tile:
        return ""
    args = image.tile[0][3]
    return str(args[0] if isinstance(args, tuple) and args else args)


def _low_bytes(file: BinaryIO) -> Image.Image | None:
    """The low bytes of a colour image of 16 bits a channel."""
    file.seek(0)
    with Image.open(file, formats=FORMATS) as image:
        if not swap_bytes(image):
            return None
        image.load()
        return image.copy()


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except (ValueError, TypeError, KeyError, SyntaxError, OSError, struct.error, zlib.error):
        return 1  # broken EXIF data are no reason to lose a whole image


def fit_image(image: Image.Image, options: ImageOptions) -> np.ndarray:
    """A loaded Pillow image of 8 bits as uint8 (size, size, channels)."""
    image = _flatten(image, options.colour)
    if options.channels == 1:
        image = image.convert("L")
    elif image.mode != "RGB":
        image = image.convert("RGB")
    target, (width, height) = options.size, image.size
    if options.fit == "crop" or width == height:
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        if side == target:
            image = image.crop((left, top, left + side, top + side))
        else:
            box = (left, top, left + side, top + side)
            image = image.resize((target, target), Image.Resampling.LANCZOS, box=box)
    else:
        scale = target / max(width, height)
        inner = max(1, round(width * scale)), max(1, round(height * scale))
        if inner != image.size:
            image = image.resize(inner, Image.Resampling.LANCZOS)
        ground = Image.new("RGB", (target, target), options.colour).convert(image.mode)
        ground.paste(image, ((target - inner[0]) // 2, (target - inner[1]) // 2))
        image = ground
    return np.asarray(image, np.uint8).reshape(options.shape)


def _flatten(image: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """`image` (8 bits) as opaque "L" or "RGB"."""
    if image.has_transparency_data or image.mode in ("PA", "La", "RGBa"):
        if image.mode != "RGBA":
            image = image.convert("RGBA")
        ground = Image.new("RGB", image.size, colour)
        ground.paste(image, mask=image.getchannel("A"))
        return ground
    return image.convert("L") if image.mode in ("1", "L") else image.convert("RGB")
