"""Differentiable augmentation of images, after DiffAugment (Zhao et al. 2020, arXiv:2006.10738).

Images are `(batch, height, width, channels)`, floating, nominally in [-1, 1]; so are the results, which may leave
that range. Every example draws its own parameters, from stateless randomness.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

from ganzoo.distribution import GlobalRandom
from ganzoo.errors import RecipeError, unknown_name

SHIFT = 1 / 8  # largest translation, share of the side
CUT = 1 / 2  # side of the cut-out square, share of the side


def colour(images: tf.Tensor, random: GlobalRandom) -> tf.Tensor:
    """Brightness plus U(-0.5, 0.5), then saturation times U(0, 2), then contrast times U(0.5, 1.5)."""
    images = images + random.uniform((1, 1, 1), "brightness", -0.5, 0.5)
    grey = tf.reduce_mean(images, axis=3, keepdims=True)
    images = grey + (images - grey) * random.uniform((1, 1, 1), "saturation", 0.0, 2.0)
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    return mean + (images - mean) * random.uniform((1, 1, 1), "contrast", 0.5, 1.5)


def translation(images: tf.Tensor, random: GlobalRandom) -> tf.Tensor:
    """Moved by up to 1/8 of the side along each axis; what enters is zero (mid grey)."""
    moved = images
    for axis, name in ((1, "vertical"), (2, "horizontal")):
        side = images.shape[axis]
        most = max(1, int(side * SHIFT + 0.5))
        shift = random.integers((), name, -most, most + 1)
        # A shift matrix for each example: a product is differentiable as often as wished, and fast.
        target, source = tf.range(side)[:, None], tf.range(side)[None, :]
        matrix = tf.cast(tf.equal(source[None], target[None] - shift[:, None, None]), images.dtype)
        moved = tf.einsum("bij,bjwc->biwc" if axis == 1 else "bij,bhjc->bhic", matrix, moved)
    return moved


def cutout(images: tf.Tensor, random: GlobalRandom) -> tf.Tensor:
    """A square of half the side, centred anywhere, is set to zero (mid grey)."""
    inside = []
    for axis, name in ((1, "vertical"), (2, "horizontal")):
        side = images.shape[axis]
        cut = int(side * CUT + 0.5)
        start = random.integers((), name, 0, side + (1 - cut % 2)) - cut // 2
        positions = tf.range(side)[None, :]
        inside.append((positions >= start[:, None]) & (positions < start[:, None] + cut))
    hole = inside[0][:, :, None] & inside[1][:, None, :]
    return images * tf.cast(~hole, images.dtype)[..., None]


AUGMENTATIONS: dict[str, Callable[[tf.Tensor, GlobalRandom], tf.Tensor]] = {
    "colour": colour,
    "translation": translation,
    "cutout": cutout,
}


def augment(
    images: tf.Tensor, policy: Sequence[str], random: GlobalRandom, probability: float | tf.Tensor = 1.0
) -> tf.Tensor:
    """The augmentations of a policy in turn, each on a share `probability` of the examples."""
    for name in policy:
        if name not in AUGMENTATIONS:
            raise RecipeError(unknown_name("augmentation", name, AUGMENTATIONS))
        changed = AUGMENTATIONS[name](images, random.child(name))
        if isinstance(probability, float) and probability >= 1.0:
            images = changed
        else:
            chosen = random.uniform((1, 1, 1), f"{name}/chosen") < probability
            images = tf.where(chosen, changed, images)
    return images
