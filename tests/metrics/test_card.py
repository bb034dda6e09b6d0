"""What a card says besides distances: contrast, lattices, degenerate sets, repeats, and what too few samples tell."""

import json

import numpy as np
import pytest

from ganzoo.data.images.duplicates import twins
from ganzoo.errors import EvaluationError
from ganzoo.metrics import diversity
from ganzoo.metrics import scorecard as scorecard_module
from ganzoo.metrics.card import ImageScores
from ganzoo.metrics.scorecard import Scorecard, compare

from .small_cards import card, images, network, over_network


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path))


@pytest.mark.parametrize("kind", ["repeated", "mean", "single mode", "ten images"])
def test_a_degenerate_set_is_marked(kind):
    made = np.random.default_rng(1)
    fakes = {
        "repeated": np.broadcast_to(images(1, 7), (250, 16, 16, 3)),
        "mean": np.full((250, 16, 16, 3), 127) + made.integers(0, 3, (250, 1, 1, 1)),
        "single mode": images(250, 5) // 6 + 90,
        "ten images": images(10, 7)[made.integers(0, 10, 250)],
    }[kind]
    found = over_network(fakes.astype(np.uint8), 250)
    assert max(found.scores["precision"], found.scores["density"], found.scores["coverage"]) > 0.5
    assert found.scores["recall"] < 0.5 * found.floor["recall"] and "with a recall of 0." in found.marks[0]
    assert "flattering " in found.marks[0]
    alike, few = found.repeats.spread < 0.5, found.repeats.near > 25
    assert few and alike == (kind != "ten images")
    assert len(found.marks) == 1 and ("vary" in found.marks[0]) == alike
    assert "near-identical to another one" in found.marks[0]


def test_a_good_set_has_no_marks():
    found = over_network(images(250, 5), 250)
    assert found.marks == () and found.repeats.spread == pytest.approx(1.0, abs=0.15)
    assert found.repeats.near <= 25 and found.repeats.near_reals <= 25
    assert found.repeats.spread_reals == pytest.approx(1.0, abs=0.15)


def test_repeats_are_counted_and_shown():
    fakes = images(60, 5)
    fakes[40:] = fakes[:20]
    result = card(fakes, reals=images(160, 0))
    assert (result.identical, result.identical_reals) == (20, 0)
    assert result.networks[0].repeats.near >= 40
    assert any(mark.startswith("repeats: ") for mark in result.networks[0].marks)
    assert "identical to another sample: 20 (of as many real images: 0)" in result.table()
    assert "near-identical samples" in result.table()


def test_twins_among_the_real_images_do_not_hide_repeats():
    """The limit is that of the distinct images, also where all of them have a twin."""
    distinct = network()(images(250, 0))
    twins = np.concatenate([distinct, distinct + np.float32(1e-5)])
    limit = diversity.near_limit(distinct)
    assert 0 < limit == pytest.approx(diversity.near_limit(twins), rel=0.01)
    assert diversity.near_identical(twins, limit) == 500 and diversity.near_identical(distinct, limit) <= 5
    assert diversity.near_limit(np.ones((9, 3))) is None and diversity.near_identical(twins, None) is None


def test_twins_are_in_the_same_set_of_every_floor():
    reals = np.repeat(images(30, 0), 2, axis=0)
    for one, other in scorecard_module._other_splits(reals, twins(reals), 25, 0):
        assert len(one) == len(other) == 25
        assert not {image.tobytes() for image in one} & {image.tobytes() for image in other}


def test_both_normalisations_and_the_variance_ratio_have_floors():
    faint = np.rint((images(60, 5) - 100.0) * 0.7 + 100.0).astype(np.uint8)
    result = card(faint)
    without, ratio = result.images[:2]
    assert (without.name, ratio.name) == ("sliced Wasserstein x1000, without contrast", "variance ratio")
    assert set(without.scores) == set(ratio.scores) == {"16", "average"}
    assert result.sliced_wasserstein["16"] > 2 * result.sliced_wasserstein_floor["16"]
    assert without.scores["16"] < 1.5 * max(without.floors["16"])
    assert ratio.scores["16"] == pytest.approx(0.49, abs=0.2) and ratio.floor["16"] == pytest.approx(1.0, abs=0.3)
    assert len(ratio.floors["average"]) == 3 and ratio.floors["16"][0] == ratio.floor["16"]
    text = result.table()
    for part in ("x1000, with contrast (no network)", "x1000, without contrast (no network)", "variance ratio (no"):
        assert part in text
    assert compare(result, result)["variance ratio"] == {"16": 1.0, "average": 1.0}


def test_a_lattice_is_on_the_card_with_its_floors():
    latticed = images(60, 5).astype(np.int64) + 20 * (np.arange(16) % 8 == 0)[None, None, :, None]
    plain, marked = card(), card(np.clip(latticed, 0, 255).astype(np.uint8))
    for before, after in zip(plain.images[2:], marked.images[2:], strict=True):
        assert after.floor == before.floor and all(len(floors) == 3 for floors in after.floors.values())
    power, uneven = marked.images[2:]
    assert set(power.scores) == {"period 2", "period 4", "period 8"} and set(uneven.scores) == {"columns", "rows"}
    assert power.scores["period 4"] > 1.3 > max(power.floors["period 4"])
    assert uneven.scores["columns"] > 3 * max(uneven.floors["columns"])
    assert "real vs real over 3 splits, period 8" in marked.table()


