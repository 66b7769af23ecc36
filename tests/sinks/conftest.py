"""Events that the sink keeps."""

from datetime import UTC, datetime

import pytest

from schemas.events import (
    DeadLetter,
    Decision,
    Diagnosis,
    DiagnosisStatus,
    EventRef,
    ExplanationMap,
    Finding,
    Identity,
    IdentityKind,
    PixelGeometry,
    Severity,
    derived_id,
    image_event_id,
)

THEN = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
FINDING = Finding(
    code="233604007",
    name="pneumonia",
    probability=0.75,
    threshold=0.5,
    decision=Decision.PRESENT,
    severity=Severity.MILD,
    area_share=0.1,
    explanation=ExplanationMap(height=1, width=2, values=b"\x00\xff"),
)


@pytest.fixture(scope="session")
def diagnosis():
    """The diagnosis of the image of a number."""

    def make(number: int = 1, **changes) -> Diagnosis:
        image = EventRef(
            event_id=image_event_id(number.to_bytes(32, "big")), topic="images", partition=1, offset=number
        )
        values = {
            "event_id": derived_id("diagnosis", str(number)),
            "code_version": "test",
            "image": image,
            "source": image,
            "patient_pseudonym": "P-1",
            "study_uid": "2.25.1",
            "series_uid": "2.25.2",
            "sop_instance_uid": f"2.25.3.{number}",
            "modality": "CR",
            "status": DiagnosisStatus.DIAGNOSED,
            "findings": (FINDING,),
            "geometry": PixelGeometry(**dict.fromkeys(PixelGeometry.model_fields, 5)),
            "scope_distance": 0.5,
            "scope_threshold": 1.5,
            "model_name": "m",
            "model_version": "1",
            "model_sha256": "0" * 64,
            "operating_point": "accuracy",
            "spec_sha256": "1" * 64,
            "received_at": THEN,
            "published_at": THEN,
            "preprocessed_at": THEN,
            "diagnosed_at": THEN,
        }
        return Diagnosis(**values | changes)

    return make


@pytest.fixture(scope="session")
def letter():
    """A dead letter of the image of a number."""

    def make(number: int = 1, **changes) -> DeadLetter:
        values = {
            "event_id": derived_id("letter", str(number)),
            "code_version": "test",
            "stage": "preprocess",
            "error_class": "truncated",
            "reason": "too short",
            "topic": "images",
            "partition": 0,
            "offset": number,
            "image_event_id": image_event_id(number.to_bytes(32, "big")),
            "failed_at": THEN,
        }
        return DeadLetter(**values | changes)

    return make


@pytest.fixture(scope="session")
def identity():
    """The identity of a patient."""

    def make(pseudonym: str, name: str, recorded_at: datetime = THEN) -> Identity:
        return Identity(
            event_id=derived_id("identity", pseudonym, name),
            code_version="test",
            kind=IdentityKind.PATIENT,
            pseudonym=pseudonym,
            attributes={"PatientID": "4711", "PatientName": name},
            recorded_at=recorded_at,
        )

    return make
