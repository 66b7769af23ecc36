"""The preprocess stage: DICOM objects to model-ready pixels."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog

from models.spec import PreprocessSpec
from radiolog import __version__
from radiolog.log.objects import ObjectStore, StoredObject
from radiolog.log.publisher import Fact
from radiolog.log.stage import Emit, Outcome, Received, Reject, StageUnavailable
from radiolog.workers import Failed, WorkerFailure
from schemas.events import ImageEvent, PixelGeometry, PixelStatus, PixelType, PreprocessedImage, derived_id
from schemas.topics import IMAGES, PREPROCESSED
from stream_processors.decoding import Job, ModelPixels, NoPixels, Result, Unavailable, Undecodable

Decode = Callable[[Sequence[Job]], Sequence[Result | Failed]]

STORE_SECONDS = 2.0
"""How long the stage waits before it asks the object store again."""

FAILURES = {
    WorkerFailure.TIMED_OUT: "decoding took longer than the limit and was stopped",
    WorkerFailure.CRASHED: "the decoder crashed on this object",
    WorkerFailure.RAISED: "the decoder failed on this object",
}


log = structlog.get_logger()


class PreprocessStage:
    """One PreprocessedImage per ImageEvent.

    Args:
        spec: how pixels are made.
        decode: a `WorkerPool`'s map, or a plain function in tests. What is in the object store it fetches itself, so
            that this process never holds such an object.
        objects: where events' objects are that they do not carry themselves.
    """

    name = "preprocess"
    source = IMAGES

    def __init__(self, spec: PreprocessSpec, decode: Decode, objects: ObjectStore) -> None:
        self._spec = spec
        self._decode = decode
        self._objects = objects

    def process(self, batch: Sequence[Received[ImageEvent]]) -> Sequence[Outcome]:
        """Decodes the batch's objects side by side.

        Raises:
            StageUnavailable: the object store does not answer.
        """
        results = self._decode([self._job(item.event) for item in batch])
        return [self._outcome(item, result) for item, result in zip(batch, results, strict=True)]

    def _job(self, image: ImageEvent) -> Job:
        if image.payload_ref is None:
            return Job(image.payload, self._spec)
        return Job(StoredObject(image.payload_ref, self._objects), self._spec)

    def _outcome(self, item: Received[ImageEvent], result: Result | Failed) -> Outcome:
        match result:
            case Unavailable(reason):
                log.warning("the object store does not answer", reason=reason)
                raise StageUnavailable(reason, STORE_SECONDS)
            case Undecodable(error_class, reason):
                return Reject(error_class, reason)
            case Failed(WorkerFailure.RAISED, "MemoryError"):
                return Reject("decoder_out_of_memory", "the object takes more memory than one decode process may have")
            case Failed(failure, detail):
                return Reject(f"decoder_{failure.value}", f"{FAILURES[failure]} ({detail})")
        return Emit((Fact(PREPROCESSED, preprocessed(item, self._spec, result)),))


def preprocessed(item: Received[ImageEvent], spec: PreprocessSpec, result: ModelPixels | NoPixels) -> PreprocessedImage:
    """The event that says what became of the image's pixels."""
    image, pixels = item.event, result if isinstance(result, ModelPixels) else None
    return PreprocessedImage(
        event_id=derived_id("preprocessed", image.event_id, spec.sha256),
        code_version=__version__,
        source=item.ref,
        patient_pseudonym=image.patient_pseudonym,
        study_uid=image.study_uid,
        series_uid=image.series_uid,
        sop_instance_uid=image.sop_instance_uid,
        modality=image.modality,
        body_part=image.body_part,
        status=PixelStatus.PIXELS if pixels else PixelStatus.NOT_AN_IMAGE,
        spec_id=spec.id,
        spec_sha256=spec.sha256,
        frame=0,
        height=pixels.height if pixels else 0,
        width=pixels.width if pixels else 0,
        dtype=PixelType.UINT8,
        geometry=PixelGeometry(**pixels.geometry.to_json()) if pixels else None,
        received_at=image.received_at,
        published_at=image.published_at,
        preprocessed_at=datetime.now(UTC),
        pixels=pixels.pixels if pixels else b"",
    )
