import json
import re

import numpy as np
import pytest

from ganzoo.errors import EvaluationError
from ganzoo.files.cache import cache_dir
from ganzoo.metrics import scorecard as scorecard_module
from ganzoo.metrics.scorecard import Scorecard, compare, halves, network_scores

from .small_cards import card, images, network, over_network

LITE0 = {"backbone": "efficientnet_lite0", "family": "efficientnet_lite", "trained_on": "imagenet"}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path))


def test_sample_counts_floor_and_order():
    result = card()
    assert (result.protocol["samples"], result.protocol["reals"], result.fakes_given) == (40, 81, 60)
    assert card(max_samples=20).protocol["samples"] == 20
    assert card(images(30, 5)).protocol["samples"] == 30
    reordered = card(reals=images(81, 0)[::-1])
    assert reordered == result, "the order of the reals must play no part"


def test_a_worse_generator_scores_worse_and_a_perfect_one_about_the_floor():
    good, bad = card(), card(images(60, 5, low=150))
    assert bad.sliced_wasserstein["average"] > 2 * good.sliced_wasserstein["average"]
    assert bad.sliced_wasserstein_floor == good.sliced_wasserstein_floor
    assert bad.networks[0].scores["fid"] > 2 * good.networks[0].scores["fid"]
    assert good.networks[0].scores["fid"] < 4 * good.networks[0].floor["fid"]
    assert good.networks[0].floor == bad.networks[0].floor


def test_the_floor_is_told_for_several_splits():
    result = card()
    assert len(result.sliced_wasserstein_floors) == 3
    assert result.sliced_wasserstein_floors[0] == result.sliced_wasserstein_floor["average"]
    assert len(set(result.sliced_wasserstein_floors)) == 3 and min(result.sliced_wasserstein_floors) > 0
    assert "real vs real over 3 splits" in result.table()
    for path in cache_dir("floors").glob("*.json"):
        path.write_text("damaged")
    assert card() == result, "a damaged cache is made again"


def test_no_fid_where_the_covariance_is_singular():
    scores = card(networks=(network(cells=4),)).networks[0]
    assert scores.scores["fid"] is None and scores.floor["fid"] is None and "48" in scores.reasons["fid"]
    assert scores.scores["kid"] is not None


NEIGHBOURS = ("precision", "recall", "density", "coverage")


def test_neighbour_scores_of_few_samples_are_withheld_with_the_reason():
    few = over_network(images(249, 5), 249)
    assert [few.scores[name] for name in NEIGHBOURS] == [None] * 4 == [few.floor[name] for name in NEIGHBOURS]
    assert few.scores["fid"] is not None and few.scores["kid"] is not None
    for part in ("249 samples on each side", "250 (500 real images)"):
        assert part in few.reasons["recall"]
    enough = over_network(images(250, 5), 250)
    assert all(enough.scores[name] >= 0 for name in NEIGHBOURS) and not enough.reasons
    assert " ".join(card().table().split()).count("are too few") == 1, "one reason for all four"


def test_a_high_precision_without_recall_is_marked():
    alike = np.full((250, 16, 16, 3), 128, np.uint8) + np.arange(250, dtype=np.uint8)[:, None, None, None] % 3
    found = over_network(alike, 250)
    assert found.scores["precision"] > 0.5 and found.scores["recall"] < 0.1
    assert len(found.marks) == 1 and "flattering precision and density: with a recall of 0.0" in found.marks[0]
    assert over_network(images(250, 5), 250).marks == ()


