from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.bundle import Bundle
from models.decision import area_share, calibrate, decide, in_scope, pixels_in_scope
from schemas.events import Decision, Severity

LUNGS = np.full((16, 16), 0.5)
QUIET = np.zeros((2, 8, 8))


def only(bundle: Bundle, probability: float, values: np.ndarray = QUIET[0], point: str = "accuracy"):
    probabilities = np.array([probability, 0.0])
    maps = np.stack([values, QUIET[0]])
    return decide(bundle, probabilities, maps, LUNGS, 1.0, point).findings[0]


@pytest.mark.parametrize(
    ("modality", "body_part", "expected"),
    [
        ("CR", "CHEST", True),
        ("dx ", " chest", True),
        ("DX", None, True),
        ("CR", "", True),
        (None, None, True),
        ("CT", None, False),
        ("CT", "CHEST", False),
        ("CR", "EXTREMITY", False),
    ],
)
def test_scope_by_header(bundle: Bundle, modality: str | None, body_part: str | None, expected: bool) -> None:
    verdict = in_scope(bundle, modality, body_part)
    assert verdict.in_scope is expected
    assert (verdict.reason is None) is expected


def test_the_reason_names_what_is_wrong_but_no_free_text(bundle: Bundle) -> None:
    assert "modality CT" in str(in_scope(bundle, "CT", None).reason)
    assert "body part HAND" in str(in_scope(bundle, "CR", "hand").reason)
    assert "SMITH" not in str(in_scope(bundle, "CR", "Smith^John, 1970-01-01").reason).upper()


def test_blank_pixels_are_out_of_scope(bundle: Bundle) -> None:
    blank = np.full((64, 64), 90, np.uint8)
    assert "blank" in str(pixels_in_scope(bundle, blank).reason)
    blank[:, ::2] = 200
    assert pixels_in_scope(bundle, blank).in_scope


def test_distance_leaves_no_finding(bundle: Bundle) -> None:
    reading = decide(bundle, np.array([0.99, 0.99]), QUIET, LUNGS, 1.51)
    assert not reading.scope.in_scope
    assert reading.findings == ()
    assert "1.51" in str(reading.scope.reason)
    assert len(decide(bundle, np.array([0.99, 0.99]), QUIET, LUNGS, 1.5).findings) == 2


@pytest.mark.parametrize(
    ("probability", "decision", "severity"),
    [
        (0.99, Decision.PRESENT, Severity.MILD),
        (0.575, Decision.PRESENT, Severity.MILD),
        (0.57, Decision.INDETERMINATE, Severity.UNKNOWN),
        (0.5, Decision.INDETERMINATE, Severity.UNKNOWN),
        (0.43, Decision.INDETERMINATE, Severity.UNKNOWN),
        (0.425, Decision.ABSENT, Severity.NONE),
        (0.0, Decision.ABSENT, Severity.NONE),
        (1.0, Decision.PRESENT, Severity.MILD),
    ],
)
def test_decision_by_threshold_and_band(
    bundle: Bundle, probability: float, decision: Decision, severity: Severity
) -> None:
    finding = only(bundle, probability)
    assert (finding.decision, finding.severity) == (decision, severity)


def test_without_a_band_the_threshold_itself_is_present(bundle: Bundle) -> None:
    reading = decide(bundle, np.array([0.0, 0.5]), QUIET, LUNGS, 0.0)
    assert reading.findings[1].decision is Decision.PRESENT


def test_a_low_threshold_still_leaves_room_below_it(bundle: Bundle) -> None:
    assert only(bundle, 0.01, point="sensitivity-95").decision is Decision.ABSENT
    assert only(bundle, 0.02, point="sensitivity-95").decision is Decision.INDETERMINATE
    assert only(bundle, 0.05, point="sensitivity-95").threshold == 0.02


@pytest.mark.parametrize(
    ("rows", "severity"), [(0, Severity.MILD), (1, Severity.MODERATE), (2, Severity.SEVERE), (4, Severity.SEVERE)]
)
def test_severity_counts_only_the_lungs(bundle: Bundle, rows: int, severity: Severity) -> None:
    values = np.zeros((8, 8))
    values[:2] = 9.0  # above the lungs
    values[2 : 2 + rows] = 1.0
    lungs = np.zeros((16, 16))
    lungs[4:12] = 0.9
    reading = decide(bundle, np.array([0.9, 0.0]), np.stack([values, QUIET[0]]), lungs, 0.0)
    assert reading.findings[0].area_share == pytest.approx(rows / 4)
    assert reading.findings[0].severity is severity


def test_without_lungs_there_is_no_finding(bundle: Bundle) -> None:
    reading = decide(bundle, np.array([0.99, 0.99]), QUIET, LUNGS * 0.09, 0.0)
    assert not reading.scope.in_scope
    assert "no lungs" in str(reading.scope.reason)
    assert reading.findings == ()


@pytest.mark.parametrize(
    ("parent", "child", "decision", "severity"),
    [
        (0.99, 0.99, Decision.PRESENT, Severity.MILD),
        (0.99, 0.01, Decision.ABSENT, Severity.NONE),
        (0.5, 0.99, Decision.INDETERMINATE, Severity.UNKNOWN),
        (0.01, 0.99, Decision.ABSENT, Severity.NONE),
    ],
)
def test_a_kind_of_a_finding_is_never_more_present_than_it(
    bundle: Bundle, parent: float, child: float, decision: Decision, severity: Severity
) -> None:
    kind = replace(bundle.findings[1], parent=bundle.findings[0].code)
    family = replace(bundle, findings=(bundle.findings[0], kind))
    finding = decide(family, np.array([parent, child]), QUIET, LUNGS, 0.0).findings[1]
    assert (finding.decision, finding.severity) == (decision, severity)
    assert finding.probability == child


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_higher_probability_never_weakens_the_decision(bundle: Bundle, low: float, high: float) -> None:
    order = [Decision.ABSENT, Decision.INDETERMINATE, Decision.PRESENT]
    low, high = sorted((low, high))
    assert order.index(only(bundle, low).decision) <= order.index(only(bundle, high).decision)


@given(level=st.floats(0, 5), seed=st.integers(0, 99))
def test_area_share_is_a_share(level: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert 0 <= area_share(rng.uniform(0, 5, (5, 7)), level, rng.uniform(0, 1, (5, 7))) <= 1
    assert area_share(rng.uniform(0, 5, (5, 7)), level, np.zeros((5, 7))) == 0.0


def test_calibration_scales_and_shifts_each_logit(bundle: Bundle) -> None:
    probabilities = calibrate(bundle, np.array([[2.0, 2.0], [0.0, -1000.0]], np.float32))
    np.testing.assert_allclose(probabilities, [[1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-3))], [0.5, 0.0]])


def test_the_wrong_shapes_and_numbers_are_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="2 findings"):
        decide(bundle, np.array([0.5]), QUIET, LUNGS, 0.0)
    with pytest.raises(ValueError, match="not finite"):
        decide(bundle, np.array([0.5, np.nan]), QUIET, LUNGS, 0.0)
    with pytest.raises(ValueError, match="not finite"):
        decide(bundle, np.array([0.5, 0.5]), QUIET, LUNGS, float("nan"))
    with pytest.raises(ValueError, match="no multiple"):
        decide(bundle, np.array([0.5, 0.5]), QUIET, np.ones((9, 9)), 0.0)
