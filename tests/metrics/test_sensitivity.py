"""Damages by hand, what a verdict says, and that scores become worse with damage."""

import json
from pathlib import Path

import numpy as np
import pytest

from ganzoo.commands.bench_scores import Plan, bench_scores
from ganzoo.data.images.builtin import digits
from ganzoo.errors import DataError, RecipeError
from ganzoo.metrics.frechet import frechet_distance, frechet_from_statistics
from ganzoo.metrics.judge import Judge, OverFeatures, Remembered, best_of, over_fits
from ganzoo.metrics.margins import halves_of
from ganzoo.metrics.sensitivity import (
    DAMAGES,
    Measured,
    Pool,
    Unsuitable,
    blurred,
    faint,
    latticed,
    modes_of,
    noisy,
    repeated,
    shuffled_tiles,
    swapped_channels,
    verdict,
    with_copies,
    without_modes,
)
from ganzoo.metrics.spread import spread_at, summary

from .small_cards import images, network


def pool(count: int = 40) -> Pool:
    made = images(2 * count, 0)
    return Pool(made, count, images(count, 50), np.arange(2 * count) % 10)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.name)
def test_strength_0_changes_nothing_and_others_do(damage):
    given = pool()
    before = given.images.copy()
    np.testing.assert_array_equal(damage(given, 0.0), given.images[:40])
    made = [damage(given, strength) for strength in damage.strengths[1:3]]
    for one in made:
        assert one.shape == (40, 16, 16, 3) and one.dtype == np.uint8
        np.testing.assert_array_equal(damage(given, damage.strengths[1]), made[0], "the same again")
        assert np.any(one != given.images[:40])
    assert np.any(made[0] != made[1]) and list(damage.strengths) == sorted(set(damage.strengths))
    np.testing.assert_array_equal(given.images, before, "what was given stays")


def test_a_blur_and_a_lost_contrast_by_hand():
    point = np.zeros((1, 9, 9, 1), np.uint8)
    point[0, 4, 4] = 255
    spread = blurred(point, 1.0)[0, :, :, 0]
    assert spread[4, 4] == 41 == round(255 / (2 * np.pi) * 1.0006)  # the kernel's middle, cut at 4 deviations
    np.testing.assert_array_equal(spread, spread.T)
    pair = np.array([[[[100], [200]]]], np.uint8)
    assert faint(pair, 0.4).ravel().tolist() == [120, 180]


def test_noise_and_lattice_by_hand():
    grey = np.full((50, 16, 16, 1), 128, np.uint8)
    assert noisy(grey, 8.0).std() == pytest.approx(8.0, rel=0.03)
    assert latticed(grey[:1], 3.0, 2)[0, :2, :4, 0].tolist() == [[131, 125, 131, 125], [125, 131, 125, 131]]
    assert latticed(grey[:1], 3.0, 8)[0, 0, :, 0].tolist() == [131] * 4 + [125] * 4 + [131] * 4 + [125] * 4
    assert latticed(np.zeros((1, 8, 8, 1), np.uint8), 3.0, 2).min() == 0, "values stay in range"


def test_tiles_change_places_and_nothing_else():
    one = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
    moved = shuffled_tiles(np.repeat(one, 30, axis=0), 2)
    corners = {tuple(moved[index, ::2, ::2, 0].ravel()) for index in range(30)}
    assert len(corners) > 5 and all(sorted(found) == [0, 2, 8, 10] for found in corners)
    assert all(sorted(image.ravel()) == list(range(16)) for image in moved)
    assert moved[0, 0, 1, 0] == moved[0, 0, 0, 0] + 1, "tiles are whole"
    with pytest.raises(Unsuitable, match="4 x 4 pixels cannot be divided into 3 x 3"):
        shuffled_tiles(one, 3)


def test_channels_are_swapped_and_grey_images_inverted():
    colours = np.array([[[[10, 20, 30]]]], np.uint8)
    assert swapped_channels(colours, 1.0).ravel().tolist() == [30, 10, 20]
    grey = np.full((4, 2, 2, 3), 50, np.uint8)
    assert sorted(swapped_channels(grey, 0.5)[:, 0, 0, 0].tolist()) == [50, 50, 205, 205]


def test_repeats_and_copies_have_the_share_that_was_asked_for():
    given, training = images(40, 0), images(40, 50)
    for share, distinct in ((0.1, 36), (0.5, 20), (1.0, 1)):
        assert len({one.tobytes() for one in repeated(given, share)}) == distinct
        copied = {one.tobytes() for one in with_copies(given, training, share)} & {one.tobytes() for one in training}
        assert len(copied) == round(40 * share)


