"""Stored values to an HTJ2K code stream without loss (ISO/IEC 15444-15), and back.

The encoder is OpenJPH, by way of imagecodecs; both calls leave the interpreter to other threads.
"""

from typing import Any, Final

import imagecodecs
import numpy as np
from numpy.typing import NDArray

#: Of SOC and SIZ up to the one component's Ssiz (ISO/IEC 15444-1 section A.5.1): precision less one, and the sign bit.
_SSIZ: Final = 42
_SIGNED: Final = 0x80


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
    return bytes(stream)


def decode(stream: bytes) -> NDArray[Any]:
    """The samples, `[rows, columns]`.

    Raises:
        Exception: imagecodecs raises whatever the decoder reports.
    """
    return np.asarray(imagecodecs.htj2k_decode(stream))
