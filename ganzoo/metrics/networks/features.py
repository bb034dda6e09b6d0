"""Features of image sets, kept on disk where the images are real and will be asked for again."""

import hashlib
import logging

import numpy as np

from ganzoo.errors import WeightsError
from ganzoo.files.cache import cache_dir
from ganzoo.files.tensors import read_safetensors, write_arrays
from ganzoo.files.writing import keep
from ganzoo.metrics.arrays import check_images, content_hash
from ganzoo.metrics.networks.base import FeatureNetwork

logger = logging.getLogger(__name__)


def extract(network: FeatureNetwork, images: np.ndarray, cached: bool = False) -> np.ndarray:
    """Features float32 (N, dim) of uint8 images N x H x W x 1 or 3.

    With `cached`, they are looked up, and stored, by the content of the images and the network's name and version.
    Give it for real images alone: generated ones never come again and would fill the disk.
    """
    images = check_images(images)
    if not cached:
        return network(images)
    key = hashlib.sha256(f"{network.name}|{network.version}|{network.input_size}".encode()).hexdigest()[:16]
    path = cache_dir("features") / f"{network.name}-{key}-{content_hash(images)[:32]}.safetensors"
    features = _read(path, (len(images), network.dim))
    if features is None:
        features = network(images)
        keep(path, lambda: write_arrays(path, {"features": features}))
    return features


def _read(path, shape: tuple[int, int]) -> np.ndarray | None:
    if not path.exists():
        return None
    try:
        features = read_safetensors(path).get("features")
    except WeightsError as error:
        logger.warning("The cached features %s are damaged (%s) and are computed again.", path, error)
        return None
    return features if features is not None and features.shape == shape and features.dtype == np.float32 else None