def test_modes_are_left_out_until_too_few_images_are_left():
    given, modes = images(100, 0), np.arange(100) % 10
    kept = without_modes(given, modes, 60, 0.3)
    assert len(kept) == 60
    names = {modes[int(np.flatnonzero((given == one).all(axis=(1, 2, 3)))[0])] for one in kept}
    assert len(names) == 7
    with pytest.raises(Unsuitable, match="only 20 of the 60 images"):
        without_modes(given, modes, 60, 0.8)
    colours = np.repeat(np.arange(10, dtype=np.uint8) * 25, 20)[:, None, None, None] + np.zeros((1, 8, 8, 3), np.uint8)
    clusters = modes_of(colours, None)
    assert len(set(clusters)) == 10 and all(len(set(clusters[20 * i : 20 * i + 20])) == 1 for i in range(10))
    np.testing.assert_array_equal(modes_of(colours, np.ones(200)), np.ones(200))


def test_verdicts_by_hand():
    def judged(values, best="lower", margin=1.0, interval=0.5):
        return verdict((0, 1, 2, 3), [Measured(value, 10.0, margin, interval) for value in values], best)

    assert judged([10.2, 10.8, 12, 15]) == (2, None, True, pytest.approx(1.0))
    assert judged([10, 12, 15, 14.6])[:3] == (1, None, True), "within the interval"
    assert judged([10, 12, 15, 14.4])[:3] == (1, None, False)
    assert judged([10, 9.5, 8, 7])[:3] == (None, 2, None)
    assert judged([10, 9, 8, 7], "higher")[:3] == (2, None, True)
    assert judged([10, 8, 10, 12.5], "1")[:3] == (1, None, False)
    assert judged([10, 10, 10, 10]) == (None, None, None, None)
    assert judged([13, 10, 10, 10])[0] is None, "what is told of untouched images is no damage that is seen"


@pytest.mark.parametrize("name", ["blur", "noise", "contrast", "shuffled tiles", "modes left out", "lattice 8"])
def test_scores_become_worse_with_damage(name):
    """On real digits, over plain features: what is told is worse at each strength, and the strongest is told."""
    found, labels = digits()
    order = np.random.default_rng(0).permutation(len(found))
    reals = np.pad(found[order][..., None], ((0, 0), (2, 2), (2, 2), (0, 0)))
    features = Remembered(network(cells=8))
    halved = halves_of(250, 0)
    judge = OverFeatures(features(reals[:250]), features(reals[250:500]), halved)
    given = Pool(reals[500:2_000], 250, reals[:250], labels[order][500:2_000])
    damage = next(one for one in DAMAGES if one.name == name)
    rows = [judge.measure(features(damage(given, strength))) for strength in damage.strengths]
    seen = verdict(damage.strengths, [row["kid"] for row in rows], "lower")
    assert seen.seen_from is not None and seen.monotone and seen.flatters_from is None and seen.rank > 0.85


def test_features_of_the_same_image_are_computed_once():
    asked = []
    plain = network()

    class Counted(type(plain)):
        def __call__(self, given):
            asked.append(len(given))
            return super().__call__(given)

    features = Remembered(Counted(**{key: getattr(plain, key) for key in plain.__dataclass_fields__}))
    given = images(20, 0)
    one, other = features(given), features(np.concatenate([given[10:], given[:5], given[:5]]))
    assert asked == [20]
    np.testing.assert_array_equal(other, one[[*range(10, 20), *range(5), *range(5)]])


def test_a_judge_scores_as_a_scorecard_does():
    """Over networks, with the margins and intervals of a card with the same halves."""
    from ganzoo.metrics import scorecard as scorecard_module

    reals, fakes = images(500, 0), images(250, 5, low=60)
    halved = halves_of(250, 0)
    card = scorecard_module._network_scores(network(), reals[:250], reals[250:], fakes, (), (), halved)
    judge = Judge(reals[:250], reals[250:], {"means": [Remembered(network())]}, None)
    found = judge.scores(fakes)
    for score, value in card.scores.items():
        one = found[f"means: {score}"]
        assert tuple(one) == pytest.approx((value, card.floor[score], card.margins[score], card.intervals[score]))
    assert found["means: near-identical"].value == card.repeats.near / 250
    assert {best_of(score) for score in found} == {"lower", "higher", "1"}
    fits = over_fits([{"kid": Measured(1.0, 0.0, 3.0, 2.0), "near-identical": Measured(0, 0, 0.1, 0)}] * 3)
    assert fits["kid"] == pytest.approx((1.0, 0.0, 3.0, 2.0))


def test_the_frechet_distance_of_few_samples_is_that_of_their_statistics():
    made = np.random.default_rng(0)
    for real_count, fake_count in ((40, 40), (20, 150), (100, 90)):
        real, fake = made.standard_normal((real_count, 64)), 1.5 * made.standard_normal((fake_count, 64)) + 0.3
        moments = [part for one in (real, fake) for part in (one.mean(axis=0), np.cov(one, rowvar=False))]
        assert frechet_distance(real, fake) == pytest.approx(frechet_from_statistics(*moments), rel=1e-7)  # roots of 0
    assert frechet_distance(real, real) == pytest.approx(0.0, abs=1e-9)


