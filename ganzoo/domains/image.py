"""Images: uint8 in files and to users, float32 in [-1, 1] to networks, shown as grids."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import pydantic

from ganzoo.data.images import ImageOptions, load_images
from ganzoo.data.images.duplicates import without_twins
from ganzoo.data.images.image_files import Progress
from ganzoo.data.images.image_grid import grid, save_grid, save_sample
from ganzoo.data.images.options import parse_background
from ganzoo.data.images.pixel_range import OUT_OF_RANGE, PixelRange, check_batch, to_unit
from ganzoo.data.sample_set import SampleSet
from ganzoo.errors import DataError
from ganzoo.metrics.real_set import real_set
from ganzoo.metrics.sliced_wasserstein import sliced_wasserstein
from ganzoo.recipes.schema import PositiveInt, Section

__all__ = [
    "OUT_OF_RANGE",
    "QUICK_SCORE",
    "Options",
    "PixelRange",
    "check_batch",
    "from_unit",
    "grid",
    "image_options",
    "quick_score",
    "read",
    "real_set",
    "save_grid",
    "save_sample",
    "small_features",
    "to_unit",
]

QUICK_SCORE = "sliced Wasserstein x1000"


class Options(Section):
    """A recipe's `data`: see `ImageOptions`; `flip`: mirror images left to right at random.

    `split`: which of the folders `train`, `val` and `test` is read, where there are such folders; `all`: all of them.
    `drop_duplicates`: of images that are equal or look equal (`ganzoo.data.images.duplicates`) only the first is used.
    """

    size: PositiveInt = 64
    channels: Literal[1, 3] = 3
    fit: Literal["crop", "pad"] = "crop"
    background: str = "white"
    split: Literal["train", "val", "test", "all"] = "train"
    flip: bool = False
    drop_duplicates: bool = False

    @pydantic.field_validator("background")
    @classmethod
    def _colour(cls, background: str) -> str:
        try:
            parse_background(background)
        except DataError as error:
            raise ValueError(str(error).removesuffix(".")) from None
        return background


def image_options(recipe_data: Any, conditional: bool = False) -> ImageOptions:
    """The reader's options from a recipe's `data`, an object or a mapping.

    Args:
        recipe_data: has some of size, channels, fit, background, split; the others take their defaults.
        conditional: whether the entry takes classes.
    """
    plain = isinstance(recipe_data, Mapping)
    found = {}
    for name in ("size", "channels", "fit", "background", "split"):
        value = recipe_data.get(name) if plain else getattr(recipe_data, name, None)
        if value is not None:
            found[name] = value
    return ImageOptions(**found, labelled=conditional)


def read(data: object, recipe_data: Any, conditional: bool = False, progress: Progress | None = None) -> SampleSet:
    """Reads images in the form that a recipe's `data` says; see `ganzoo.data.images.load_images`."""
    found = load_images(data, image_options(recipe_data, conditional), progress)
    plain = isinstance(recipe_data, Mapping)
    drop = recipe_data.get("drop_duplicates") if plain else getattr(recipe_data, "drop_duplicates", False)
    if not drop:
        return found
    kept = without_twins(found.samples)
    dropped = (
        f"{len(found) - len(kept):,} images are left out (data.drop_duplicates): they are equal to earlier ones or"
    )
    return found.subset(kept, f"{dropped} look equal")


def quick_score(reals: np.ndarray, fakes: np.ndarray) -> float:
    """The sliced Wasserstein distance x1000 (lower is better) of equally many uint8 images; needs no network.

    It is taken over fewer directions than a scorecard's, and in a quarter of its time.

    Raises:
        EvaluationError: images under 14 pixels a side.
    """
    return sliced_wasserstein(reals, fakes, directions=128)["average"]


def small_features(images: np.ndarray) -> np.ndarray:
    """Colours on a grid of 8x8 (or the images themselves where they are smaller): (N, numbers) float32 in [0, 1]."""
    count, *sides, _ = images.shape
    edges = [np.linspace(0, side, min(side, 8) + 1).astype(int) for side in sides]
    sums = np.add.reduceat(np.add.reduceat(images.astype(np.float32), edges[0][:-1], axis=1), edges[1][:-1], axis=2)
    areas = np.diff(edges[0])[:, None] * np.diff(edges[1])[None]
    return (sums / (255.0 * areas[..., None])).reshape(count, -1).astype(np.float32)


def from_unit(images: Any) -> Any:
    """Floats in [-1, 1] -> uint8: (x + 1) * 127.5, rounded, cut to 0..255; what is no number becomes 0.

    A numpy array gives a numpy array, a TensorFlow tensor a tensor.
    """
    if isinstance(images, np.ndarray):
        values = np.nan_to_num(images.astype(np.float32), nan=-1.0, posinf=1.0, neginf=-1.0)
        return np.clip(np.rint((values + 1) * 127.5), 0, 255).astype(np.uint8)
    import tensorflow as tf

    values = tf.cast(images, tf.float32)
    values = tf.where(tf.math.is_nan(values), -tf.ones_like(values), values)
    return tf.cast(tf.clip_by_value(tf.round((values + 1.0) * 127.5), 0.0, 255.0), tf.uint8)
