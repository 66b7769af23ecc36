"""Content of an archive to pixels: a picture's own grey levels, or a model's input by the path that serves DICOM."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from models.geometry import Geometry
from models.pixels import NotAnImage, PixelError, decode, raster_to_model_input, to_display, to_model_input
from models.spec import PreprocessSpec
from training.archive.errors import ArchiveError
from training.archive.example import Content, is_dicom


def grey(content: Content, name: str) -> NDArray[np.uint8]:
    """The grey levels of an image, `[h, w]`; of a raster with colours, `[h, w, 3]` as it is.

    Raises:
        ArchiveError: it is no picture; the message names it by `name`.
    """
    if not isinstance(content, bytes):
        return content
    if is_dicom(content):
        with _at_fault(name):
            return to_display(decode(BytesIO(content)))
    return _decoded(content, name)


def framed(content: Content, spec: PreprocessSpec, name: str) -> tuple[NDArray[np.uint8], Geometry]:
    """What a model sees of an image, `[spec.size, spec.size]`, and its way back.

    Args:
        content: the image.
        spec: the recipe.
        name: what to call it in errors.

    Raises:
        ArchiveError: it is no picture.
    """
    with _at_fault(name):
        if is_dicom(content):
            return to_model_input(decode(BytesIO(cast(bytes, content))), spec)
        pixels = _decoded(content, name) if isinstance(content, bytes) else content
        return raster_to_model_input(pixels, spec)


def _decoded(content: bytes, name: str) -> NDArray[np.uint8]:
    encoded = np.frombuffer(content, np.uint8)
    try:
        decoded = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) if encoded.size else None
    except cv2.error:  # more pixels than OpenCV reads
        decoded = None
    if decoded is None:
        raise ArchiveError(f"{name} is not a picture")
    return np.asarray(decoded, np.uint8)


@contextmanager
def _at_fault(name: str) -> Iterator[None]:
    """Makes what is wrong with an image's pixels an `ArchiveError` that names it."""
    try:
        yield
    except NotAnImage:
        raise ArchiveError(f"{name} is a DICOM object without pixels") from None
    except PixelError as error:
        raise ArchiveError(f"{name} is not a picture: {error}") from error
