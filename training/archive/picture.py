"""Content of an archive to pixels: a picture's own grey levels, or a model's input by the path that serves DICOM."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import cast

import numpy as np
from numpy.typing import NDArray

from models.geometry import Geometry
from models.pixels import (
    NotAnImage,
    PixelError,
    decode,
    decode_raster,
    raster_to_model_input,
    to_display,
    to_model_input,
)
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
    with _at_fault(name):
        return decode_raster(content)


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
        pixels = decode_raster(content) if isinstance(content, bytes) else content
        return raster_to_model_input(pixels, spec)


@contextmanager
def _at_fault(name: str) -> Iterator[None]:
    """Makes what is wrong with an image's pixels an `ArchiveError` that names it."""
    try:
        yield
    except NotAnImage:
        raise ArchiveError(f"{name} is a DICOM object without pixels") from None
    except PixelError as error:
        raise ArchiveError(f"{name} is not a picture: {error}") from error
