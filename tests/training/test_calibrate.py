import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle import load_bundle
from models.decision import calibrate
from training.calibrate import Calibration, choose_thresholds, fit_calibration, fit_whitening
from training.metrics import confusion


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("bias", [-2.0, 0.0, 1.0])
def test_the_line_behind_the_labels_is_found(temperature: float, bias: float) -> None:
    rng = np.random.default_rng(0)
    odds = rng.normal(0, 3, 40_000)
    labels = rng.random(40_000) < 1 / (1 + np.exp(-odds))
    fitted = fit_calibration((odds - bias) * temperature, labels.astype(float))
    assert fitted.temperature == pytest.approx(temperature, rel=0.05)
    assert fitted.bias == pytest.approx(bias, abs=0.1)
    np.testing.assert_allclose(fitted.probabilities((odds - bias) * temperature), 1 / (1 + np.exp(-odds)), atol=0.03)


def test_the_mean_probability_is_the_share_of_positives() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random(500) < 0.74).astype(float)
    logits = rng.normal(3 * labels - 4, 2)
    assert fit_calibration(logits, labels).probabilities(logits).mean() == pytest.approx(labels.mean(), abs=0.01)


def test_thresholds_are_fitted_on_the_probabilities_that_are_served() -> None:
    bundle = load_bundle("default")
    logits = np.linspace(-500, 500, 10_001)
    for column, finding in enumerate(bundle.findings):
        fitted = Calibration(finding.temperature, finding.bias).probabilities(logits)
        served = calibrate(bundle, np.repeat(logits[:, None], len(bundle.findings), axis=1))[:, column]
        np.testing.assert_array_equal(fitted, served)


@pytest.mark.parametrize("scale", [0.01, 1.0, 1000.0])
def test_a_perfect_separation_stays_finite(scale: float) -> None:
    fitted = fit_calibration(np.array([-4.0, -3.0, 4.0, 5.0]) * scale, np.array([0.0, 0.0, 1.0, 1.0]))
    assert np.isfinite([fitted.temperature, fitted.bias]).all()
    assert fitted.temperature > 0


def test_logits_that_say_the_opposite_are_refused() -> None:
    with pytest.raises(ValueError, match="learnt nothing"):
        fit_calibration(np.array([3.0, 2.0, -1.0, -2.0]), np.array([0.0, 0.0, 1.0, 1.0]))


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_operating_points_keep_their_promise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0.0, 1.0], rng.integers(0, 2, 80)])
    scores = np.clip(np.round(rng.normal(0.4 + 0.2 * labels, 0.2), 2), 0, 1)
    points = choose_thresholds(scores, labels)
    accuracies = [confusion(scores, labels, at).accuracy for at in np.linspace(-0.01, 1.01, 411)]
    assert confusion(scores, labels, points["accuracy"]).accuracy >= max(accuracies) - 1e-9
    assert confusion(scores, labels, points["sensitivity-95"]).recall >= 0.95
    assert confusion(scores, labels, points["specificity-95"]).specificity >= 0.95


def test_operating_points_need_both_classes() -> None:
    with pytest.raises(ValueError, match="positives and negatives"):
        choose_thresholds(np.array([0.1, 0.9]), np.array([1.0, 1.0]))


def test_whitening_gives_unit_covariance() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(5000, 4)) @ rng.normal(size=(4, 4)) + 3
    mean, whitening = fit_whitening(samples, shrinkage=0.0)
    np.testing.assert_allclose(np.cov((samples - mean) @ whitening, rowvar=False), np.eye(4), atol=1e-3)


def test_shrinkage_survives_dimensions_that_never_vary() -> None:
    samples = np.random.default_rng(0).normal(size=(50, 4)) * [1, 1, 1, 0]
    mean, whitening = fit_whitening(samples, shrinkage=0.1)
    assert np.isfinite(whitening).all()
    assert np.isfinite(mean).all()
