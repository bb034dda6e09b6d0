"""What scores accept: feature arrays and arrays of images, checked once and named by their content."""

import hashlib

import numpy as np

from ganzoo.errors import EvaluationError


def check_features(real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both feature arrays, (N, D) and (M, D), as float64.

    Raises:
        EvaluationError: a wrong rank, different D, no samples, or values that are not finite.
    """
    arrays = []
    for name, array in (("real", real), ("fake", fake)):
        array = np.asarray(array)
        if array.ndim != 2 or array.size == 0:
            raise EvaluationError(f"Features must be arrays (samples, dimensions). Received: {name} {array.shape}.")
        array = array.astype(np.float64)
        bad = int(np.sum(~np.isfinite(array).all(axis=1)))
        if bad:
            raise EvaluationError(
                f"Features must be finite. Received: {bad} of {len(array)} {name} samples with NaN or Inf. "
                "Look at the samples: the generator has probably diverged."
            )
        arrays.append(array)
    real, fake = arrays
    if real.shape[1] != fake.shape[1]:
        raise EvaluationError(
            "Real and fake features must have as many dimensions, from the same network. "
            f"Received: real {real.shape}, fake {fake.shape}."
        )
    return real, fake


def check_images(images: np.ndarray, name: str = "images") -> np.ndarray:
    """Return `images` unchanged: uint8, N x H x W x C with C 1 or 3.

    Raises:
        EvaluationError: anything else.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3) or images.size == 0:
        raise EvaluationError(
            f"Images must be uint8 in 0..255, N x H x W x C with 1 or 3 channels. "
            f"Received: {name} {images.dtype} {images.shape}. "
            "From a generator's [-1, 1]: np.clip(np.round((x + 1) * 127.5), 0, 255).astype(np.uint8)."
        )
    return images


def content_hash(images: np.ndarray) -> str:
    """A sha256 over shape and content, in the order given."""
    digest = hashlib.sha256(f"{images.dtype}{images.shape}".encode())
    digest.update(np.ascontiguousarray(images))
    return digest.hexdigest()


def canonical_order(images: np.ndarray) -> np.ndarray:
    """Indices that sort `images` by the hash of each one, so that a set's order in a folder or file plays no part."""
    hashes = [hashlib.sha256(np.ascontiguousarray(image)).digest() for image in images]
    return np.asarray(sorted(range(len(hashes)), key=hashes.__getitem__))
