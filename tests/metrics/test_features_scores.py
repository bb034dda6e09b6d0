"""Scores over feature arrays: closed forms, and numbers recorded from independent implementations."""

import json

import numpy as np
import pytest

from ganzoo.errors import EvaluationError
from ganzoo.metrics.frechet import frechet_distance, frechet_from_statistics
from ganzoo.metrics.kernel import kernel_distance
from ganzoo.metrics.neighbours import density_coverage, precision_recall
from tests.metrics.record_reference import REFERENCE, features


@pytest.fixture(scope="module")
def reference() -> dict:
    return json.loads(REFERENCE.read_text())


def test_the_features_are_those_of_the_record(reference):
    np.testing.assert_allclose([array.sum() for array in features()], reference["checksum"], rtol=1e-12)


def test_frechet_agrees_with_three_implementations(reference):
    for recorded in reference["fid"].values():
        assert frechet_distance(*features()) == pytest.approx(recorded, rel=1e-6)


def test_kernel_distance_agrees(reference):
    real, fake = features()
    count = reference["kid"]["samples"]
    assert kernel_distance(real[:count], fake[:count]) == pytest.approx(reference["kid"]["torch-fidelity"], rel=1e-9)


@pytest.mark.parametrize("neighbours", [3, 5])
def test_neighbour_scores_agree(reference, neighbours):
    ours = precision_recall(*features(), neighbours) | density_coverage(*features(), neighbours)
    assert ours == pytest.approx(reference["prdc"][str(neighbours)], abs=1e-12)


def test_frechet_of_two_known_gaussians():
    # Covariances that commute: trace(C1 + C2 - 2 (C1 C2)^(1/2)) = sum of (s1 - s2)^2 over the deviations
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))
    deviations1, deviations2 = np.array([1, 2, 3, 0.5, 0, 1.0]), np.array([2, 2, 1, 0, 0, 0.1])
    means = np.zeros(6), np.arange(6.0)
    covariances = [rotation @ np.diag(s**2) @ rotation.T for s in (deviations1, deviations2)]
    expected = np.sum((means[0] - means[1]) ** 2) + np.sum((deviations1 - deviations2) ** 2)
    assert frechet_from_statistics(means[0], covariances[0], means[1], covariances[1]) == pytest.approx(expected)


def test_frechet_of_gaussians_in_two_dimensions_that_do_not_commute():
    # For 2x2: trace((C1 C2)^(1/2)) = sqrt(trace(C1 C2) + 2 sqrt(det C1 det C2))
    cov1, cov2 = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.8], [-0.8, 3.0]])
    root = np.sqrt(np.trace(cov1 @ cov2) + 2 * np.sqrt(np.linalg.det(cov1) * np.linalg.det(cov2)))
    expected = 1.0 + np.trace(cov1 + cov2) - 2 * root
    assert frechet_from_statistics([0, 0], cov1, [1, 0], cov2) == pytest.approx(expected, rel=1e-10)


def test_frechet_of_samples_approaches_the_closed_form():
    generator = np.random.default_rng(0)
    deviations1, deviations2 = np.array([1.0, 2.0, 0.5]), np.array([1.5, 1.0, 0.5])
    real = generator.standard_normal((60_000, 3)) * deviations1
    fake = generator.standard_normal((60_000, 3)) * deviations2 + 1.0
    assert frechet_distance(real, fake) == pytest.approx(3.0 + np.sum((deviations1 - deviations2) ** 2), rel=0.02)


def test_frechet_is_zero_for_the_same_samples_even_where_covariances_are_singular():
    samples = np.random.default_rng(0).standard_normal((10, 64))
    assert frechet_distance(samples, samples) == pytest.approx(0.0, abs=1e-5)


def test_kernel_distance_by_hand():
    # D = 1: k(x, y) = (x y + 1)^3. Reals 0 and 1: k(0, 1) = 1. Fakes 1 and 2: k(1, 2) = 27. Across: 1, 1, 8, 27.
    assert kernel_distance([[0.0], [1.0]], [[1.0], [2.0]]) == pytest.approx(1 + 27 - 2 * (1 + 1 + 8 + 27) / 4)


def test_kernel_distance_is_unbiased():
    generator = np.random.default_rng(0)
    estimates = [kernel_distance(*generator.standard_normal((2, 50, 4))) for _ in range(200)]
    assert abs(np.mean(estimates)) < 3 * np.std(estimates) / np.sqrt(200)


def test_blocks_change_nothing(monkeypatch):
    real, fake = features()
    whole = kernel_distance(real, fake), precision_recall(real, fake), density_coverage(real, fake)
    monkeypatch.setattr("ganzoo.metrics.kernel._BLOCK", 37)
    monkeypatch.setattr("ganzoo.metrics.neighbours._BLOCK", 37)
    assert kernel_distance(real, fake) == pytest.approx(whole[0])
    assert (precision_recall(real, fake), density_coverage(real, fake)) == whole[1:]


def test_neighbour_scores_tell_collapse_from_blur():
    generator = np.random.default_rng(0)
    real = generator.standard_normal((500, 8))
    collapsed = real[:5].repeat(100, axis=0) + 0.01 * generator.standard_normal((500, 8))
    assert precision_recall(real, collapsed)["precision"] > 0.9
    assert precision_recall(real, collapsed)["recall"] < 0.1
    assert density_coverage(real, collapsed)["coverage"] < 0.3


@pytest.mark.parametrize("score", [frechet_distance, kernel_distance, precision_recall, density_coverage])
def test_wrong_features_are_refused(score):
    good = np.zeros((10, 3))
    with pytest.raises(EvaluationError, match="as many dimensions"):
        score(good, np.zeros((10, 4)))
    with pytest.raises(EvaluationError, match="NaN or Inf"):
        score(good, np.full((10, 3), np.nan))
    with pytest.raises(EvaluationError, match="samples"):
        score(good, good[:1])
