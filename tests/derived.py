"""What a stage without pixels makes of an image, for tests that look at the log and not at images."""

from radiolog.log.stage import Received
from schemas.events import ImageEvent, PixelStatus, PixelType, PreprocessedImage, derived_id

KEPT = ("patient_pseudonym", "study_uid", "series_uid", "sop_instance_uid", "received_at", "published_at")


def preprocessed(item: Received[ImageEvent]) -> PreprocessedImage:
    return PreprocessedImage(
        **{name: getattr(item.event, name) for name in KEPT},
        event_id=derived_id("preprocessed", item.event.event_id),
        code_version="test",
        source=item.ref,
        status=PixelStatus.NOT_AN_IMAGE,
        spec_id="test@1",
        spec_sha256="0" * 64,
        frame=0,
        height=0,
        width=0,
        dtype=PixelType.UINT8,
        preprocessed_at=item.event.received_at,
        pixels=b"",
    )