def test_the_spread_over_draws_by_hand():
    drawn = [[value, 1.0, 2.0, 4.0] for value in (1.0, 3.0, 5.0)]  # deviation 2
    found = summary({"all": drawn, "latents": [1.0, 2.0, 3.0]})
    assert (found["mean"], found["all"], found["latents"], found["range"]) == (3.0, 2.0, 1.0, pytest.approx(3.92))
    assert found["interval_ratio"] == pytest.approx(4 / 3.92) and found["margin_ratio"] == pytest.approx(2 / 3.92)
    assert found["told"] == pytest.approx(1 / 3)  # 5 - 1 alone is above the margin of 2
    of_fits = summary({"all": drawn, "fits": [1.0, 4.0, 7.0]})  # deviation 3; of a mean over three sqrt(3)
    assert (of_fits["fits"], of_fits["all"]) == (3.0, pytest.approx(7**0.5))
    reals = images(120, 0)
    networks = {"means": [Remembered(network(cells=1)), Remembered(network(cells=2))]}
    both = spread_at(reals, np.stack([images(40, seed) for seed in (5, 6, 7)]), networks, 40, 3)
    assert {kind: len(rows) for kind, rows in both["means: kid"].items()} == {
        "all": 3,
        "latents": 3,
        "splits": 3,
        "fits": 2,
    }
    assert set(both["means: kid"]) == {"all", "latents", "splits", "fits"} and "fits" not in both["variance ratio"]
    alone = spread_at(reals, None, networks, 40, 3)
    assert set(alone["means: kid"]) == {"all"} and alone.keys() == both.keys()


SMALL = Plan(samples=50, fits=1, draws=2, counts=(50,), networks=("random",))


@pytest.mark.heavy
def test_the_command_measures_continues_and_refuses(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "out"
    first = bench_scores(out, damages=["blur"], plan=SMALL)
    assert list(first["sets"]["digits"]["damages"]) == ["blur"]
    assert first["sets"]["digits"]["damages"]["blur"]["verdicts"]["variance ratio"]["seen_from"] == 0.5
    before = (out / "results.json").read_bytes()
    assert bench_scores(out, damages=["blur"], plan=SMALL) == first and (out / "results.json").read_bytes() == before
    both = bench_scores(out, damages=["copies"], plan=SMALL)
    assert list(both["sets"]["digits"]["damages"]) == ["blur", "copies"]
    assert both["sets"]["digits"]["damages"]["copies"]["verdicts"]["close to training images"]["seen_from"] <= 0.5
    text = (out / "results.md").read_text()
    assert "## Sensitivity: digits" in text and "## Spread: digits, samples of `image/wgan_gp_32`" in text
    assert (out / "damages_digits.png").stat().st_size > 10_000
    with pytest.raises(RecipeError, match=r"other conditions \(plan\). Name another --out"):
        bench_scores(out, plan=SMALL._replace(samples=60))


def test_the_command_refuses_what_it_does_not_know(tmp_path):
    with pytest.raises(RecipeError, match=r"Unknown damage 'blurr'. Did you mean 'blur'"):
        bench_scores(tmp_path, damages=["blurr"])
    with pytest.raises(RecipeError, match="source is given for mine, but no data"):
        bench_scores(tmp_path, sources={"mine": "image/dcgan_32"})
    with pytest.raises(DataError, match=r"needs 200 different images or more. Received: 60"):
        bench_scores(tmp_path / "few", {"few": images(60, 0)}, sources={"few": "image/dcgan_32"})


@pytest.fixture(scope="module")
def committed():
    path = Path(__file__).parents[1] / "benchmarks/scores_study.json"
    return json.loads(path.read_text(encoding="utf-8"))["sets"]


@pytest.mark.parametrize("name", ["digits", "emoji"])
def test_in_the_committed_study_a_score_sees_every_damage_and_its_ranks_rise(committed, name):
    found = committed[name]
    assert list(found["damages"]) == [damage.name for damage in DAMAGES]
    for kind, damage in found["damages"].items():
        good = [score for score, one in damage["verdicts"].items() if one["seen_from"] is not None and one["monotone"]]
        assert good, f"no score sees {kind} and becomes worse with it"
    assert not any(Measured(*row).told for row in found["untouched"].values())


def test_in_the_committed_study_the_page_says_what_is_so(committed):
    def seen(name, damage, score):
        return committed[name]["damages"][damage]["verdicts"][score]

    for name in committed:
        copies = committed[name]["damages"]["copies"]["verdicts"]
        assert copies["close to training images"]["seen_from"] == 0.25
        for damage in ("blur", "noise", "contrast"):
            assert seen(name, damage, "close to training images")["flatters_from"] is not None
        assert seen(name, "repeats", "identical samples")["seen_from"] == 0.1
        assert seen(name, "swapped channels", "self_supervised: kid")["seen_from"] != 0.1
        assert seen(name, "swapped channels", "self_supervised: fid")["seen_from"] == 0.1
        for period in (2, 4, 8):
            assert seen(name, f"lattice {period}", f"lattice power, period {period}")["seen_from"] == 2
    assert seen("emoji", "copies", "self_supervised: fid")["flatters_from"] == 1
    assert seen("emoji", "contrast", "squeezenet: precision")["flatters_from"] is not None
