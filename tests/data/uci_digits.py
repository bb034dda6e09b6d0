"""Handwritten digits of other writers than MNIST's, in MNIST's form: a source for transfer.

scikit-learn's copy of UCI's optical digits (Alpaydin and Kaynak 1998, CC BY 4.0; 1,797 images of 8 x 8 by 13 writers)
is enlarged, thinned to lines, varied (slant, width, turn) and drawn anew with pens of several widths.
`python tests/data/uci_digits.py FILE.npz`
"""

import sys

import numpy as np
from scipy import ndimage
from skimage.morphology import skeletonize
from sklearn.datasets import load_digits

SIZE, BOX = 32, 20  # MNIST's digits fill 20 of 28 pixels; the rest, and two more on each side, is black
_FINE = 4  # the shapes are drawn so many times finer, then averaged
_BEND = 8.0  # how far lines are bent, in pixels of which a digit has some 100; a standard deviation
_SLANT = (0.15, 0.2)  # to the right is positive; mean and standard deviation
_PEN = (3.5, 7.5)  # half the stroke, in fine pixels


def enlarged_digits(variants: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images `(1797 * variants, 32, 32, 1)`, white on black, and their classes."""
    rng = np.random.default_rng(seed)
    digits = load_digits()
    images = [_drawn(digit / 16, rng) for digit in digits.images for _ in range(variants)]
    return np.stack(images)[..., None], np.repeat(digits.target, variants)


def _drawn(digit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    smooth = ndimage.zoom(np.pad(digit, 2), 12, order=3)
    turn, slant, width = rng.normal(0, 0.12), rng.normal(*_SLANT), rng.uniform(0.9, 1.4)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    matrix = rotation @ np.array([[1, 0], [slant, 1 / width]])
    shape = np.array(smooth.shape)
    places = np.indices(2 * shape)
    straight = np.tensordot(matrix, places - shape[:, None, None], 1) + shape[:, None, None] / 2
    knots = rng.normal(0, _BEND, (2, 4, 4))
    bends = np.stack([ndimage.zoom(field, 2 * shape / 4, order=3) for field in knots])
    turned = ndimage.map_coordinates(smooth, straight + bends, order=1)
    mask = turned > 0.45
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    found = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    pen = rng.uniform(*_PEN)
    fitted = ndimage.zoom(found.astype(float), (_FINE * BOX) / max(found.shape), order=1) > 0.5
    line = np.zeros((_FINE * SIZE, _FINE * SIZE), bool)
    top, left = np.round(np.array(line.shape) / 2 - ndimage.center_of_mass(fitted)).astype(int)
    top, left = np.clip([top, left], 0, np.array(line.shape) - fitted.shape)
    line[top : top + fitted.shape[0], left : left + fitted.shape[1]] = fitted
    distance = ndimage.distance_transform_edt(~skeletonize(line))
    ink = np.clip((pen - distance) / 3 + 0.5, 0, 1)
    small = ink.reshape(SIZE, _FINE, SIZE, _FINE).mean((1, 3))
    return np.round(255 * small).astype(np.uint8)


if __name__ == "__main__":
    images, labels = enlarged_digits()
    np.savez_compressed(sys.argv[1], images=images, labels=labels)
