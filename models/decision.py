"""From what a model says to what is written down: scope, probability, decision and severity. Pure functions."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle, FindingSpec, SeverityBands
from models.geometry import Geometry
from models.prediction import Prediction
from schemas.events import Decision, Severity

_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")  # value representation CS, PS3.5 section 6.2


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
        area_share: share of the image (padding left out) that the explanation map marks.
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
    """

    scope: ScopeVerdict
    findings: tuple[FindingDecision, ...] = ()
    distance: float | None = None
    maps: NDArray[np.floating] | None = None


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


def interpret(
    bundle: Bundle, prediction: Prediction, geometries: Sequence[Geometry], operating_point: str | None = None
) -> list[Reading]:
    """What a prediction on n images means, image by image.

    Args:
        bundle: the model that predicted.
        prediction: its outputs.
        geometries: n, where in its square each image lies.
        operating_point: as in `decide`.
    """
    probabilities = calibrate(bundle, prediction.logits)
    distances = bundle.scope.distance(prediction.embeddings)
    return [
        decide(bundle, probability, maps, float(distance), geometry, operating_point)
        for probability, maps, distance, geometry in zip(
            probabilities, prediction.maps, distances, geometries, strict=True
        )
    ]


def decide(
    bundle: Bundle,
    probabilities: NDArray[np.floating],
    maps: NDArray[np.floating],
    distance: float,
    geometry: Geometry,
    operating_point: str | None = None,
) -> Reading:
    """Decide on every finding of one image.

    Args:
        bundle: the model.
        probabilities: `[findings]`, calibrated.
        maps: `[findings, h, w]`, non-negative explanation maps over the model's square.
        distance: of the embedding from the training images (`Scope.distance`).
        geometry: where in the square the image lies.
        operating_point: which of each finding's thresholds applies; the bundle's own choice if None.

    Raises:
        ValueError: the arrays are not of this bundle's findings, or hold values that are not finite.
    """
    count = len(bundle.findings)
    if probabilities.shape != (count,) or maps.ndim != 3 or maps.shape[0] != count:
        raise ValueError(f"{count} findings do not fit shapes {probabilities.shape} and {maps.shape}")
    if not (np.isfinite(probabilities).all() and np.isfinite(maps).all() and np.isfinite(distance)):
        raise ValueError("the model's output is not finite")
    if distance > bundle.scope.max_distance:
        reason = f"unlike the training images: distance {distance:.2f}, at most {bundle.scope.max_distance:.2f}"
        return Reading(ScopeVerdict(False, reason), distance=distance)
    return Reading(
        ScopeVerdict(True),
        tuple(
            _decide_finding(finding, operating_point or bundle.operating_point, float(probability), values, geometry)
            for finding, probability, values in zip(bundle.findings, probabilities, maps, strict=True)
        ),
        distance,
        maps,
    )


def area_share(values: NDArray[np.floating], level: float, geometry: Geometry) -> float:
    """Share of the image content under a map `[h, w]` where the map reaches `level`."""
    content = geometry.content_share(*values.shape)
    return float(content[values >= level].sum() / content.sum())


def _decide_finding(
    finding: FindingSpec,
    operating_point: str,
    probability: float,
    values: NDArray[np.floating],
    geometry: Geometry,
) -> FindingDecision:
    threshold = finding.thresholds[operating_point]
    decision = _decide_presence(probability, threshold, finding.indeterminate_margin)
    share = area_share(values, finding.severity.map_level, geometry)
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
