"""The work of one decode process: an object's bytes to model-ready pixels, by a spec."""

import logging
from dataclasses import dataclass
from functools import cache
from io import BytesIO
from pickle import PickleBuffer
from typing import BinaryIO

import cv2

from models.geometry import Geometry
from models.pixels import NotAnImage, PixelError, decode, to_model_input
from models.spec import PreprocessSpec
from radiolog.log.objects import ObjectAltered, ObjectMissing, ObjectStoreUnavailable, StoredObject


@dataclass(frozen=True, slots=True)
class Job:
    """A DICOM Part 10 file, in memory or in the object store, and the recipe."""

    payload: bytes | memoryview | StoredObject
    spec: PreprocessSpec

    def __reduce__(self) -> "tuple[type[Job], tuple[PickleBuffer | StoredObject, PreprocessSpec]]":
        """On its way to another process, the file may go through shared memory."""
        payload = self.payload if isinstance(self.payload, StoredObject) else PickleBuffer(self.payload)
        return Job, (payload, self.spec)

    @property
    def open_seconds(self) -> float:
        """How long it may take to have the file, before any decoding."""
        return self.payload.open_seconds if isinstance(self.payload, StoredObject) else 0.0

    def open(self) -> BinaryIO:
        """The file; raises what `radiolog.log.objects.ObjectStore.open` does."""
        return self.payload.open() if isinstance(self.payload, StoredObject) else BytesIO(self.payload)


@dataclass(frozen=True, slots=True)
class ModelPixels:
    """uint8 pixels, `height` x `width`, row by row, and the way back to the original image."""

    pixels: bytes
    height: int
    width: int
    geometry: Geometry


@dataclass(frozen=True, slots=True)
class NoPixels:
    """A well-formed object that is not an image."""


@dataclass(frozen=True, slots=True)
class Undecodable:
    """Pixels that can't be had: a fixed word for the cause, and words without patient data."""

    error_class: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The object store does not answer: the same job may succeed later."""

    reason: str


Result = ModelPixels | NoPixels | Undecodable | Unavailable


def run(job: Job) -> Result:
    """Decodes and preprocesses one object; never raises for what the object holds."""
    _be_quiet()
    try:
        with job.open() as file:
            pixels, geometry = to_model_input(decode(file), job.spec)
    except ObjectMissing as error:
        return Undecodable("object_missing", str(error))
    except ObjectAltered as error:
        return Undecodable("object_altered", str(error))
    except ObjectStoreUnavailable as error:
        return Unavailable(str(error))
    except NotAnImage:
        return NoPixels()
    except PixelError as error:
        return Undecodable(error.code.value.lower(), str(error))
    height, width = pixels.shape
    return ModelPixels(pixels.tobytes(), height, width, geometry)


@cache
def _be_quiet() -> None:
    """One thread per process, since there is a process per core; and no library's warnings, which quote values."""
    cv2.setNumThreads(1)
    logging.disable(logging.CRITICAL)
