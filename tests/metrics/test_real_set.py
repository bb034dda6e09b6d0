"""Copies of training images are found: exact, shifted, mirrored and slightly blurred ones, and new images are not."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ganzoo.data.images import ImageOptions, load_images
from ganzoo.errors import EvaluationError
from ganzoo.files.tensors import read_safetensors, write_arrays
from ganzoo.metrics import real_set, variants
from ganzoo.metrics.neighbours import nearest, nearest_of_variants, nearest_others
from ganzoo.metrics.networks.base import FeatureNetwork
from ganzoo.metrics.real_set import RealSet
from ganzoo.weights.preset_files import weights_file


@pytest.fixture(scope="module")
def digits():
    images = load_images("mnist5k", ImageOptions(32)).samples
    return images[np.random.default_rng(0).permutation(len(images))]


@pytest.fixture(scope="module")
def published():
    """The network and the reference that ship with the digits' entries."""
    return real_set.load(weights_file("image/dcgan_32").parent)


def over(published: RealSet, images: np.ndarray) -> RealSet:
    """Other images over the published network."""
    return RealSet(published.network, published.arrays, published.features_of(images), (32, 32), images)


def changed(images: np.ndarray) -> dict[str, tuple[np.ndarray, float]]:
    """Copies of each kind, and the share of them that must be found."""
    blurred = gaussian_filter(images.astype(np.float32), (0, 0.7, 0.7, 0), mode="nearest")
    return {
        "copies": (images, 0.9),
        "shifted": (np.roll(images, (2, -1), axis=(1, 2)), 0.9),
        "flipped": (images[:, :, ::-1], 0.9),
        "blurred": (np.rint(blurred).astype(np.uint8), 0.7),
    }


@pytest.fixture(scope="module", params=["each image once", "most images twice"])
def reals(request, published, digits, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANZOO_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(real_set, "_MOST", 256)
        trained = digits[:1_500]
        found = over(
            published, trained if request.param.startswith("each") else np.concatenate([trained, trained[:900]])
        )
        assert found.limit > 1.0
        yield found


@pytest.mark.parametrize("kind", ["copies", "shifted", "flipped", "blurred"])
def test_copies_are_close_however_slightly_they_were_changed(reals, digits, kind):
    samples, share = changed(digits[:64])[kind]
    assert reals.closest(samples).share >= share


def test_of_new_images_a_tenth_is_close(reals, digits):
    found = reals.closest(digits[1_500:1_800])
    assert len(found.close) == 256 and len(found.distances) == 300
    assert found.share == pytest.approx(0.1, abs=0.06)


@pytest.mark.parametrize("entry", ["dcgan_32", "wgan_gp_32"])
@pytest.mark.parametrize("kind", ["copies", "shifted", "flipped", "blurred"])
def test_published_references_of_digits_see_copies(digits, entry, kind):
    reals = real_set.load(weights_file(f"image/{entry}").parent)
    samples, share = changed(digits[:64])[kind]
    found = reals.closest(samples)
    assert found.share >= share and len(found.close) == 64
    if kind == "copies":
        np.testing.assert_allclose(found.distances, 0.0, atol=0.1)  # but for half precision


@pytest.mark.parametrize("entry", ["dcgan_32", "elastic_mobile_64", "projected_mobile_64", "wgan_gp_32"])
def test_every_published_reference_keeps_a_limit_that_tells_images_apart(entry):
    reals = real_set.load(weights_file(f"image/{entry}").parent)
    assert reals.with_variants and reals.limit > 50 * reals.tolerance
    others = nearest_others(reals.features, reals.tolerance)
    assert np.quantile(others, 0.01) < reals.limit <= np.quantile(others, 0.11)  # variants only bring images nearer


def test_the_published_reference_of_the_elastic_entry_is_that_of_the_projected_one():
    one, other = (
        read_safetensors(weights_file(f"image/{entry}").parent / real_set.FILE)
        for entry in ("projected_mobile_64", "elastic_mobile_64")
    )
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])


def means(images: np.ndarray) -> RealSet:
    """Real images over the mean colours of 4 x 4 cells of 16 x 16 images."""
    network = FeatureNetwork(
        "means", "plain", "none", 48, "here", "none", "1", None,
        lambda batch: batch.reshape(-1, 4, 4, 4, 4, 3).mean(axis=(2, 4)).reshape(-1, 48),
    )  # fmt: skip
    return RealSet(network, {}, network(images), (16, 16), images)


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 16, 16, 3)).astype(np.uint8)


