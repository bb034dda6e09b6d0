"""Colour profiles: images whose profile is not sRGB are converted to sRGB."""

import hashlib
import io
import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

_MODES = {"RGB ": "RGB", "CMYK": "CMYK", "GRAY": "L"}
_LARGEST = 4 * 2**20  # bytes of a profile
_SAME = 2  # levels of 255 by which a profile may differ from sRGB and still counts as sRGB
_KEPT = 16
_kept = threading.local()  # a transform of Little CMS belongs to one thread


class Conversion(NamedTuple):
    """What a profile asks for: its name, and the transform to sRGB (None: it is sRGB, or of no use)."""

    name: str
    mode: str
    transform: ImageCms.ImageCmsTransform | None


def to_srgb(image: Image.Image, profile: bytes | None) -> tuple[Image.Image, str]:
    """An 8-bit image with its colours in sRGB, and the name of its profile where it was converted ("" otherwise).

    A profile that is broken, that is sRGB within 2 levels of 255, or that belongs to another kind of image (grey values
    with a profile for colours) leaves the image as it is. Transparency is kept.
    """
    if image.mode == "LAB":
        return _lab(image), ""
    if not profile or len(profile) > _LARGEST:
        return image, ""
    found = _conversion(profile)
    if found.transform is None:
        return image, ""
    alpha = None
    if image.mode in ("P", "PA", "YCbCr") or image.has_transparency_data:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode in ("RGBA", "LA"):
        alpha = image.getchannel("A")
        image = image.convert(image.mode[:-1])
    if image.mode == "1" and found.mode == "L":
        image = image.convert("L")
    if image.mode != found.mode:
        if alpha is not None:
            image.putalpha(alpha)
        return image, ""
    image = ImageCms.applyTransform(image, found.transform)
    if alpha is not None:
        image.putalpha(alpha)
    return image, found.name


def _conversion(profile: bytes) -> Conversion:
    cache = _kept.__dict__.setdefault("cache", OrderedDict())
    key = hashlib.sha256(profile).digest()
    if key not in cache:
        cache[key] = _open(profile)
        while len(cache) > _KEPT:
            cache.popitem(last=False)
    return cache[key]


def _open(profile: bytes) -> Conversion:
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = _MODES.get(opened.profile.xcolor_space, "")
        name = (ImageCms.getProfileDescription(opened) or "").strip() or "without a name"
        if not mode:
            return Conversion(name, "", None)
        transform = ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
        probe = _probe(mode)
        changed = np.asarray(ImageCms.applyTransform(probe, transform), np.int16) - np.asarray(probe.convert("RGB"))
    # Little CMS and Pillow raise several kinds of errors on broken profiles.
    except Exception:
        return Conversion("broken", "", None)
    if mode != "CMYK" and np.abs(changed).max() <= _SAME:
        return Conversion(name, mode, None)
    return Conversion(name, mode, transform)


def _probe(mode: str) -> Image.Image:
    """An image of evenly spread colours."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9).round().astype(np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    return Image.fromarray(colours) if mode == "RGB" else Image.fromarray(colours).convert("CMYK")


def _lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
