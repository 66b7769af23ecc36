"""The preprocess stage: DICOM objects to model-ready pixels."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from models.spec import PreprocessSpec
from radiolog import __version__
from radiolog.log.publisher import Fact
from radiolog.log.stage import Emit, Outcome, Received, Reject
from schemas.events import ImageEvent, PixelGeometry, PixelStatus, PixelType, PreprocessedImage, derived_id
from schemas.topics import IMAGES, PREPROCESSED
from stream_processors.decoding import Job, ModelPixels, NoPixels, Result, Undecodable
from stream_processors.workers import Failed, WorkerFailure

Decode = Callable[[Sequence[Job]], Sequence[Result | Failed]]

FAILURES = {
    WorkerFailure.TIMED_OUT: "decoding took longer than the limit and was stopped",
    WorkerFailure.CRASHED: "the decoder crashed on this object",
    WorkerFailure.RAISED: "the decoder failed on this object",
}


class PreprocessStage:
    """One PreprocessedImage per ImageEvent; `decode` is a `WorkerPool`'s map, or a plain function in tests."""

    name = "preprocess"
    source = IMAGES

    def __init__(self, spec: PreprocessSpec, decode: Decode) -> None:
        self._spec = spec
        self._decode = decode

    def process(self, batch: Sequence[Received[ImageEvent]]) -> Sequence[Outcome]:
        """Decodes the batch's objects side by side."""
        results = self._decode([Job(item.event.payload, self._spec) for item in batch])
        return [self._outcome(item, result) for item, result in zip(batch, results, strict=True)]

    def _outcome(self, item: Received[ImageEvent], result: Result | Failed) -> Outcome:
        match result:
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
