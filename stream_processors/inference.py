"""The inference stage: model-ready pixels to diagnoses."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.decision import Reading, ScopeVerdict, calibrate, decide, in_scope, pixels_in_scope
from models.engine import Prediction
from models.geometry import Geometry
from radiolog import __version__
from radiolog.log.publisher import Fact
from radiolog.log.stage import Emit, Outcome, Received, Reject
from schemas.events import (
    Diagnosis,
    DiagnosisStatus,
    ExplanationMap,
    Finding,
    PixelStatus,
    PixelType,
    PreprocessedImage,
    derived_id,
)
from schemas.topics import DIAGNOSES, PREPROCESSED


class Predictor(Protocol):
    """What the stage needs of `models.engine.Engine`."""

    def predict(self, pixels: NDArray[np.uint8]) -> Prediction:
        """What the network says of `[n, size, size]` pixels."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of one image; `maps` are `[findings, h, w]`, empty without findings."""

    status: DiagnosisStatus
    reason: str | None
    distance: float | None = None
    reading: Reading | None = None
    maps: NDArray[np.float32] | None = None


class InferenceStage:
    """One Diagnosis per PreprocessedImage; the network sees the images of a batch together."""

    name = "inference"
    source = PREPROCESSED

    def __init__(self, bundle: Bundle, predictor: Predictor, operating_point: str | None = None) -> None:
        self._bundle = bundle
        self._predictor = predictor
        self._operating_point = operating_point or bundle.operating_point

    def process(self, batch: Sequence[Received[PreprocessedImage]]) -> Sequence[Outcome]:
        """Asks the network about those images of the batch that it was made for."""
        answers: list[Answer | Reject | None] = [self._without_network(item.event) for item in batch]
        asked = [index for index, answer in enumerate(answers) if answer is None]
        for index, answer in zip(asked, self._with_network([batch[i].event for i in asked]), strict=True):
            answers[index] = answer
        return [self._outcome(item, answer) for item, answer in zip(batch, answers, strict=True)]

    def _without_network(self, event: PreprocessedImage) -> Answer | Reject | None:
        """The answer, where there is one before the network is asked."""
        bundle = self._bundle
        if event.spec_sha256 != bundle.spec.sha256:
            return Reject("wrong_spec", f"pixels made by {event.spec_id}, {bundle.id} reads {bundle.spec.id}")
        if event.status is PixelStatus.NOT_AN_IMAGE:
            return Answer(DiagnosisStatus.NOT_AN_IMAGE, "the object holds no pixels")
        size = bundle.spec.size
        if event.dtype is not PixelType.UINT8 or len(event.pixels) != size * size or event.geometry is None:
            return Reject("wrong_pixels", f"{len(event.pixels)} bytes of pixels are not {size} x {size} of uint8")
        for verdict in (
            in_scope(bundle, event.modality, event.body_part),
            pixels_in_scope(bundle, _pixels(event, size)),
        ):
            if not verdict.in_scope:
                return _out_of_scope(verdict)
        return None

    def _with_network(self, events: Sequence[PreprocessedImage]) -> list[Answer]:
        if not events:
            return []
        bundle = self._bundle
        prediction = self._predictor.predict(np.stack([_pixels(event, bundle.spec.size) for event in events]))
        probabilities = calibrate(bundle, prediction.logits)
        distances = bundle.scope.distance(prediction.embeddings)
        return [
            self._answer(event, probabilities[i], prediction.maps[i], float(distances[i]))
            for i, event in enumerate(events)
        ]

    def _answer(
        self,
        event: PreprocessedImage,
        probabilities: NDArray[np.float64],
        maps: NDArray[np.float32],
        distance: float,
    ) -> Answer:
        if event.geometry is None:
            raise ValueError("pixels without geometry")
        geometry = Geometry.from_json(event.geometry.model_dump())
        reading = decide(self._bundle, probabilities, maps, distance, geometry, self._operating_point)
        if not reading.scope.in_scope:
            return _out_of_scope(reading.scope, distance)
        return Answer(DiagnosisStatus.DIAGNOSED, None, distance, reading, maps)

    def _outcome(self, item: Received[PreprocessedImage], answer: Answer | Reject | None) -> Outcome:
        if isinstance(answer, Answer):
            return Emit((Fact(DIAGNOSES, diagnosis(item, self._bundle, answer, self._operating_point)),))
        return answer or Reject("no_answer", "the network gave no answer")


def diagnosis(item: Received[PreprocessedImage], bundle: Bundle, answer: Answer, operating_point: str) -> Diagnosis:
    """The event that says what the model makes of the image."""
    event = item.event
    return Diagnosis(
        event_id=derived_id("diagnosis", event.event_id, bundle.sha256, operating_point),
        code_version=__version__,
        image=event.source,
        source=item.ref,
        patient_pseudonym=event.patient_pseudonym,
        study_uid=event.study_uid,
        series_uid=event.series_uid,
        sop_instance_uid=event.sop_instance_uid,
        modality=event.modality,
        body_part=event.body_part,
        status=answer.status,
        reason=answer.reason,
        findings=_findings(answer),
        geometry=event.geometry,
        scope_distance=answer.distance,
        scope_threshold=None if answer.distance is None else bundle.scope.max_distance,
        model_name=bundle.name,
        model_version=bundle.version,
        model_sha256=bundle.sha256,
        operating_point=operating_point,
        spec_sha256=bundle.spec.sha256,
        received_at=event.received_at,
        published_at=event.published_at,
        preprocessed_at=event.preprocessed_at,
        diagnosed_at=datetime.now(UTC),
    )


def explanation(values: NDArray[np.float32]) -> ExplanationMap:
    """A map `[h, w]`, never negative, as bytes whose largest is 255 (all 0 where nothing is marked)."""
    peak = float(values.max())
    scaled = np.rint(values * (255.0 / peak)) if peak > 0 else np.zeros_like(values)
    height, width = values.shape
    return ExplanationMap(height=height, width=width, values=scaled.astype(np.uint8).tobytes())


def _findings(answer: Answer) -> tuple[Finding, ...]:
    if answer.reading is None or answer.maps is None:
        return ()
    return tuple(
        Finding(
            code=finding.code,
            name=finding.name,
            probability=finding.probability,
            threshold=finding.threshold,
            decision=finding.decision,
            severity=finding.severity,
            area_share=finding.area_share,
            explanation=explanation(values),
        )
        for finding, values in zip(answer.reading.findings, answer.maps, strict=True)
    )


def _out_of_scope(verdict: ScopeVerdict, distance: float | None = None) -> Answer:
    return Answer(DiagnosisStatus.OUT_OF_SCOPE, verdict.reason, distance)


def _pixels(event: PreprocessedImage, size: int) -> NDArray[np.uint8]:
    return np.frombuffer(event.pixels, np.uint8).reshape(size, size)
