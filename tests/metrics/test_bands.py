"""Bands of ratios between seeds, against numbers by hand."""

import math

import numpy as np
import pytest

from ganzoo.metrics import bands


def test_the_spread_is_pooled_over_all_recipes():
    # Logs 0, ln 4: squares 2 * (ln 2)^2 = 0.96091. Logs 0, 0, ln 8: 2/3 * (ln 8)^2 = 2.88272. Over 1 + 2 degrees.
    spread = bands.pooled([[1.0, 4.0], [1.0, 1.0, 8.0], [5.0], [-1.0, 3.0]])
    assert spread.degrees == 3 and spread.deviation == pytest.approx(math.sqrt((0.960906 + 2.882718) / 3), rel=1e-6)
    plain = bands.pooled([[1.0, 3.0], [0.0, -4.0]], logarithmic=False)  # squares 2 and 8
    assert plain == (pytest.approx(math.sqrt(5)), 2)
    assert bands.pooled([[1.0], [2.0]]) == (0.0, 0)


def test_a_band_is_that_of_student_s_distribution():
    spread = bands.Spread(0.2, 10)
    # t(0.975, 10) = 2.2281; 2.2281 * 0.2 * sqrt(1/2 + 1/2) = 0.44562, and exp of it 1.56146.
    band = bands.compared([2.0, 8.0], [8.0, 8.0], spread)
    assert band.value == pytest.approx(0.5) and band.is_ratio and band.shown
    assert (band.low, band.high) == (pytest.approx(0.5 / 1.56146, rel=1e-4), pytest.approx(0.5 * 1.56146, rel=1e-4))
    # One seed to two: sqrt(1 + 1/2) = 1.22474, so 0.54577.
    assert bands.half_width(spread, (1, 2)) == pytest.approx(0.54577, rel=1e-4)
    # Five ratios in a table: t(1 - 0.05 / 10, 10) = 3.1693.
    assert bands.half_width(spread, (2, 2), 5) == pytest.approx(3.1693 * 0.2, rel=1e-4)


def test_a_band_that_holds_1_shows_no_difference():
    spread = bands.Spread(0.2, 10)
    assert not bands.compared([1.5, 1.5], [1.0, 1.0], spread).shown  # the factor is 1.561
    assert bands.compared([1.6, 1.6], [1.0, 1.0], spread).shown
    assert not bands.compared([1.6, 1.6], [1.0, 1.0], spread, comparisons=2).shown
    assert not bands.compared([100.0], [1.0], bands.Spread(0.0, 0)).shown  # nothing has two seeds


def test_scores_near_0_are_compared_by_their_difference():
    wide = bands.Spread(0.2, 10)
    for mine, floor in (([-0.001, 0.003], 0.0), ([0.001, 0.003], 0.002)):
        band = bands.compared(mine, [0.010, 0.012], wide, floor=floor)
        assert not band.is_ratio and band.value == pytest.approx(np.mean(mine) - 0.011)
    # Squares 2 * 0.002^2 and 2 * 0.001^2 over 2 degrees: 0.0022361; t(0.975, 2) = 4.3027: half is 0.0096211.
    band = bands.compared([-0.001, 0.003], [0.010, 0.012], wide)
    assert band.high - band.value == pytest.approx(0.0096211, rel=1e-4) and band.shown
    assert bands.compared([-0.001], [0.010], wide) == (pytest.approx(-0.011), None, None, False)
    assert bands.compared([0.004, 0.003], [0.010, 0.012], wide, floor=0.002).is_ratio


def test_few_bands_exclude_1_where_nothing_differs():
    random, missed = np.random.default_rng(0), 0
    for _ in range(300):
        tables = np.exp(random.normal(0, 0.15, (12, 2)))
        spread = bands.pooled(tables)
        missed += any(bands.compared(row, tables[0], spread, 11).shown for row in tables[1:])
    assert missed <= 0.07 * 300  # 5%, and what chance adds
