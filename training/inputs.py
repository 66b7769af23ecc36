"""Model inputs from the log: what was preprocessed, or images run through a spec anew by the one path of pixels."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from typing import Final
from uuid import UUID

import cv2
import numpy as np
from numpy.typing import NDArray

from models.pixels import NotAnImage, PixelError, decode, to_model_input
from models.spec import PreprocessSpec
from radiolog.log.api import Clients
from radiolog.log.objects import ObjectAltered, ObjectMissing, ObjectStore, StoredObject
from radiolog.log.replay import Slice, Unreadable, read
from radiolog.log.stage import Coordinates, Received
from radiolog.settings import Settings
from radiolog.workers import Failed
from schemas.codec import Codec
from schemas.events import ImageEvent, PixelStatus, PreprocessedImage

BATCH: Final = 64
"""Records in hand at a time; bounds what is held in memory."""
NOT_AN_IMAGE: Final = "not an image"
OTHER_SPEC: Final = "made by another spec"

Pixels = NDArray[np.uint8]
Source = ImageEvent | PreprocessedImage


@dataclass(frozen=True, slots=True)
class Job:
    """A DICOM file, in memory or in the object store, and the recipe."""

    payload: bytes | StoredObject
    spec: PreprocessSpec


Result = Pixels | str
"""A model input `[size, size]`, or in a few fixed words why there is none."""
Decode = Callable[[Sequence[Job]], Sequence[Result | Failed]]
"""A `WorkerPool`'s map, or `run` on each."""


@dataclass(frozen=True, slots=True)
class Log:
    """Where the log is, and the objects that it names."""

    settings: Settings
    codec: Codec
    objects: ObjectStore
    clients: Clients | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """What one record of the log gives: `pixels`, or the reason why there are none."""

    image: UUID
    patient: str
    at: Coordinates
    pixels: Pixels | None
    reason: str | None = None


def inputs(
    log: Log, wanted: Slice[Source], spec: PreprocessSpec, decode: Decode, is_wanted: Callable[[Received[Source]], bool]
) -> Iterator[Input | Unreadable]:
    """The model inputs of a slice, in the order of the log.

    Args:
        log: where it is.
        wanted: of `images` or `preprocessed`.
        spec: the recipe; pixels that were made by another one are no input.
        decode: makes the pixels of images.
        is_wanted: asked once for each record, in order; what it refuses is passed over unread.

    Raises:
        LogError: the broker can't be reached.
        ObjectStoreUnavailable: the object store can't.
    """
    batch: list[Received[Source]] = []
    for item in read(log.settings, log.codec, wanted, log.clients):
        if isinstance(item, Unreadable):
            yield item
        elif is_wanted(item):
            batch.append(item)
            if len(batch) == BATCH:
                yield from _batch(log, batch, spec, decode)
                batch = []
    yield from _batch(log, batch, spec, decode)


def image_of(event: Source) -> UUID:
    """The event id of the image that a record is of."""
    return event.event_id if isinstance(event, ImageEvent) else event.source.event_id


def run(job: Job) -> Result:
    """What a decode process does; it never raises for what an object holds."""
    _be_quiet()
    try:
        with BytesIO(job.payload) if isinstance(job.payload, bytes) else job.payload.open() as file:
            return to_model_input(decode(file), job.spec)[0]
    except NotAnImage:
        return NOT_AN_IMAGE
    except ObjectMissing:
        return "its object is missing"
    except ObjectAltered:
        return "its object was altered"
    except PixelError as error:
        return error.code.value.lower().replace("_", " ")


def _batch(log: Log, batch: Sequence[Received[Source]], spec: PreprocessSpec, decode: Decode) -> Iterator[Input]:
    jobs = [_job(log, item.event, spec) for item in batch if isinstance(item.event, ImageEvent)]
    decoded = iter(decode(jobs) if jobs else ())
    for item in batch:
        event = item.event
        result = next(decoded) if isinstance(event, ImageEvent) else _preprocessed(event, spec)
        pixels = result if isinstance(result, np.ndarray) else None
        reason = f"the decoder {result.failure.value.replace('_', ' ')}" if isinstance(result, Failed) else None
        yield Input(
            image_of(event), event.patient_pseudonym, item.at, pixels, result if isinstance(result, str) else reason
        )


def _job(log: Log, event: ImageEvent, spec: PreprocessSpec) -> Job:
    if event.payload_ref is None:
        return Job(event.payload, spec)
    return Job(StoredObject(event.payload_ref, log.objects), spec)


def _preprocessed(event: PreprocessedImage, spec: PreprocessSpec) -> Result:
    if event.status is not PixelStatus.PIXELS:
        return NOT_AN_IMAGE
    if event.spec_sha256 != spec.sha256:
        return OTHER_SPEC
    return np.frombuffer(event.pixels, np.uint8).reshape(event.height, event.width)


@cache
def _be_quiet() -> None:
    """One thread per process, since there is a process per core; and no library's warnings, which quote values."""
    cv2.setNumThreads(1)
    logging.disable(logging.CRITICAL)
