"""From what a model says to what is written down: scope, probability, decision and severity. Pure functions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle, FindingSpec, SeverityBands
from models.prediction import Prediction
from schemas.events import Decision, Severity

_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")  # value representation CS, PS3.5 section 6.2
_PRESENCE = (Decision.ABSENT, Decision.INDETERMINATE, Decision.PRESENT)


@dataclass(frozen=True, slots=True)
class ScopeVerdict:
    """Whether an image is one that the model may be asked about, and if not, why."""

    in_scope: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingDecision:
    """What is decided of one finding.

    Attributes:
        code: SNOMED CT concept id.
        name: plain name.
        probability: calibrated, 0 to 1.
        threshold: the operating point it was held against.
        decision: present, absent or indeterminate.
        severity: NONE when absent, UNKNOWN when indeterminate.
        area_share: share of the lungs that the explanation map marks.
    """

    code: str
    name: str
    probability: float
    threshold: float
    decision: Decision
    severity: Severity
    area_share: float


@dataclass(frozen=True, slots=True)
class Reading:
    """The decisions on one image; out of scope there are none, never a confident guess.

    Attributes:
        scope: whether the model was made for the image.
        findings: one per finding of the model.
        distance: of the image from the training images; None where the network was not asked.
        maps: `[findings, h, w]`, the explanation maps that the findings rest on.
        lungs: `[k * h, k * w]`, how likely each place is lung; None where the network was not asked.
    """

    scope: ScopeVerdict
    findings: tuple[FindingDecision, ...] = ()
    distance: float | None = None
    maps: NDArray[np.floating] | None = None
    lungs: NDArray[np.floating] | None = None


def in_scope(bundle: Bundle, modality: str | None, body_part: str | None) -> ScopeVerdict:
    """Judge an image by Modality and Body Part Examined; an absent value is unknown, not wrong."""
    for what, value, allowed in (
        ("modality", modality, bundle.scope.modalities),
        ("body part", body_part, bundle.scope.body_parts),
    ):
        code = (value or "").strip().upper()
        if code and code not in allowed:
            shown = code if _CODE_STRING.fullmatch(code) else "given"
            return ScopeVerdict(False, f"{what} {shown} is not one that {bundle.id} reads ({', '.join(allowed)})")
    return ScopeVerdict(True)


def pixels_in_scope(bundle: Bundle, pixels: NDArray[np.uint8]) -> ScopeVerdict:
    """Judge a model input `[size, size]`: a blank or nearly blank image is no radiograph."""
    deviation = float(pixels.std())
    if deviation < bundle.scope.min_std:
        return ScopeVerdict(
            False, f"the image is blank: its grey levels deviate by {deviation:.1f}, under {bundle.scope.min_std:g}"
        )
    return ScopeVerdict(True)


def screen(bundle: Bundle, pixels: NDArray[np.uint8], modality: str | None, body_part: str | None) -> ScopeVerdict:
    """All that can be said of an image's scope before the network is asked."""
    by_header = in_scope(bundle, modality, body_part)
    return pixels_in_scope(bundle, pixels) if by_header.in_scope else by_header


