"""Small events, for tests that want some."""

from datetime import UTC, datetime

import pytest

from schemas.events import ImageEvent, ImageSource, SourceKind, image_event_id

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="session")
def image():
    """Makes the image event of a number."""

    def make(number: int, **changes) -> ImageEvent:
        sha256 = number.to_bytes(32, "big")
        values = {
            "event_id": image_event_id(sha256),
            "code_version": "test",
            "study_uid": f"2.25.{number % 5}",
            "patient_pseudonym": "P-1",
            "series_uid": "2.25.2",
            "sop_instance_uid": f"2.25.3.{number}",
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1",
            "transfer_syntax_uid": "1.2.840.10008.1.2.1",
            "modality": "CR",
            "deidentification": "test",
            "source": ImageSource(kind=SourceKind.FILE, peer="test", adapter="test"),
            "received_at": THEN,
            "published_at": THEN,
            "received_bytes": 3,
            "received_sha256": sha256,
            "payload": b"abc",
        }
        return ImageEvent(**values | changes)

    return make
