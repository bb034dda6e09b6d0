"""A network that turns images into features for scores, whatever network it is."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ganzoo import progress
from ganzoo.metrics.arrays import check_images

OF_THE_DATA = "the evaluated data"
OF_NOTHING = "nothing: random weights"
_BATCH = 64
_BICUBIC = "bicubic with antialiasing, stretched to a square, float32, clipped to 0..255"


class Resizing(NamedTuple):
    """How images come to a network's input size.

    Attributes:
        text: in words.
        apply: uint8 N x H x W x 3 to float32 in 0..255, N x size x size x 3.
    """

    text: str
    apply: Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class FeatureNetwork:
    """A frozen network of features; calling it maps uint8 N x H x W x 1 or 3 to float32 (N, dim).

    Attributes:
        name: as in a scorecard.
        family: "squeezenet", "efficientnet_lite", "inception", "self_supervised" or "random".
        trained_on: "imagenet", `OF_THE_DATA` or `OF_NOTHING`.
        dim: features of an image.
        source: where the weights come from.
        licence: of the weights.
        version: changes whenever the features of the same image would.
        input_size: pixels a side that the network sees; None: the images' own size.
        function: float32 batches in 0..255, B x size x size x 3, to features (B, dim).
        resizing: instead of bicubic with antialiasing, also for images that have the input size.
        batch: images at a time.
    """

    name: str
    family: str
    trained_on: str
    dim: int
    source: str
    licence: str
    version: str
    input_size: int | None
    function: Callable[[np.ndarray], np.ndarray] = dataclasses.field(repr=False, compare=False)
    resizing: Resizing | None = dataclasses.field(default=None, repr=False, compare=False)
    batch: int = _BATCH

    @property
    def resize(self) -> str:
        """How images come to the input size."""
        if self.resizing:
            return self.resizing.text
        return "none" if self.input_size is None else _BICUBIC

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Features float32 (N, dim) of uint8 images; grey ones are repeated to three channels."""
        images = check_images(images)
        features = [
            np.asarray(self.function(self._prepared(images[start : start + self.batch])), np.float32)
            for start in progress.each(range(0, len(images), self.batch), f"Computing features ({self.name})")
        ]
        return np.concatenate(features)

    def describe(self) -> dict:
        """What a scorecard's protocol says of this network."""
        return {
            "version": self.version,
            "trained_on": self.trained_on,
            "family": self.family,
            "dim": self.dim,
            "input_size": self.input_size,
            "resize": self.resize,
        }

    def _prepared(self, images: np.ndarray) -> np.ndarray:
        images = np.broadcast_to(images, (*images.shape[:3], 3))
        if self.resizing:
            return self.resizing.apply(images)
        batch = images.astype(np.float32)
        if self.input_size is None or batch.shape[1:3] == (self.input_size, self.input_size):
            return batch
        import tensorflow as tf

        size = (self.input_size, self.input_size)
        return np.clip(tf.image.resize(batch, size, method="bicubic", antialias=True), 0.0, 255.0)


def frozen_function(model) -> Callable[[np.ndarray], np.ndarray]:
    """`model` (a Keras model of one input and one output) in inference mode, traced once for all batch sizes."""
    import tensorflow as tf

    traced = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)],
        jit_compile=False,  # depthwise steps are many times slower under XLA on a CPU
    )
    return lambda batch: traced(batch).numpy()
