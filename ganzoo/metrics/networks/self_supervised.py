"""A feature network that never saw ImageNet: a small one fitted to the real images alone, by a fixed recipe.

It learns by SimCLR (Chen et al. 2020, "A simple framework for contrastive learning of visual representations",
https://arxiv.org/abs/2002.05709): two views of an image must be closer to each other than to the views of all others.

loss = mean over views i of -log(exp(z_i . z_j / T) / sum over k != i of exp(z_i . z_k / T)),  j the other view of i

Views differ by a crop and a slight change of brightness, contrast and saturation. There is no flip, no change of hue
and no grey, so that the features go on seeing handedness and colour.

Features are the means over positions of the two deepest stages, turned to their 64 strongest principal axes on the
images the network was fitted to, and divided by the deviations there (whitened). Unwhitened, a few axes of overall
colour outweighed every change of shape; and fewer features need fewer samples.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Mapping

import numpy as np

from ganzoo import progress
from ganzoo.errors import EvaluationError, WeightsError
from ganzoo.files.cache import cache_dir
from ganzoo.files.tensors import read_safetensors, write_arrays
from ganzoo.files.writing import keep
from ganzoo.metrics.arrays import check_images, content_hash
from ganzoo.metrics.networks.base import OF_NOTHING, OF_THE_DATA, FeatureNetwork, frozen_function

logger = logging.getLogger(__name__)

_VIEWS_OF_A_SEED = 1_000_000


@dataclasses.dataclass(frozen=True)
class Recipe:
    """The whole recipe. Any change of a field, or of `revision`, makes another version."""

    revision: int = 1  # of the code below
    widths: tuple[int, ...] = (32, 64, 96, 128, 128, 128, 128)  # channels by stage; each halves the size, down to 4
    projection: int = 64
    features: int = 64  # principal axes that are kept; fewer where there are fewer than 4 images for each
    batch: int = 128  # fewer where images exceed 64x64, so that a step costs the same
    epochs: int = 40
    steps: tuple[int, int] = (60, 300)  # at least, at most
    learning_rate: float = 1e-3
    temperature: float = 0.2
    smallest_crop: float = 0.7  # of the side
    jitter: float = 0.15
    seed: int = 0

    @property
    def version(self) -> str:
        """A name that changes with the recipe."""
        return f"simclr-{self.revision}-{hashlib.sha256(repr(self).encode()).hexdigest()[:8]}"

    def batch_for(self, count: int, height: int, width: int) -> int:
        """Images of a step: no more than there are."""
        return min(count, int(np.clip(self.batch * 64 * 64 // (height * width), 16, self.batch)))

    def steps_for(self, count: int, batch: int) -> int:
        """Steps of the fit."""
        return int(np.clip(self.epochs * count // batch, *self.steps))


def fitted_network(real: np.ndarray, recipe: Recipe | None = None) -> FeatureNetwork:
    """The feature network fitted to `real` (uint8 N x H x W x 1 or 3, N >= 4), from the cache where it is there.

    A fit takes up to two minutes on two cores. The cache's key is the content of `real` and the recipe. All commands
    fit it to the same half of the real images, see `ganzoo.metrics.scorecard.halves`.
    """
    return fitted(real, recipe)[0]


def fitted(real: np.ndarray, recipe: Recipe | None = None) -> tuple[FeatureNetwork, dict[str, np.ndarray]]:
    """What `fitted_network` gives, and of what `network_of` makes it again.

    The arrays are `weight_0` and so on, `mean`, `whitening`, and `version` (text as uint8).
    """
    real = _checked(real)
    recipe = recipe or Recipe()
    version = f"{recipe.version}, fitted to {content_hash(real)[:16]}"
    path = cache_dir("networks") / f"{version.replace(', fitted to ', '-')}.safetensors"
    model, head = build_models(real.shape[1], real.shape[2], recipe)
    arrays = _read(path, model)
    if arrays is None:
        _fit(model, head, real, recipe)
        arrays = {f"weight_{index}": np.asarray(weight) for index, weight in enumerate(model.get_weights())}
        arrays["mean"], arrays["whitening"] = _whitening(frozen_function(model), real, recipe)
        _write(path, arrays)
    arrays |= {"version": np.frombuffer(version.encode(), np.uint8)}
    return _network(model, arrays), arrays


def random_network(real: np.ndarray) -> FeatureNetwork:
    """The network as it is before any fit: a control of what the fit adds.

    The weights are those with which the fit of seed 0 starts. The features are whitened on `real`, as those of a fit.
    """
    real = _checked(real)
    recipe = Recipe()
    model, _ = build_models(real.shape[1], real.shape[2], recipe)
    arrays = {f"weight_{index}": np.asarray(weight) for index, weight in enumerate(model.get_weights())}
    arrays["mean"], arrays["whitening"] = _whitening(frozen_function(model), real, recipe)
    version = f"random weights of {recipe.version}, whitened on {content_hash(real)[:16]}"
    arrays["version"] = np.frombuffer(version.encode(), np.uint8)
    network = _network(model, arrays)
    return dataclasses.replace(
        network, name="random", family="random", trained_on=OF_NOTHING, source="random weights", licence="none"
    )


def _checked(real: np.ndarray) -> np.ndarray:
    real = check_images(real, "real")
    if len(real) < 4 or min(real.shape[1:3]) < 8:
        raise EvaluationError(
            f"A self-supervised network needs 4 images or more, of 8 pixels or more a side. Received: {real.shape}."
        )
    return real


def network_of(arrays: Mapping[str, np.ndarray], height: int, width: int) -> FeatureNetwork:
    """The network of the arrays that `fitted` gave; raises `ValueError` where they are of another size of images."""
    model, _ = build_models(height, width, Recipe())
    return _network(model, arrays)


def _network(model, arrays: Mapping[str, np.ndarray]) -> FeatureNetwork:
    model.set_weights([arrays[f"weight_{index}"] for index in range(len(model.weights))])
    raw = frozen_function(model)
    return FeatureNetwork(
        name="self_supervised",
        family="self_supervised",
        trained_on=OF_THE_DATA,
        dim=arrays["whitening"].shape[1],
        source="fitted to the real images",
        licence="that of the data",
        version=arrays["version"].tobytes().decode(),
        input_size=None,
        function=lambda batch: (raw(batch) - arrays["mean"]) @ arrays["whitening"],
    )


def build_models(height: int, width: int, recipe: Recipe):
    """The network (float32 B x H x W x 3 in 0..255 to features) and the head that only the fit uses."""
    import keras

    layers = keras.layers
    seeds = iter(range(recipe.seed * 1000, recipe.seed * 1000 + 1000))

    def start():
        return keras.initializers.HeNormal(seed=next(seeds))

    images = keras.Input((height, width, 3), dtype="float32", name="images")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="scaled")(images)
    means = []
    for stage, channels in enumerate(recipe.widths):
        if stage and min(x.shape[1:3]) <= 4:
            break
        name = f"stage{stage}"
        options = {"padding": "same", "kernel_initializer": start(), "dtype": "float32", "name": name}
        x = layers.Conv2D(channels, 3, 2, **options)(x)
        x = layers.LeakyReLU(0.1, dtype="float32", name=f"{name}_relu")(x)
        means.append(layers.GlobalAveragePooling2D(dtype="float32", name=f"{name}_mean")(x))
    features = layers.Concatenate(dtype="float32", name="features")(means[-2:]) if means[1:] else means[0]
    model = keras.Model(images, features, name="self_supervised")

    inputs = keras.Input((features.shape[-1],), dtype="float32", name="features")
    hidden = layers.Dense(128, "relu", kernel_initializer=start(), dtype="float32", name="hidden")(inputs)
    outputs = layers.Dense(recipe.projection, kernel_initializer=start(), dtype="float32", name="projection")(hidden)
    return model, keras.Model(inputs, outputs, name="projection_head")


def _fit(model, head, real: np.ndarray, recipe: Recipe) -> None:
    import keras
    import tensorflow as tf

    batch = recipe.batch_for(*real.shape[:3])
    steps = recipe.steps_for(len(real), batch)
    rate = keras.optimizers.schedules.CosineDecay(recipe.learning_rate, steps)
    optimizer = keras.optimizers.Adam(rate)
    variables = [*model.trainable_variables, *head.trainable_variables]
    optimizer.build(variables)

    @tf.function(reduce_retracing=True)
    def step(images, seed):
        views = tf.concat([_view(images, seed * 2, recipe), _view(images, seed * 2 + 1, recipe)], axis=0)
        with tf.GradientTape() as tape:
            loss = _contrastive_loss(head(model(views, training=True), training=True), recipe.temperature)
        optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    generator = np.random.default_rng(recipe.seed)
    order = np.empty(0, np.int64)
    for index in progress.each(range(steps), "Fitting the feature network"):
        if len(order) < batch:  # a batch never holds an image twice: it would be its own negative
            order = generator.permutation(len(real))
        chosen, order = order[:batch], order[batch:]
        images = np.broadcast_to(real[chosen], (batch, *real.shape[1:3], 3)).astype(np.float32)
        loss = step(tf.constant(images), tf.constant(index + _VIEWS_OF_A_SEED * recipe.seed))
    if not np.isfinite(float(loss)):
        raise EvaluationError(
            "The feature network of the scores diverged on these images. Check the data: `ganzoo data DATA`."
        )
    logger.debug("The last loss of the feature network is %.3f.", float(loss))


def _view(images, seed, recipe: Recipe):
    """A random crop, resized back, and a slight change of contrast, saturation and brightness; 0..255."""
    import tensorflow as tf

    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]

    def uniform(purpose, low, high):
        return tf.random.stateless_uniform((count, 1), tf.stack([seed, purpose]), low, high)

    side = uniform(0, recipe.smallest_crop, 1.0)
    top, left = uniform(1, 0.0, 1.0) * (1.0 - side), uniform(2, 0.0, 1.0) * (1.0 - side)
    boxes = tf.concat([top, left, top + side, left + side], axis=1)
    views = tf.image.crop_and_resize(images, boxes, tf.range(count), (height, width))

    def factor(purpose):
        return uniform(purpose, 1.0 - recipe.jitter, 1.0 + recipe.jitter)[:, :, None, None]

    mean = tf.reduce_mean(views, axis=(1, 2, 3), keepdims=True)
    views = (views - mean) * factor(3) + mean
    grey = tf.reduce_mean(views, axis=3, keepdims=True)
    views = (views - grey) * factor(4) + grey
    return tf.clip_by_value(views + 255.0 * (factor(5) - 1.0), 0.0, 255.0)


def _contrastive_loss(projections, temperature: float):
    import tensorflow as tf

    z = tf.math.l2_normalize(projections, axis=1)
    count = tf.shape(z)[0]
    similarity = tf.matmul(z, z, transpose_b=True) / temperature - 1e9 * tf.eye(count)
    other = tf.roll(tf.range(count), count // 2, axis=0)
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(other, similarity))


def _whitening(function, real: np.ndarray, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """The mean (D,) of the features of `real`, and the matrix (D, K) that turns and scales them to unit covariance."""
    images = np.broadcast_to(real, (*real.shape[:3], 3))
    features = [function(images[i : i + 64].astype(np.float32)) for i in range(0, len(images), 64)]
    features = np.concatenate(features).astype(np.float64)
    mean = features.mean(axis=0)
    _, deviations, axes = np.linalg.svd(features - mean, full_matrices=False)
    deviations = deviations / np.sqrt(len(real) - 1)
    kept = max(1, min(recipe.features, len(real) // 4, int(np.sum(deviations > 1e-4 * deviations[0]))))
    signs = np.sign(axes[np.arange(kept), np.abs(axes[:kept]).argmax(axis=1)])  # an axis has no sign of its own
    whitening = (axes[:kept] * signs[:, None] / np.maximum(deviations[:kept, None], 1e-12)).T
    return mean.astype(np.float32), whitening.astype(np.float32)


def _write(path, arrays: dict[str, np.ndarray]) -> None:
    keep(path, lambda: write_arrays(path, arrays))


def _read(path, model) -> dict[str, np.ndarray] | None:
    """The cached arrays, or None where there are none or they are damaged (then they are made again)."""
    if not path.exists():
        return None
    try:
        arrays = read_safetensors(path)
    except WeightsError as error:
        logger.warning("The cached network %s is damaged (%s) and is fitted again.", path, error)
        return None
    features = model.output_shape[-1]
    expected = {f"weight_{index}": tuple(weight.shape) for index, weight in enumerate(model.weights)}
    expected |= {"mean": (features,), "whitening": (features, arrays.get("whitening", np.empty((0, 0))).shape[-1])}
    return arrays if {name: array.shape for name, array in arrays.items()} == expected else None
