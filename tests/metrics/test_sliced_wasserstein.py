import numpy as np
import pytest
from scipy import ndimage

from ganzoo.errors import EvaluationError
from ganzoo.metrics.sliced_wasserstein import _laplacian, level_sizes, sliced_distances, sliced_wasserstein


def images(seed: int, count: int = 48, size: int = 32, channels: int = 3) -> np.ndarray:
    """Smooth random images with colours of their own."""
    generator = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(generator.standard_normal((count, size, size, channels)), (0, 2, 2, 0), mode="wrap")
    colours = generator.uniform(60, 200, (count, 1, 1, channels))
    return np.clip(colours + 150 * noise, 0, 255).astype(np.uint8)


def test_levels():
    assert [size[0] for size in level_sizes(64, 64)] == [64, 32, 16]
    assert level_sizes(28, 28) == [(28, 28), (14, 14)]
    assert list(sliced_wasserstein(images(0, 4, 28, 1), images(1, 4, 28, 1))) == ["28", "14", "average"]
    with pytest.raises(EvaluationError, match="14 pixels"):
        level_sizes(8, 8)


def test_the_fine_level_of_a_flat_or_sloping_image_is_empty():
    slope = np.broadcast_to(np.arange(32.0, dtype=np.float32)[None, :, None, None], (1, 32, 32, 1))
    assert np.abs(_laplacian(slope, 0, 2)[:, 4:-4, 4:-4]).max() < 1e-4
    assert np.abs(_laplacian(np.full((1, 31, 31, 1), 9.0, np.float32), 0, 2)[:, 4:-4, 4:-4]).max() < 1e-4


def test_identical_sets_have_no_distance_and_the_seed_decides():
    real, fake = images(0), images(1)
    assert set(sliced_wasserstein(real, real).values()) == {0.0}
    assert sliced_wasserstein(real, fake, seed=3) == sliced_wasserstein(real, fake, seed=3)
    assert sliced_wasserstein(real, fake, seed=3) != sliced_wasserstein(real, fake, seed=4)


def test_it_is_nearly_symmetric_for_sets_of_like_spread():
    forth, back = sliced_wasserstein(images(0), images(1)), sliced_wasserstein(images(1), images(0))
    assert forth["average"] == pytest.approx(back["average"], rel=0.1)


def test_a_shift_by_one_deviation_by_hand():
    # Patches of flat images are constants, so a shift of s deviations projects to s |sum of the direction's parts|.
    # For one channel that sum is normal with deviation 1 over unit directions: mean |.| = sqrt(2 / pi) = 0.798
    values = np.random.default_rng(0).integers(60, 120, 64).astype(np.uint8)
    real = np.broadcast_to(values[:, None, None, None], (64, 16, 16, 1)).copy()
    shift = 20
    expected = 1e3 * shift / values.std() * np.sqrt(2 / np.pi)
    assert sliced_wasserstein(real, real + np.uint8(shift))["16"] == pytest.approx(expected, rel=0.15)


def test_it_grows_with_distortion_and_shows_it_at_the_level_it_concerns():
    real, other = images(0), images(1)
    noise = np.random.default_rng(2).standard_normal(other.shape)
    distances = [
        sliced_wasserstein(real, np.clip(other + strength * noise, 0, 255).astype(np.uint8))["32"]
        for strength in (0, 4, 8, 16)
    ]
    assert distances == sorted(distances) and distances[-1] > 3 * distances[0]


def test_it_sees_a_collapse_of_colour_and_of_contrast():
    # Normalising each set by itself, as the paper's code does, would hide both.
    real, other = images(0), images(1)
    floor = sliced_wasserstein(real, other)
    grey = other.mean(axis=(1, 2), keepdims=True)
    one_colour = np.clip(other - grey + grey.mean(axis=0), 0, 255).astype(np.uint8)
    assert sliced_wasserstein(real, one_colour)["16"] > 2 * floor["16"]
    faint = (other * 0.5 + 64).astype(np.uint8)
    assert sliced_wasserstein(real, faint)["32"] > 2 * floor["32"]


