"""What scores accept: feature arrays and arrays of pictures, checked once and named by their content."""

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


def check_pictures(pictures: np.ndarray, name: str = "pictures") -> np.ndarray:
    """Return `pictures` unchanged: uint8, N x H x W x C with C 1 or 3.

    Raises:
        EvaluationError: anything else.
    """
    pictures = np.asarray(pictures)
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[-1] not in (1, 3) or pictures.size == 0:
        raise EvaluationError(
            f"Pictures must be uint8 in 0..255, N x H x W x C with 1 or 3 channels. "
            f"Received: {name} {pictures.dtype} {pictures.shape}. "
            "From a generator's [-1, 1]: np.clip(np.round((x + 1) * 127.5), 0, 255).astype(np.uint8)."
        )
    return pictures


def content_hash(pictures: np.ndarray) -> str:
    """A sha256 over shape and content, in the order given."""
    digest = hashlib.sha256(f"{pictures.dtype}{pictures.shape}".encode())
    digest.update(np.ascontiguousarray(pictures))
    return digest.hexdigest()


def canonical_order(pictures: np.ndarray) -> np.ndarray:
    """Indices that sort `pictures` by the hash of each one, so that a set's order in a folder or file plays no part."""
    hashes = [hashlib.sha256(np.ascontiguousarray(picture)).digest() for picture in pictures]
    return np.asarray(sorted(range(len(hashes)), key=hashes.__getitem__))
