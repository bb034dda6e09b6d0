import numpy as np
import pytest

from ganzoo.metrics.frechet import frechet_distance
from ganzoo.metrics.kernel import kernel_distance
from ganzoo.metrics.margins import halves_of, intervals_over_fits, margins, margins_over_fits


def test_margins_by_hand():
    # Differences 1, 2, 3: deviation 1, times 4.3027, the 97.5% quantile of t with 2 degrees of freedom
    scores, floors = [{"kid": 2.0}, {"kid": 4.0}, {"kid": 6.0}], [{"kid": 1.0}, {"kid": 2.0}, {"kid": 3.0}]
    assert margins(scores, floors) == {"kid": pytest.approx(4.30265, rel=1e-5)}


def test_halves_are_drawn_without_replacement_and_by_the_seed():
    drawn = halves_of(21, 0)
    assert len(drawn) >= 8 and all(len(set(part)) == 10 and max(part) < 21 for half in drawn for part in half)
    assert any((one.real != other.real).any() for one, other in zip(drawn, halves_of(21, 1), strict=True))
    for one, other in zip(drawn, halves_of(21, 0), strict=True):
        np.testing.assert_array_equal(np.concatenate(one), np.concatenate(other))


@pytest.mark.parametrize("score", [kernel_distance, frechet_distance])
@pytest.mark.parametrize("count", [30, 120])
def test_real_images_are_told_from_real_images_in_few_of_many_draws(score, count):
    told = 0
    for seed in range(40):
        real, fake, other = np.random.default_rng(seed).standard_normal((3, count, 6))
        halves = halves_of(count, seed)
        scores = [{"score": score(real[half.real], fake[half.fake])} for half in halves]
        floors = [{"score": score(real[half.real], other[half.other])} for half in halves]
        told += abs(score(real, fake) - score(real, other)) > margins(scores, floors)["score"]
    assert told <= 5  # of 40; the nominal 5% are 2


def test_a_clear_difference_is_told():
    real, fake, other = np.random.default_rng(0).standard_normal((3, 200, 6))
    fake = fake + 0.5
    halves = halves_of(200, 0)
    scores = [{"kid": kernel_distance(real[half.real], fake[half.fake])} for half in halves]
    floors = [{"kid": kernel_distance(real[half.real], other[half.other])} for half in halves]
    assert kernel_distance(real, fake) - kernel_distance(real, other) > margins(scores, floors)["kid"]


def test_margins_over_fits_by_hand():
    # Mean margin 3; differences 1, 2, 3 of three fits: 4.30265 * 1 / sqrt(3) = 2.48414; together sqrt(9 + 6.1709)
    within, apart = [{"kid": 2.0}, {"kid": 3.0}, {"kid": 4.0}], [{"kid": 1.0}, {"kid": 2.0}, {"kid": 3.0}]
    for over_fits in (margins_over_fits, intervals_over_fits):
        assert over_fits(within, apart) == {"kid": pytest.approx(3.89499, rel=1e-5)}


def test_what_every_fit_tells_is_told_however_far_the_fits_are_apart():
    within = [{"kid": 1.0}, {"kid": 5.0}, {"kid": 300.0}]
    far = [{"kid": 10.0}, {"kid": 100.0}, {"kid": 1_000.0}]
    assert intervals_over_fits(within, far)["kid"] > 1_000
    assert margins_over_fits(within, far) == {
        "kid": pytest.approx(0.3 * 370)
    }  # 300 of 1,000 in the fit that tells least
    below = [{"kid": -one["kid"]} for one in far]
    assert margins_over_fits(within, below) == {"kid": pytest.approx(0.3 * 370)}
    for other in (0.5, -10.0):  # not told by one fit, or told on the other side
        joint = margins_over_fits(within, [{"kid": other}, *far[1:]])
        assert joint == intervals_over_fits(within, [{"kid": other}, *far[1:]]) and joint["kid"] > 370