def test_wrong_images_are_refused():
    with pytest.raises(EvaluationError, match="equally many"):
        sliced_wasserstein(images(0), images(0, 10))
    with pytest.raises(EvaluationError, match="uint8"):
        sliced_wasserstein(images(0), images(0).astype(np.float32))


def by_hand(real: np.ndarray, fake: np.ndarray, seed: int, directions: int = 512) -> dict[str, float]:
    """The distance as section 5 of Karras et al. 2018 describes it, in the plainest way: a 5x5 filter, loops, float64.

    Each set's patches get zero mean and unit deviation per channel. Only the draws are those of the protocol.
    """
    kernel = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256.0

    def blur(image):
        return np.stack([ndimage.convolve(image[:, :, c], kernel, mode="mirror") for c in range(image.shape[2])], 2)

    def double(image):
        spread = np.zeros((2 * image.shape[0], 2 * image.shape[1], image.shape[2]))
        spread[::2, ::2] = image
        return 4.0 * blur(spread)

    found, levels = {}, len(level_sizes(*real.shape[1:3]))
    maps = {"real": list(real.astype(np.float64)), "fake": list(fake.astype(np.float64))}
    for level in range(levels):
        size, clouds = maps["real"][0].shape[0], []
        for name, images_of_level in maps.items():
            smaller = [blur(image)[::2, ::2] for image in images_of_level]
            bands = images_of_level
            if level < levels - 1:
                bands = [image - double(small) for image, small in zip(images_of_level, smaller, strict=True)]
            maps[name] = smaller
            draws = np.random.default_rng([seed, level])
            tops = draws.integers(0, size - 6, (len(bands), 128))
            lefts = draws.integers(0, size - 6, (len(bands), 128))
            cut = [
                band[top : top + 7, left : left + 7]
                for band, rows, columns in zip(bands, tops, lefts, strict=True)
                for top, left in zip(rows, columns, strict=True)
            ]
            patches = np.array(cut)
            patches = (patches - patches.mean(axis=(0, 1, 2))) / patches.std(axis=(0, 1, 2))
            clouds.append(patches.reshape(len(patches), -1))
        axes = np.random.default_rng([seed, 1_000_000]).standard_normal((clouds[0].shape[1], directions))
        axes /= np.sqrt((axes**2).sum(axis=0))
        apart = [np.abs(np.sort(clouds[0] @ axis) - np.sort(clouds[1] @ axis)).mean() for axis in axes.T]
        found[str(size)] = 1000.0 * float(np.mean(apart))
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_the_normalisation_of_the_paper_agrees_with_an_independent_implementation(channels):
    real, fake = images(0, 12, channels=channels), images(1, 12, channels=channels)
    fake = (fake * 0.8 + 10).astype(np.uint8)
    expected = by_hand(real, fake, seed=2, directions=64)
    given = sliced_distances(real, fake, seed=2, directions=64).without_contrast
    assert {name: given[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert given["average"] == pytest.approx(np.mean(list(expected.values())), rel=1e-4)


def test_a_loss_of_contrast_is_told_from_other_errors():
    """Real images at contrast 0.7: a large distance with contrast, none without, and a variance ratio of 0.49."""
    real, other = images(0) // 2 * 2, images(1)
    grey = 128.0
    faint = np.rint((real - grey) * 0.7 + grey).astype(np.uint8)
    found = sliced_distances(real, faint)
    assert found.with_contrast["average"] > 10 * found.without_contrast["average"]
    assert found.without_contrast["average"] < 0.2 * sliced_distances(real, other).without_contrast["average"]
    assert found.variance_ratio["16"] == pytest.approx(0.49, rel=0.01)
    same = sliced_distances(real, real)
    assert same.without_contrast["average"] == 0.0 and set(same.variance_ratio.values()) == {1.0}
    assert found.with_contrast == sliced_wasserstein(real, faint)


def test_the_average_variance_ratio_is_the_geometric_mean():
    found = sliced_distances(images(0), images(1)).variance_ratio
    assert found["average"] == pytest.approx(np.sqrt(found["32"] * found["16"]))
