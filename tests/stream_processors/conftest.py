"""Events as the stages receive them."""

from datetime import UTC, datetime

import pytest

from models.geometry import Geometry
from radiolog.log.stage import Coordinates, Received
from schemas.events import (
    EventRef,
    ImageEvent,
    ImageSource,
    PixelGeometry,
    PixelStatus,
    PixelType,
    PreprocessedImage,
    SourceKind,
    derived_id,
    image_event_id,
)

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
COMMON = {
    "code_version": "test",
    "patient_pseudonym": "P-1",
    "study_uid": "2.25.1",
    "series_uid": "2.25.2",
    "sop_instance_uid": "2.25.3",
    "received_at": THEN,
    "published_at": THEN,
}


@pytest.fixture
def received_image():
    """An image event with this payload, as received from the log."""

    def make(payload: bytes, **changes) -> Received[ImageEvent]:
        values = COMMON | {
            "event_id": image_event_id(bytes(32)),
            "sop_class_uid": "1.2.840.10008.5.1.4.1.1.1",
            "transfer_syntax_uid": "1.2.840.10008.1.2.1",
            "modality": "CR",
            "body_part": "CHEST",
            "deidentification": "test",
            "source": ImageSource(kind=SourceKind.FILE, peer="test", adapter="test"),
            "received_bytes": len(payload),
            "received_sha256": bytes(32),
            "payload": payload,
        }
        return Received(ImageEvent(**values | changes), Coordinates("images", 3, 41))

    return make


@pytest.fixture
def received_pixels():
    """A preprocessed image with these pixels `[size, size]`, as received from the log."""

    def make(array, spec, **changes) -> Received[PreprocessedImage]:
        size = spec.size
        values = COMMON | {
            "event_id": derived_id("preprocessed", str(changes), array.tobytes()),
            "source": EventRef(event_id=image_event_id(bytes(32)), topic="images", partition=3, offset=41),
            "modality": "CR",
            "body_part": "CHEST",
            "status": PixelStatus.PIXELS,
            "spec_id": spec.id,
            "spec_sha256": spec.sha256,
            "frame": 0,
            "height": size,
            "width": size,
            "dtype": PixelType.UINT8,
            "geometry": PixelGeometry(**Geometry.whole(size).to_json()),
            "preprocessed_at": THEN,
            "pixels": array.tobytes(),
        }
        return Received(PreprocessedImage(**values | changes), Coordinates("preprocessed", 3, 7))

    return make