def calibrate(bundle: Bundle, logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn logits `[..., findings]` into calibrated probabilities."""
    temperatures = np.array([finding.temperature for finding in bundle.findings])
    biases = np.array([finding.bias for finding in bundle.findings])
    return calibrated(logits, temperatures, biases)


def calibrated(
    logits: NDArray[np.floating], temperatures: float | NDArray[np.float64], biases: float | NDArray[np.float64]
) -> NDArray[np.float64]:
    """Calibrated probabilities of logits, by which thresholds are fitted and served alike."""
    return logistic(np.asarray(logits, np.float64) / temperatures + biases)


def logistic(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities of log odds, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(log_odds / 2.0)))


def interpret(bundle: Bundle, prediction: Prediction, operating_point: str | None = None) -> list[Reading]:
    """What a prediction on n images means, image by image.

    Args:
        bundle: the model that predicted.
        prediction: its outputs.
        operating_point: as in `decide`.
    """
    probabilities = calibrate(bundle, prediction.logits)
    distances = bundle.scope.distance(prediction.embeddings)
    return [
        decide(bundle, probability, maps, lungs, float(distance), operating_point)
        for probability, maps, lungs, distance in zip(
            probabilities, prediction.maps, prediction.lungs, distances, strict=True
        )
    ]


def decide(
    bundle: Bundle,
    probabilities: NDArray[np.floating],
    maps: NDArray[np.floating],
    lungs: NDArray[np.floating],
    distance: float,
    operating_point: str | None = None,
) -> Reading:
    """Decide on every finding of one image.

    Args:
        bundle: the model.
        probabilities: `[findings]`, calibrated.
        maps: `[findings, h, w]`, non-negative explanation maps over the model's square.
        lungs: `[k * h, k * w]`, how likely each place of the square is lung, 0 to 1.
        distance: of the embedding from the training images (`Scope.distance`).
        operating_point: which of each finding's thresholds applies; the bundle's own choice if None.

    Raises:
        ValueError: the arrays are not of this bundle's findings, or hold values that are not finite.
    """
    count = len(bundle.findings)
    if probabilities.shape != (count,) or maps.ndim != 3 or maps.shape[0] != count or lungs.ndim != 2:
        raise ValueError(f"{count} findings do not fit shapes {probabilities.shape}, {maps.shape} and {lungs.shape}")
    if not all(np.isfinite(values).all() for values in (probabilities, maps, lungs, distance)):
        raise ValueError("the model's output is not finite")
    verdict = _recognised(bundle, float(lungs.mean()), distance)
    if not verdict.in_scope:
        return Reading(verdict, distance=distance, lungs=lungs)
    point, cells = operating_point or bundle.operating_point, lung_cells(lungs, maps.shape[1:])
    findings = [
        _decide_finding(finding, point, float(probability), area_share(values, finding.severity.map_level, cells))
        for finding, probability, values in zip(bundle.findings, probabilities, maps, strict=True)
    ]
    return Reading(verdict, _consistent(bundle, findings), distance, maps, lungs)


def in_words(finding: str, decision: str, probability: float, severity: str) -> str:
    """What is decided of a finding, in a line for people."""
    graded = f", {severity}" if decision == Decision.PRESENT else ""
    return f"{finding} {decision} {probability:.4f}{graded}"


def area_share(values: NDArray[np.floating], level: float, lungs: NDArray[np.floating]) -> float:
    """Share of the lungs `[h, w]` where a map `[h, w]` reaches `level`; 0 where there are no lungs."""
    whole = float(lungs.sum())
    return float(lungs[values >= level].sum()) / whole if whole > 0 else 0.0


def _recognised(bundle: Bundle, lungs: float, distance: float) -> ScopeVerdict:
    """Whether the network has seen what it was made for."""
    if lungs < bundle.scope.min_lungs:
        return ScopeVerdict(
            False, f"no lungs are found: {lungs:.1%} of the image, at least {bundle.scope.min_lungs:.1%} in a chest"
        )
    if distance > bundle.scope.max_distance:
        return ScopeVerdict(
            False, f"unlike the training images: distance {distance:.2f}, at most {bundle.scope.max_distance:.2f}"
        )
    return ScopeVerdict(True)


def lung_cells(lungs: NDArray[np.floating], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The mean of the lungs in each cell of an `[h, w]` grid that they are a multiple of."""
    height, width = shape
    rows, columns = lungs.shape[0] // height, lungs.shape[1] // width
    if lungs.shape != (height * rows, width * columns):
        raise ValueError(f"lungs {lungs.shape} are no multiple of maps {shape}")
    return np.asarray(lungs.reshape(height, rows, width, columns).mean(axis=(1, 3)), np.float64)


def _consistent(bundle: Bundle, findings: Sequence[FindingDecision]) -> tuple[FindingDecision, ...]:
    """A kind of a finding is never more present than the finding."""
    by_code = {finding.code: finding for finding in findings}
    return tuple(
        finding if spec.parent is None else _bounded(finding, by_code[spec.parent].decision)
        for spec, finding in zip(bundle.findings, findings, strict=True)
    )


def _bounded(finding: FindingDecision, most: Decision) -> FindingDecision:
    if _PRESENCE.index(finding.decision) <= _PRESENCE.index(most):
        return finding
    severity = Severity.NONE if most is Decision.ABSENT else Severity.UNKNOWN
    return replace(finding, decision=most, severity=severity)


def _decide_finding(finding: FindingSpec, operating_point: str, probability: float, share: float) -> FindingDecision:
    threshold = finding.thresholds[operating_point]
    decision = _decide_presence(probability, threshold, finding.indeterminate_margin)
    return FindingDecision(
        code=finding.code,
        name=finding.name,
        probability=probability,
        threshold=threshold,
        decision=decision,
        severity=_grade(decision, share, finding.severity),
        area_share=share,
    )


def _decide_presence(probability: float, threshold: float, margin: float) -> Decision:
    # In log odds, so that the band stays inside 0..1 however near to its ends the threshold lies.
    excess = _log_odds(probability) - _log_odds(threshold)
    if abs(excess) < margin:
        return Decision.INDETERMINATE
    return Decision.PRESENT if excess >= 0 else Decision.ABSENT


def _log_odds(probability: float) -> float:
    clipped = min(max(probability, 1e-12), 1 - 1e-12)
    return float(np.log(clipped / (1 - clipped)))


def _grade(decision: Decision, share: float, bands: SeverityBands) -> Severity:
    if decision is Decision.ABSENT:
        return Severity.NONE
    if decision is not Decision.PRESENT:
        return Severity.UNKNOWN
    if share >= bands.severe_from:
        return Severity.SEVERE
    return Severity.MODERATE if share >= bands.moderate_from else Severity.MILD
