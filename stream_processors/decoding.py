"""The work of one decode process: an object's bytes to model-ready pixels, by a spec."""

import logging
from dataclasses import dataclass
from functools import cache

import cv2

from models.geometry import Geometry
from models.pixels import NotAnImage, PixelError, decode, to_model_input
from models.spec import PreprocessSpec


@dataclass(frozen=True, slots=True)
class Job:
    """A DICOM Part 10 file in memory, and the recipe."""

    payload: bytes
    spec: PreprocessSpec


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


Result = ModelPixels | NoPixels | Undecodable


def run(job: Job) -> Result:
    """Decodes and preprocesses one object; never raises for what the object holds."""
    _be_quiet()
    try:
        pixels, geometry = to_model_input(decode(job.payload), job.spec)
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
