"""The one path from an image, as DICOM or as a raster, to what a model or a reader sees.

Serving, training and evaluation all come through here: DICOM by `decode` and `to_model_input`, rasters (JPEG, PNG,
labelled archives) by `raster_to_model_input`, which is the same code after the look-up tables.
"""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from models.decoding import DecodedImage, DecodeLimits, NotAnImage, PixelError, PixelErrorCode, decode
from models.framing import frame
from models.geometry import Geometry
from models.grayscale import render
from models.spec import PreprocessSpec

__all__ = [
    "DecodeLimits",
    "DecodedImage",
    "NotAnImage",
    "PixelError",
    "PixelErrorCode",
    "decode",
    "decode_raster",
    "raster_to_model_input",
    "to_display",
    "to_model_input",
]


def to_model_input(image: DecodedImage, spec: PreprocessSpec) -> tuple[NDArray[np.uint8], Geometry]:
    """Make the `[spec.size, spec.size]` model input of a decoded DICOM image, and its way back.

    Raises:
        PixelError: the image cannot be shown (see `models.grayscale.render`).
    """
    return frame(render(image, spec.window_percentiles), spec, _pixel_aspect(image.header))


def to_display(image: DecodedImage, window_percentiles: tuple[float, float] = (0.5, 99.5)) -> NDArray[np.uint8]:
    """Show an image at full resolution, `[rows, columns]`, 0 black and 255 white.

    Raises:
        PixelError: the image cannot be shown (see `models.grayscale.render`).
    """
    return render(image, window_percentiles)


def decode_raster(content: bytes) -> NDArray[np.uint8]:
    """The grey levels of a JPEG or PNG file, `[rows, columns]`.

    Raises:
        PixelError: it is none.
    """
    encoded = np.frombuffer(content, np.uint8)
    try:
        raster = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE) if encoded.size else None
    except cv2.error:  # more pixels than OpenCV reads
        raster = None
    if raster is None:
        raise PixelError(PixelErrorCode.UNDECODABLE, "the file is not the picture that its name says")
    return raster.astype(np.uint8, copy=False)


def raster_to_model_input(
    raster: NDArray[Any], spec: PreprocessSpec, pixel_aspect: float = 1.0
) -> tuple[NDArray[np.uint8], Geometry]:
    """Make the model input of a raster that is already in display sense, as JPEG and PNG are.

    Args:
        raster: uint8 or uint16, `[h, w]` or `[h, w, 3]` in RGB; 16-bit grey values are windowed by the spec's
            percentiles, since such files rarely fill their range.
        spec: the recipe.
        pixel_aspect: height of a pixel over its width; other than 1 for a picture resized out of proportion.

    Raises:
        PixelError: INVALID_ATTRIBUTE for any other array.
    """
    if raster.dtype not in (np.uint8, np.uint16) or raster.size == 0:
        raise PixelError(PixelErrorCode.INVALID_ATTRIBUTE, "a raster holds uint8 or uint16 samples")
    if not (raster.ndim == 2 or (raster.ndim == 3 and raster.shape[2] == 3)):
        raise PixelError(PixelErrorCode.INVALID_ATTRIBUTE, "a raster is [h, w] or [h, w, 3]")
    if raster.dtype == np.uint8 and raster.ndim == 2:
        return frame(np.ascontiguousarray(raster), spec, pixel_aspect)
    header = Dataset()
    header.BitsStored = raster.dtype.itemsize * 8
    photometric = "MONOCHROME2" if raster.ndim == 2 else "RGB"
    image = DecodedImage(pixels=np.ascontiguousarray(raster), header=header, photometric=photometric)
    return frame(render(image, spec.window_percentiles), spec, pixel_aspect)


def _pixel_aspect(header: Dataset) -> float:
    """Height of a pixel over its width (PS3.3 C.7.6.3.1.7); 1 where the object says nothing usable."""
    for keyword in ("PixelAspectRatio", "PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        try:
            vertical, horizontal = (float(value) for value in header.get(keyword) or ())
        except (TypeError, ValueError, NotImplementedError):  # the last for a broken value representation
            continue
        # Zero spacing occurs in the field, and a ratio beyond 4 is a wrong header, not an anatomy.
        if vertical > 0 and horizontal > 0 and 0.25 <= vertical / horizontal <= 4:
            return vertical / horizontal
    return 1.0
