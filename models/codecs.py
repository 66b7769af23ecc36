"""Which codec decodes which transfer syntax, and the imagecodecs plugin for pydicom's JPEG and HTJ2K decoders.

One codec per transfer syntax is named explicitly, so that the same file gives the same pixels whatever else is
installed beside us.
"""

from typing import Final, NamedTuple

import numpy as np
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders import pylibjpeg
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
    **dict.fromkeys((*_JPEG, HTJ2KLossless), "imagecodecs"),
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    **dict.fromkeys((JPEG2000Lossless, JPEG2000, HTJ2KLosslessRPCL, HTJ2K), "pylibjpeg"),
    RLELossless: "pylibjpeg",
}

#: The transfer syntaxes whose frames say themselves how large they are (`codestream_shape`).
WITH_CODESTREAM: Final = frozenset(CODECS) - {RLELossless}

_JP2_SIGNATURE: Final = b"\x00\x00\x00\x0cjP  \r\n\x87\n"
_SOC_SIZ: Final = b"\xff\x4f\xff\x51"  # SOC, and SIZ right behind it
_SIZ_BYTES: Final = 42  # from SOC to Csiz
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD8)})  # TEM and RSTn
_NOT_IN_HEADER: Final = frozenset({0x00, 0xD8, 0xD9, 0xDA})  # stuffing, another SOI, EOI, SOS

# The names and signatures below are what `pydicom.pixels.Decoder.add_plugin` looks for.
DECODER_DEPENDENCIES: Final = dict.fromkeys((*_JPEG, HTJ2KLossless), ("numpy", "imagecodecs>=2024.1"))


def is_available(uid: str) -> bool:
    """Whether this plugin decodes the transfer syntax `uid`."""
    return uid in DECODER_DEPENDENCIES


def decode_frame(encoded: bytes, runner: DecodeRunner) -> bytes | bytearray:
    """Decode one frame of the transfer syntax that the runner names."""
    return _decode_htj2k(encoded, runner) if runner.transfer_syntax == HTJ2KLossless else _decode_jpeg(encoded, runner)


def _decode_htj2k(encoded: bytes, runner: DecodeRunner) -> bytes | bytearray:
    """Decode one lossless HTJ2K frame: with OpenJPH what was made here (`models.htj2k`), all else with OpenJPEG."""
    from models import htj2k

    if not htj2k.is_own(encoded):
        return pylibjpeg._decode_frame(encoded, runner)
    decoded = htj2k.decode(encoded)
    runner.set_option("bits_allocated", decoded.dtype.itemsize * 8)
    return decoded.tobytes()


def _decode_jpeg(encoded: bytes, runner: DecodeRunner) -> bytes:
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
    for uid in DECODER_DEPENDENCIES:
        decoder = get_decoder(uid)
        if "imagecodecs" not in decoder.available_plugins:
            decoder.add_plugin("imagecodecs", (__name__, decode_frame.__name__))


class CodestreamShape(NamedTuple):
    """What an encoded frame says of its own size."""

    rows: int
    columns: int
    samples: int


def codestream_shape(encoded: bytes) -> CodestreamShape | None:
    """The size that an encoded frame itself claims, or None when it has no readable header.

    The codecs allocate by the codestream and not by the DICOM header, so a hostile one must be looked at first.
    JPEG and JPEG-LS: the SOFn segment (ISO/IEC 10918-1 B.2.2); JPEG 2000: the SIZ segment (ISO/IEC 15444-1 A.5.1),
    also in a JP2 file (annex I there), which PS3.5 section 8.2.4 forbids and which is met all the same.
    """
    if encoded.startswith(_JP2_SIGNATURE):
        encoded = _jp2_codestream(encoded)
    if encoded.startswith(_SOC_SIZ) and len(encoded) >= _SIZ_BYTES:
        x1, y1, x0, y0 = (int.from_bytes(encoded[at : at + 4], "big") for at in (8, 12, 16, 20))
        return CodestreamShape(y1 - y0, x1 - x0, int.from_bytes(encoded[40:42], "big"))
    if encoded[:2] == b"\xff\xd8":
        return _frame_header_shape(encoded)
    return None


def _jp2_codestream(encoded: bytes) -> bytes:
    """The start of the first contiguous codestream box, as far as the size goes; empty when there is none."""
    at = 0
    while at + 8 <= len(encoded):
        length, kind, content = int.from_bytes(encoded[at : at + 4], "big"), encoded[at + 4 : at + 8], at + 8
        if length == 1:
            length, content = int.from_bytes(encoded[at + 8 : at + 16], "big"), at + 16
        if kind == b"jp2c":
            return encoded[content : content + _SIZ_BYTES]
        if length < content - at:  # the last box (0), or a broken one
            return b""
        at += length
    return b""


def _frame_header_shape(encoded: bytes) -> CodestreamShape | None:
    at = 2
    while at + 10 <= len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        # SOF0..SOF15 but for DHT (C4), JPG (C8) and DAC (CC), and SOF55 of JPEG-LS.
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            rows, columns = (int.from_bytes(encoded[start : start + 2], "big") for start in (at + 5, at + 7))
            return CodestreamShape(rows, columns, encoded[at + 9])
        if marker in _NOT_IN_HEADER:
            return None
        if marker == 0xFF:
            at += 1
        else:
            at += 2 if marker in _WITHOUT_LENGTH else 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return None
