"""Handwritten digits of other writers than MNIST's, in MNIST's form: a source for transfer.

scikit-learn's copy of UCI's optical digits (Alpaydin and Kaynak 1998, CC BY 4.0; 1,797 pictures of 8 x 8 by 13 writers)
is enlarged, made crisp, and varied: slant, width, turn and stroke. `python tests/data/uci_digits.py FILE.npz`
"""

import sys

import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits

SIZE, BOX = 32, 20  # MNIST's digits fill 20 of 28 pixels; the rest, and two more on each side, is black
_FINE = 4  # the shapes are drawn so many times finer, then averaged


def enlarged_digits(variants: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 pictures `(1797 * variants, 32, 32, 1)`, white on black, and their classes."""
    rng = np.random.default_rng(seed)
    digits = load_digits()
    pictures = [_drawn(digit / 16, rng) for digit in digits.images for _ in range(variants)]
    return np.stack(pictures)[..., None], np.repeat(digits.target, variants)


def _drawn(digit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    smooth = ndimage.zoom(np.pad(digit, 2), 12, order=3)
    threshold = rng.uniform(0.35, 0.62)  # the higher, the thinner the stroke
    ink = 1 / (1 + np.exp(-25 * (smooth - threshold)))
    turn, slant, width = rng.normal(0, 0.12), rng.normal(-0.15, 0.25), rng.uniform(1.1, 1.6)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.array(
        [[1, 0], [slant, 1 / width]]
    )
    side = np.array(ink.shape) / 2
    wide = 2 * np.array(ink.shape)
    turned = ndimage.affine_transform(ink, matrix, side - matrix @ (wide / 2), output_shape=tuple(wide), order=1)
    rows, columns = (np.flatnonzero(turned.max(axis) > 0.5) for axis in (1, 0))
    if not len(rows) or not len(columns):
        return _drawn(digit, rng)  # nothing was left of a thin stroke
    found = turned[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    fitted = ndimage.zoom(found, _FINE * BOX / max(found.shape), order=1)
    canvas = np.zeros((_FINE * SIZE, _FINE * SIZE))
    top, left = np.round(np.array(canvas.shape) / 2 - ndimage.center_of_mass(fitted)).astype(int)
    top, left = (np.clip([top, left], 0, np.array(canvas.shape) - fitted.shape)).astype(int)
    canvas[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    small = canvas.reshape(SIZE, _FINE, SIZE, _FINE).mean((1, 3))
    return np.round(255 * small.clip(0, 1)).astype(np.uint8)


if __name__ == "__main__":
    images, labels = enlarged_digits()
    np.savez_compressed(sys.argv[1], images=images, labels=labels)
