"""Stored values to an HTJ2K code stream without loss (ISO/IEC 15444-15), and such a stream back to them.

The codec is OpenJPH, by way of imagecodecs: it takes half the time of OpenJPEG, and leaves the interpreter to other
threads. But it makes pixels of broken and cut streams of which OpenJPEG says what they are. So it decodes only what was
made here: a comment tells, such streams were whole when they were published, and the log and the object store keep them
so. OpenJPEG reads all others.
"""

import struct
from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

#: Of SOC and SIZ up to the one component's Ssiz (ISO/IEC 15444-1 section A.5.1): precision less one, and the sign bit.
_SSIZ: Final = 42
_SIGNED: Final = 0x80
_COM: Final = 0xFF64
_SOT: Final = 0xFF90
_EOC: Final = b"\xff\xd9"
_LATIN_TEXT: Final = 1
_TEXT: Final = b"radiolog 1"
#: The comment (section A.9.2), the last segment of the main header.
_MARK: Final = struct.pack(">HHH", _COM, 4 + len(_TEXT), _LATIN_TEXT) + _TEXT
_LONGEST_HEADER: Final = 1024


def encode(samples: NDArray[Any], bits_stored: int) -> bytes:
    """The code stream of one monochrome frame; the same samples give the same bytes.

    The precision in the code stream is Bits Stored, as PS3.5 section 8.2.4 wants the two to agree. The encoder knows
    that of its words alone. It subtracts half of their range from unsigned values, and a decoder adds half of the range
    that the code stream names; so values are raised by the difference first, and the code stream then names the other.

    Args:
        samples: `[rows, columns]` of uint8, int8, uint16 or int16.
        bits_stored: that hold them, of the lowest ones; signed values are sign-extended from there.

    Raises:
        Exception: imagecodecs raises whatever the encoder reports.
    """
    allocated, is_signed = 8 * samples.dtype.itemsize, samples.dtype.kind == "i"
    if not is_signed:
        samples = samples + samples.dtype.type((1 << allocated - 1) - (1 << bits_stored - 1))
    stream = bytearray(imagecodecs.htj2k_encode(samples, reversible=True))
    sign = _SIGNED if is_signed else 0
    if stream[_SSIZ] != allocated - 1 | sign:
        raise ValueError("the encoder's code stream is not of the form that is known")
    stream[_SSIZ] = bits_stored - 1 | sign
    at = _header_end(stream)
    stream[at:at] = _MARK
    return bytes(stream)


def is_own(stream: bytes) -> bool:
    """Whether the code stream was made by `encode`, and reaches to its end; a byte may follow that makes it even."""
    return _MARK in stream[:_LONGEST_HEADER] and _EOC in stream[-3:]


def decode(stream: bytes) -> NDArray[Any]:
    """The samples, `[rows, columns]`, of a code stream that was made by `encode`.

    Raises:
        Exception: imagecodecs raises whatever the decoder reports.
    """
    return np.ascontiguousarray(imagecodecs.htj2k_decode(stream))


def _header_end(stream: bytearray) -> int:
    """Where the main header ends, and the first tile-part begins."""
    at = 2
    while (marker := int.from_bytes(stream[at : at + 2], "big")) != _SOT:
        if marker >> 8 != _SOT >> 8:
            raise ValueError("the encoder's code stream is not of the form that is known")
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return at
