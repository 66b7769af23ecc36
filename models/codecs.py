"""Which codec decodes which transfer syntax, and the imagecodecs plugin for pydicom's JPEG decoders.

One codec per transfer syntax is named explicitly, so that the same file gives the same pixels whatever else is
installed beside us.
"""

from typing import Final

import numpy as np
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

_JPEG: Final = (JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLossless, JPEGLosslessSV1)
_YBR: Final = frozenset({PhotometricInterpretation.YBR_FULL, PhotometricInterpretation.YBR_FULL_422})

#: The plugin asked to decode each encapsulated transfer syntax; the native ones need none.
CODECS: Final[dict[UID, str]] = {
    **dict.fromkeys(_JPEG, "imagecodecs"),
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    **dict.fromkeys((JPEG2000Lossless, JPEG2000, HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K), "pylibjpeg"),
    RLELossless: "pylibjpeg",
}

# The names and signatures below are what `pydicom.pixels.Decoder.add_plugin` looks for.
DECODER_DEPENDENCIES: Final = dict.fromkeys(_JPEG, ("numpy", "imagecodecs>=2024.1"))


def is_available(uid: str) -> bool:
    """Whether this plugin decodes the transfer syntax `uid`."""
    return uid in _JPEG


def decode_frame(encoded: bytes, runner: DecodeRunner) -> bytes:
    """Decode one JPEG frame (ISO/IEC 10918-1: baseline, extended 12-bit or lossless) with libjpeg-turbo.

    Colour frames leave as RGB. An Adobe APP14 segment says how the frame was transformed; without one the
    Photometric Interpretation does (PS3.5 section 8.2.1), where libjpeg alone would guess.
    """
    import imagecodecs

    if runner.samples_per_pixel == 1 or b"Adobe" in encoded[:4096]:
        decoded = imagecodecs.jpeg8_decode(encoded)
    elif runner.photometric_interpretation in _YBR:
        decoded = imagecodecs.jpeg8_decode(encoded, colorspace="YCBCR", outcolorspace="RGB")
    else:
        decoded = imagecodecs.jpeg8_decode(encoded, colorspace="RGB", outcolorspace="RGB")
    if runner.samples_per_pixel == 3:
        runner.set_option("photometric_interpretation", PhotometricInterpretation.RGB)
        runner.set_option("planar_configuration", 0)
    runner.set_option("bits_allocated", decoded.dtype.itemsize * 8)
    return np.ascontiguousarray(decoded).tobytes()


def register() -> None:
    """Make the plugin known to pydicom; a second call changes nothing."""
    for uid in _JPEG:
        decoder = get_decoder(uid)
        if "imagecodecs" not in decoder.available_plugins:
            decoder.add_plugin("imagecodecs", (__name__, decode_frame.__name__))


def codestream_shape(encoded: bytes) -> tuple[int, int] | None:
    """Rows and columns that an encoded frame itself claims, or None when its format is not recognised.

    The codecs allocate by the codestream and not by the DICOM header, so a hostile one must be looked at first.
    JPEG and JPEG-LS: the SOFn segment (ISO/IEC 10918-1 B.2.2); JPEG 2000: the SIZ segment (ISO/IEC 15444-1 A.5.1).
    """
    if encoded[:4] == b"\xff\x4f\xff\x51":
        x1, y1, x0, y0 = (int.from_bytes(encoded[at : at + 4], "big") for at in (8, 12, 16, 20))
        return y1 - y0, x1 - x0
    if encoded[:2] == b"\xff\xd8":
        return _frame_header_shape(encoded)
    return None


def _frame_header_shape(encoded: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        # SOF0..SOF15 but for DHT (C4), JPG (C8) and DAC (CC), and SOF55 of JPEG-LS.
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            return int.from_bytes(encoded[at + 5 : at + 7], "big"), int.from_bytes(encoded[at + 7 : at + 9], "big")
        at += 1 if marker == 0xFF else 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return None
