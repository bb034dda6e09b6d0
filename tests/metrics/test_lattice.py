import numpy as np
import pytest
from scipy import ndimage

from ganzoo.data.images import builtin
from ganzoo.metrics.lattice import gradient_scores, regularity, spectrum_scores
from ganzoo.metrics.sliced_wasserstein import sliced_distances

SIZE = 64


def scenes(seed: int, count: int = 300, size: int = SIZE) -> np.ndarray:
    """Discs of random place, size and colour on a random colour, slightly blurred: edges and plain parts."""
    draws = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size]
    images = np.empty((count, size, size, 3), np.float32)
    images[:] = draws.uniform(40, 215, (count, 1, 1, 3))
    for _ in range(3):
        place, radius = draws.uniform(0, size, (2, count, 1, 1)), draws.uniform(4, size / 4, (count, 1, 1))
        inside = (rows - place[0]) ** 2 + (columns - place[1]) ** 2 < radius**2
        images = np.where(inside[..., None], draws.uniform(40, 215, (count, 1, 1, 3)).astype(np.float32), images)
    images = ndimage.gaussian_filter(images, (0, 0.7, 0.7, 0)) + draws.normal(0, 1, images.shape)
    return np.clip(images, 0, 255).astype(np.uint8)


REAL, OTHER = scenes(0), scenes(1)
AT = np.arange(SIZE)


def with_lattice(period: int, amplitude: float = 8.0, kind: str = "waves") -> np.ndarray:
    wave = np.cos(2 * np.pi * AT / period)
    pattern = {
        "waves": np.broadcast_to(wave, (SIZE, SIZE)),
        "checkerboard": wave[:, None] * wave,
        "lines": ((AT % period == 0)[:, None] | (AT % period == 0)).astype(float),
    }[kind]
    return np.clip(np.rint(OTHER + amplitude * pattern[None, :, :, None]), 0, 255).astype(np.uint8)


def scores(fake: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    real, made = regularity(REAL), regularity(fake)
    return spectrum_scores(real, made), gradient_scores(real, made)


def test_other_real_images_are_near_the_best():
    power, uneven = scores(OTHER)
    assert all(0.85 < ratio < 1.15 for ratio in power.values())
    assert max(uneven.values()) < 5.0


@pytest.mark.parametrize("kind", ["waves", "checkerboard", "lines"])
@pytest.mark.parametrize("period", [2, 4, 8])
def test_a_lattice_of_amplitude_8_is_seen_at_its_period(period, kind):
    power, uneven = scores(with_lattice(period, kind=kind))
    floor, even = scores(OTHER)
    assert power[f"period {period}"] > 1.5
    if (period, kind) in ((8, "waves"), (8, "lines"), (4, "lines")):  # the others change all columns alike
        assert uneven["columns"] > 2 * even["columns"]
    if kind == "waves":
        assert all(power[f"period {other}"] < 1.3 * floor[f"period {other}"] for other in (2, 4, 8) if other > period)
        assert uneven["rows"] < even["rows"] + 2


def test_a_lattice_is_seen_where_the_sliced_wasserstein_distance_hardly_changes():
    digits = builtin.digits()[0].reshape(-1, 28, 28, 1)
    digits = digits[np.random.default_rng(0).permutation(len(digits))[:600]]
    real, other = digits[:300], digits[300:]
    wave = 8 * np.cos(np.pi * np.arange(28) / 4)[None, None, :, None]
    latticed = np.clip(np.rint(other + wave), 0, 255).astype(np.uint8)
    distances = [sliced_distances(real, fake, directions=64).without_contrast["average"] for fake in (other, latticed)]
    assert distances[1] < 1.25 * distances[0]
    before, after = (regularity(fake) for fake in (other, latticed))
    assert spectrum_scores(regularity(real), before)["period 8"] == pytest.approx(1.0, abs=0.05)
    assert spectrum_scores(regularity(real), after)["period 8"] > 1.4
    uneven = [gradient_scores(regularity(real), found)["columns"] for found in (before, after)]
    assert uneven[1] > 2.5 * uneven[0]


def test_a_lattice_whose_sign_changes_between_images_is_seen_in_the_spectrum():
    signs = np.random.default_rng(2).choice([-8, 8], (len(OTHER), 1, 1, 1))
    wave = np.cos(np.pi * AT / 2)[None, None, :, None]
    power, _ = scores(np.clip(np.rint(OTHER + signs * wave), 0, 255).astype(np.uint8))
    assert power["period 4"] > 1.5


def test_neither_contrast_nor_noise_is_taken_for_a_lattice():
    faint = np.rint((OTHER - 128.0) * 0.7 + 128.0).astype(np.uint8)
    noisy = np.clip(OTHER + np.random.default_rng(3).normal(0, 4, OTHER.shape), 0, 255).astype(np.uint8)
    for changed in (faint, noisy):
        power, uneven = scores(changed)
        assert all(0.75 < ratio < 1.25 for ratio in power.values()) and max(uneven.values()) < 8.0


def test_the_peak_by_hand():
    # A row of 16 pixels of 100 + 8 cos(pi c): at period 2 the power is (16 * 8)^2, elsewhere 0 (the noise: 16)
    row = 100 + 8 * np.cos(np.pi * np.arange(16))
    image = np.broadcast_to(row[None, None, :, None], (1, 16, 16, 1)).astype(np.uint8)
    peaks = regularity(image).peaks[0]
    assert peaks[0] == pytest.approx(0.5 * np.log((128.0**2 + 16) / 16), rel=1e-5)  # half: along columns there is none
    assert peaks[1:] == pytest.approx([0.0, 0.0], abs=1e-5)


def test_the_unevenness_by_hand():
    # |gradient| is 1 at every column, and 3 at those that are 3 modulo 8. The mean is 1.25 (column 3 is one of 8);
    # less the mean over neighbours the profile is 1.75 at 3 and -0.25 elsewhere: its root mean square is 0.6614
    steps = np.where(np.arange(64) % 8 == 3, 3, 1) * np.where(np.arange(64) % 2, 1, -1)
    row = 100 + np.cumsum(np.r_[0, steps])  # 65 pixels, 64 gradients
    even = 100 + np.cumsum(np.r_[0, np.where(np.arange(64) % 2, 1, -1)])
    first, second = (np.broadcast_to(one[None, None, :, None], (1, 24, 65, 1)).astype(np.uint8) for one in (row, even))
    found = gradient_scores(regularity(second), regularity(first))
    assert found["columns"] == pytest.approx(100 * 0.6614 / 1.25, rel=0.02) and found["rows"] == 0.0


@pytest.mark.parametrize("shape", [(14, 14, 1), (28, 28, 1), (20, 35, 3)])
def test_images_of_any_size_have_scores(shape):
    some = np.random.default_rng(0).integers(0, 256, (5, *shape), dtype=np.uint8)
    found = regularity(some)
    assert found.peaks.shape == (5, 3) and np.isfinite(found.peaks).all()
    assert set(spectrum_scores(found, found).values()) == {1.0}
    assert set(gradient_scores(found, found).values()) == {0.0}