def test_every_seed_compares_within_the_same_halves():
    """So that one network, fitted to half A, serves all: see test_evaluation.py for the commands."""
    reals = images(81, 0)
    sides = [halves(order) for order in (reals, reals[::-1])]
    for one, other in zip(*sides, strict=True):
        np.testing.assert_array_equal(one, other)
    _, half_a, half_b = sides[0]
    whole = [{image.tobytes() for image in half} for half in (half_a, half_b)]
    assert len(whole[0]) == len(whole[1]) == 40 and not whole[0] & whole[1]
    chosen = set()
    for seed in range(3):
        _, _, fitted_to, compared, others, _ = scorecard_module._split(reals, images(20, 5), None, seed)
        np.testing.assert_array_equal(fitted_to, half_a)
        found = [{image.tobytes() for image in some} for some in (compared, others)]
        assert found[0] < whole[0] and found[1] < whole[1]
        chosen.add(frozenset(found[0]))
    assert len(chosen) == 3


def test_marks():
    seen = (LITE0,)
    networks = (network("a"), network("b", "the evaluated data"), network("c", family="efficientnet_lite"))
    a, b, c = card(networks=networks, seen_by_discriminator=seen).networks
    assert len(a.marks) == 1 and "imagenet" in a.marks[0]
    assert b.marks == ()
    assert len(c.marks) == 2 and "efficientnet_lite0" in c.marks[0]
    own = {"backbone": "own.pth", "family": "unknown", "trained_on": "unknown"}
    a, b, _ = card(networks=networks, seen_by_discriminator=(own,)).networks
    assert len(a.marks) == 1 and "perhaps flattering: what own.pth" in a.marks[0] and b.marks == ()
    with pytest.raises(EvaluationError, match="trained_on"):
        card(seen_by_discriminator=({"backbone": "x", "family": "y"},))


def test_json_round_trip_and_table():
    result = card(seen_by_discriminator=(LITE0,))
    assert Scorecard.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    lines = result.table().splitlines()
    assert lines[1].startswith("sliced Wasserstein") and lines[2].split()[0] == "average"
    assert any("flattering" in line for line in lines) and "40 samples" in result.table()
    assert re.search(r"given: \d+ real and \d+ generated images\)", result.table())


def test_compare():
    good, bad = card(), card(images(60, 5, low=150))
    ratios = compare(good, bad)
    assert ratios["sliced_wasserstein"]["average"] > 2 and ratios["means"]["fid"] > 2
    assert set(compare(good, good)["sliced_wasserstein"].values()) == {1.0}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"seed": 1}, "seed"),
        ({"max_samples": 20}, "samples"),
        ({"networks": (network(cells=1),)}, r"networks\.means\.version"),
        ({"reals": images(81, 9)}, "real_sha256"),
    ],
)
def test_scores_under_different_protocols_are_refused(change, key):
    with pytest.raises(EvaluationError, match=key):
        compare(card(), card(**change))


def test_wrong_sets_are_refused():
    with pytest.raises(EvaluationError, match="same size"):
        card(np.zeros((20, 32, 32, 3), np.uint8))
    with pytest.raises(EvaluationError, match="6 generated images and twice as many real ones"):
        card(images(5, 5))
    with pytest.raises(EvaluationError, match="two subsamples or more"):
        card(images(200, 5), subsamples=1)
    with pytest.raises(EvaluationError, match="those of 11 samples do not have 5 neighbours"):
        card(images(11, 5), subsamples=4)


@pytest.mark.heavy
def test_deviations_are_those_that_new_samples_show():
    """Over halves without replacement: compare with the spread over independent draws of the same number."""
    told = card(images(300, 5, low=60), images(600, 0), subsamples=8)
    seeds = np.random.default_rng(3).integers(100, 2**30, 40)
    drawn = [network_scores(images(600, int(n) + 1), images(300, int(n), 60), [network()])["means"] for n in seeds]
    for name, deviation in told.networks[0].deviations.items():
        seen = np.std([scores[name] for scores in drawn], ddof=1)
        assert seen / 2.5 < deviation < 2.5 * seen, name
    assert told.sliced_wasserstein_deviation.keys() == told.sliced_wasserstein.keys()
    assert "standard deviations: " in told.table() and Scorecard.from_dict(told.to_dict()) == told
    assert not card().networks[0].deviations and "standard deviations" not in card().table()