def test_without_images_or_a_limit_equal_features_are_left_out(monkeypatch, tmp_path):
    """As in files that were written before limits were kept."""
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path))
    images = noise(200)
    doubled = means(np.concatenate([images, images[:120]]))
    old = RealSet(doubled.network, {}, doubled.features.astype(np.float16).astype(np.float32), (16, 16))
    assert not old.with_variants and old.limit > 1.0
    found = old.closest(images)
    assert found.share == 1.0 and len(found.close) == 200
    assert old.closest(noise(400, 1)).share == pytest.approx(0.1, abs=0.06)


def test_a_set_of_one_image_gives_no_limit(monkeypatch, tmp_path):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path))
    alike = means(np.repeat(noise(1), 30, axis=0))
    for reals in (alike, RealSet(alike.network, {}, alike.features, (16, 16))):
        with pytest.raises(EvaluationError, match=r"all alike.*Received: 30 images"):
            reals.closest(noise(4, 1))


def test_the_limit_is_kept_with_the_features_unless_the_variants_are_others(published, digits, tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path))
    monkeypatch.setattr(real_set, "_MOST", 32)
    reals = over(published, digits[:300])
    path = real_set.save(reals, tmp_path)
    kept = real_set.load(tmp_path)
    assert kept.limit == pytest.approx(reals.limit) and kept.with_variants
    assert kept.closest(digits[:40]).share == 1.0
    content = read_safetensors(path)
    write_arrays(path, content | {"limit_version": content["limit_version"] + 1})
    assert not real_set.load(tmp_path).with_variants
    write_arrays(path, {name: array for name, array in content.items() if not name.startswith("limit")})
    assert not real_set.load(tmp_path).with_variants


def test_the_limit_is_read_from_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path))
    images = noise(60)
    limit = means(images).limit
    monkeypatch.setattr(variants, "variants", None)  # nothing is compared again
    assert means(images).limit == limit
    next((tmp_path / "limits").glob("*.json")).write_text("{}")
    with pytest.raises(TypeError):
        means(images).limit  # noqa: B018


def test_variants_undo_shifts_mirroring_and_blur():
    smooth = gaussian_filter(noise(2).astype(np.float32), (0, 2.0, 2.0, 0), mode="nearest") * 3 - 256
    images = np.clip(smooth, 0, 255).astype(np.uint8)
    made = list(variants.variants(images))
    assert len(made) == 27 and all(one.shape == images.shape and one.dtype == np.uint8 for one in made)
    np.testing.assert_array_equal(made[0], images)
    np.testing.assert_array_equal(variants.shifted(images, 2, -1)[:, 2:, :-1], images[:, :-2, 1:])
    blurred = gaussian_filter(images.astype(np.float32), (0, 0.7, 0.7, 0), mode="nearest")
    sharp = variants.deblurred(np.rint(blurred).astype(np.uint8))
    before, after = (
        np.abs(one[:, 2:-2, 2:-2] - images[:, 2:-2, 2:-2].astype(float)).mean() for one in (blurred, sharp)
    )
    assert after < 0.5 * before
    flat = np.full((1, 16, 16, 3), 200, np.uint8)
    np.testing.assert_array_equal(variants.deblurred(flat), flat)


def test_nearest_by_hand():
    references = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 0.0], [10.0, 0.0]])
    distances, indices = nearest(references, np.array([[0.0, 1.0], [9.0, 0.0]]))
    assert distances.tolist() == [1.0, 1.0] and indices.tolist() == [0, 3]
    assert nearest_others(references).tolist() == [3.0, 3.0, 3.0, 7.0]
    assert nearest_others(references, tolerance=3.0).tolist() == [10.0, 7.0, 7.0, 7.0]
    assert np.isinf(nearest_others(references[1:3])).all()
    queries = np.array([[[0.0, 1.0], [9.0, 0.0]], [[3.0, 0.5], [50.0, 0.0]]])
    distances, indices = nearest_of_variants(references, queries)
    assert distances.tolist() == [0.5, 1.0] and indices.tolist() == [1, 3]
    distances, indices = nearest_of_variants(references, queries, but=references[[1, 3]])
    assert distances.tolist() == [1.0, 6.0] and indices[0] == 0