def test_scores_that_few_samples_do_not_tell_are_not_given_in_digits():
    """12 samples do not tell the KID of a brighter set from that of real images, 200 do. The JSON has all digits."""
    few, many = (card(images(200, 5, low=90), images(400, 0), max_samples=count) for count in (12, 200))
    assert not few.networks[0].told("kid") and many.networks[0].told("kid") and many.networks[0].told("fid")
    assert few.networks[0].scores["kid"] is not None and few.networks[0].shown()["kid"] == "too few to tell"
    row = next(line for line in few.table().splitlines() if line.startswith("  kid"))
    assert "too few to tell" in row and f"{few.networks[0].scores['kid']:.5g}" not in row
    assert f"{few.networks[0].floor['kid']:.5g}" in row
    assert "12 samples do not tell these scores from those of real images" in " ".join(few.table().split())
    assert "too few to tell" not in next(line for line in many.table().splitlines() if line.startswith("  kid"))
    assert set(many.sliced_wasserstein_margins) == set(many.sliced_wasserstein)
    assert all(set(image.margins) == set(image.scores) for image in many.images)


def test_as_good_as_real_images_is_not_told_at_any_number():
    result = card(images(600, 0)[300:], images(600, 0)[:300])
    assert sum(result.networks[0].told(name) for name in ("fid", "kid")) == 0
    assert sum(image.told(name) for image in result.without_network() for name in image.scores) <= 2


def test_the_number_of_samples_that_a_difference_needs_by_hand():
    scores = {
        "name": "x",
        "best": "1",
        "scores": {"a": 1.2, "b": 1.0, "c": 3.0},
        "floor": {"a": 1.0, "b": 1.0, "c": 1.0},
    }
    found = ImageScores(**scores, margins={"a": 0.4, "b": 0.4, "c": 0.4})
    assert [found.told(name) for name in "abc"] == [False, False, True]
    assert found.needed("a", 50) == 200 and found.needed("b", 50) is None  # twice as precise: four times as many
    assert found.shown() == {"a": "too few to tell", "b": "too few to tell", "c": 3.0}
    assert "about: a 200, b over 100,000" in found.too_few(50)
    assert ImageScores(**scores).told("a") and ImageScores(**scores).too_few(50) is None


def test_scores_over_several_fits_are_means_with_their_range(monkeypatch):
    def fitted(name, half, fit=0):
        return network(name, "the evaluated data", "own", cells=1 + fit)

    monkeypatch.setattr(scorecard_module, "feature_network", fitted)
    several, one = (card(networks=("self_supervised", "other"), fits=fits) for fits in (2, 1))
    own, other = several.networks
    singles = [card(networks=(network("x", cells=cells),)).networks[0] for cells in (1, 2)]
    kids = [single.scores["kid"] for single in singles]
    assert own.scores["kid"] == pytest.approx(np.mean(kids)) and own.range_over_fits("kid") == (min(kids), max(kids))
    assert own.floor["kid"] == pytest.approx(np.mean([single.floor["kid"] for single in singles]))
    assert own.margins["kid"] > np.mean([single.margins["kid"] for single in singles])
    assert [fit.seed for fit in own.fits] == [0, 1] and not other.fits and other.range_over_fits("kid") is None
    assert several.protocol["networks"]["self_supervised"]["fits"] == ["cells 1", "cells 2"]
    assert "fits" not in one.protocol["networks"]["self_supervised"] and not one.networks[0].fits
    assert "trained on the evaluated data, mean of 2 fits)" in several.table()
    assert Scorecard.from_dict(json.loads(json.dumps(several.to_dict()))) == several
    with pytest.raises(EvaluationError, match="fits 0"):
        card(networks=("self_supervised",), fits=0)


def test_every_score_has_its_interval_in_the_json_and_the_table(monkeypatch):
    monkeypatch.setattr(scorecard_module, "feature_network", lambda name, half, fit=0: network(name, cells=1 + fit))
    result = card(images(60, 5, low=150), images(120, 0), networks=("self_supervised",), fits=2)
    (own,) = result.networks
    assert set(own.intervals) == {name for name, score in own.scores.items() if score is not None}
    assert all(set(kind.intervals) == set(kind.scores) for kind in result.without_network())
    spread_of_fits = 12.7062 / np.sqrt(2) * np.std([fit.scores["kid"] for fit in own.fits], ddof=1)  # t, 1 degree
    assert own.intervals["kid"] > spread_of_fits, "fits count"
    row = next(line for line in result.table().splitlines() if line.startswith("  kid")).split()
    assert row == ["kid", *(f"{one:{form}}" for one, form in
                            ((own.scores["kid"], ".5g"), (own.intervals["kid"], ".2g"), (own.floor["kid"], ".5g"))),
                   "lower"]  # fmt: skip
    assert "over 2 fits: " in result.table() and max(map(len, result.table().splitlines())) <= 80


def test_twins_are_searched_once(monkeypatch):
    searched = []
    monkeypatch.setattr(scorecard_module, "twins", lambda real: searched.append(len(real)) or twins(real))
    card()
    assert searched == [81]


def test_cards_of_earlier_versions_are_read_and_compared():
    content = card().to_dict()
    for name in ("images", "identical", "identical_reals"):
        del content[name]
    del content["sliced_wasserstein_margins"], content["sliced_wasserstein_intervals"]
    for one in content["networks"]:
        del one["repeats"], one["margins"], one["fits"], one["intervals"]
    earlier = Scorecard.from_dict(content)
    assert earlier.images == () and "with contrast" in earlier.table()
    assert set(compare(earlier, card())) == {"sliced_wasserstein", "means"}
