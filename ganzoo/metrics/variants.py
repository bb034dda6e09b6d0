"""Slight changes that are undone before an image is compared with training images: shifts, mirroring and blur.

A generator may repeat a training image shifted by a pixel, mirrored or blurred. The features of such a copy are as far
from those of the training image as any other image's, so that the distance alone does not find it. Therefore an image
is compared in 27 variants, and the smallest distance counts. How the distance grows with each change, and what the
variants find: `tests/benchmarks/memorisation.md`.
"""

from collections.abc import Iterator

import numpy as np

VERSION = 1  # raise it whenever `variants` gives other images: kept limits hold for one version alone
SHIFT = 2  # pixels at most, in each direction
_BLUR = 0.7  # the deviation, in pixels, of the Gaussian blur that is undone
_DAMPING = 0.01  # keeps the inverse of the blur from amplifying noise more than fivefold
_MARGIN = 8  # pixels of repeated edge: the inverse of the blur takes the image for periodic


def variants(images: np.ndarray) -> Iterator[np.ndarray]:
    """The images themselves, 24 shifts of them by up to 2 pixels, mirrored left to right, and sharpened.

    Args:
        images: uint8 (N, height, width, channels).

    Yields:
        uint8 arrays of the same shape, the images themselves first.
    """
    yield images
    steps = range(-SHIFT, SHIFT + 1)
    for down in steps:
        for right in steps:
            if down or right:
                yield shifted(images, down, right)
    yield images[:, :, ::-1]
    yield deblurred(images)


def shifted(images: np.ndarray, down: int, right: int) -> np.ndarray:
    """The images, moved by up to `SHIFT` pixels down and to the right; the edges are repeated."""
    height, width = images.shape[1:3]
    wider = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)), mode="edge")
    return wider[:, SHIFT - down : SHIFT - down + height, SHIFT - right : SHIFT - right + width]


def deblurred(images: np.ndarray) -> np.ndarray:
    """The images with a Gaussian blur of 0.7 pixels undone by Wiener's filter, G = H / (H^2 + damping).

    H is the blur's transfer function exp(-s^2 |w|^2 / 2); G is scaled to 1 at w = 0, so that colours stay.
    """
    height, width = images.shape[1:3]
    border = (_MARGIN, _MARGIN)
    wider = np.pad(images, ((0, 0), border, border, (0, 0)), mode="edge").astype(np.float32)
    rows, columns = wider.shape[1:3]
    frequencies = np.fft.fftfreq(rows)[:, None] ** 2 + np.fft.rfftfreq(columns)[None] ** 2
    blur = np.exp(-((2 * np.pi * _BLUR) ** 2) * frequencies / 2)
    inverse = ((1 + _DAMPING) * blur / (blur**2 + _DAMPING)).astype(np.float32)[None, :, :, None]
    spectrum = np.fft.rfft2(wider, axes=(1, 2)) * inverse
    sharp = np.fft.irfft2(spectrum, s=(rows, columns), axes=(1, 2))
    cut = sharp[:, _MARGIN : _MARGIN + height, _MARGIN : _MARGIN + width]
    return np.clip(np.rint(cut), 0, 255).astype(np.uint8)
