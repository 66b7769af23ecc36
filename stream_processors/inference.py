"""The inference stage: model-ready pixels to diagnoses."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.decision import Reading, interpret, screen
from models.prediction import Prediction
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
        answers: list[Diagnosis | Reject | None] = [self._without_network(item) for item in batch]
        asked = [index for index, answer in enumerate(answers) if answer is None]
        for index, answer in zip(asked, self._with_network([batch[i] for i in asked]), strict=True):
            answers[index] = answer
        return [_outcome(answer) for answer in answers]

    def _without_network(self, item: Received[PreprocessedImage]) -> Diagnosis | Reject | None:
        """The answer, where there is one before the network is asked."""
        event, bundle, size = item.event, self._bundle, self._bundle.spec.size
        if event.spec_sha256 != bundle.spec.sha256:
            return Reject("wrong_spec", f"pixels made by {event.spec_id}, {bundle.id} reads {bundle.spec.id}")
        if event.status is PixelStatus.NOT_AN_IMAGE:
            return self._diagnosis(item, DiagnosisStatus.NOT_AN_IMAGE, "the object holds no pixels")
        if event.dtype is not PixelType.UINT8 or len(event.pixels) != size * size or event.geometry is None:
            return Reject("wrong_pixels", f"{len(event.pixels)} bytes of pixels are not {size} x {size} of uint8")
        verdict = screen(bundle, self._pixels(event), event.modality, event.body_part)
        return None if verdict.in_scope else self._diagnosis(item, DiagnosisStatus.OUT_OF_SCOPE, verdict.reason)

    def _with_network(self, items: Sequence[Received[PreprocessedImage]]) -> list[Diagnosis]:
        if not items:
            return []
        prediction = self._predictor.predict(np.stack([self._pixels(item.event) for item in items]))
        readings = interpret(self._bundle, prediction, self._operating_point)
        return [self._read(item, reading) for item, reading in zip(items, readings, strict=True)]

    def _read(self, item: Received[PreprocessedImage], reading: Reading) -> Diagnosis:
        status = DiagnosisStatus.DIAGNOSED if reading.scope.in_scope else DiagnosisStatus.OUT_OF_SCOPE
        return self._diagnosis(item, status, reading.scope.reason, reading)

    def _diagnosis(
        self,
        item: Received[PreprocessedImage],
        status: DiagnosisStatus,
        reason: str | None,
        reading: Reading | None = None,
    ) -> Diagnosis:
        event, bundle = item.event, self._bundle
        distance = reading.distance if reading else None
        return Diagnosis(
            event_id=derived_id("diagnosis", event.event_id, bundle.sha256, self._operating_point),
            code_version=__version__,
            image=event.source,
            source=item.ref,
            patient_pseudonym=event.patient_pseudonym,
            study_uid=event.study_uid,
            series_uid=event.series_uid,
            sop_instance_uid=event.sop_instance_uid,
            modality=event.modality,
            body_part=event.body_part,
            status=status,
            reason=reason,
            findings=_findings(reading) if reading else (),
            lungs=likelihood(reading.lungs) if reading and reading.lungs is not None else None,
            geometry=event.geometry,
            scope_distance=distance,
            scope_threshold=None if distance is None else bundle.scope.max_distance,
            model_name=bundle.name,
            model_version=bundle.version,
            model_sha256=bundle.sha256,
            operating_point=self._operating_point,
            spec_sha256=bundle.spec.sha256,
            received_at=event.received_at,
            published_at=event.published_at,
            preprocessed_at=event.preprocessed_at,
            diagnosed_at=datetime.now(UTC),
        )

    def _pixels(self, event: PreprocessedImage) -> NDArray[np.uint8]:
        size = self._bundle.spec.size
        return np.frombuffer(event.pixels, np.uint8).reshape(size, size)


def likelihood(values: NDArray[np.floating]) -> ExplanationMap:
    """A map `[h, w]` of 0 to 1 as bytes, at half its resolution where that is whole."""
    height, width = values.shape
    if height % 2 == width % 2 == 0:
        height, width = height // 2, width // 2
        values = values.reshape(height, 2, width, 2).mean(axis=(1, 3))
    scaled = np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)
    return ExplanationMap(height=height, width=width, values=scaled.tobytes())


def explanation(values: NDArray[np.floating]) -> ExplanationMap:
    """A map `[h, w]`, never negative, as bytes whose largest is 255 (all 0 where nothing is marked)."""
    peak = float(values.max())
    scaled = np.rint(values * (255.0 / peak)) if peak > 0 else np.zeros_like(values)
    height, width = values.shape
    return ExplanationMap(height=height, width=width, values=scaled.astype(np.uint8).tobytes())


def _findings(reading: Reading) -> tuple[Finding, ...]:
    maps = reading.maps if reading.maps is not None else ()
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
        for finding, values in zip(reading.findings, maps, strict=True)
    )


def _outcome(answer: Diagnosis | Reject | None) -> Outcome:
    if isinstance(answer, Diagnosis):
        return Emit((Fact(DIAGNOSES, answer),))
    return answer or Reject("no_answer", "the network gave no answer")
