"""Uncompressed pixels as HTJ2K, without loss, before they go onto the log: an option of the site (RADIOLOG_TRANSCODE).

An object is written in another transfer syntax, and is the same object: no stored value changes, so neither does its
SOP Instance UID (PS3.3 section C.7.6.1.1.2), nor what it says of lossy compression. `event_id` and `received_sha256`
follow from the bytes as they came, and do not change either.

1. Taken is one frame of monochrome pixels, uncompressed, little endian, of 8 or 16 bits, with nothing in those bits but
   the stored value. What a code stream could not hold, such as an overlay in unused bits, would be lost.
2. It is encoded, decoded again, and compared with what came.
3. Where any of this does not hold, fails or saves nothing, the object goes on as it came: an encoder costs no image.
"""

import os
import threading
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
import structlog
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.filewriter import correct_ambiguous_vr
from pydicom.uid import UID, ExplicitVRLittleEndian, HTJ2KLossless, ImplicitVRLittleEndian

from producers import dicom_object
from producers.dicom_object import DicomObject
from producers.pixel_data import Encoding, encapsulated_element, native_value
from producers.values import copied
from radiolog.log.metrics import PROCESS, Metrics
from radiolog.settings import MIB

#: Below it there is nothing to save, above it one object would take too much memory: several times its size.
LEAST_BYTES: Final = 64 << 10
MOST_BYTES: Final = 64 * MIB

_NATIVE: Final = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian})
_MONOCHROME: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})

log = structlog.get_logger()


class Outcome(StrEnum):
    """What became of an object; `UNSUITED` is of another kind than those that are taken."""

    TRANSCODED = "transcoded"
    UNSUITED = "unsuited"
    NO_SAVING = "no_saving"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Transcoded:
    """An object in its new transfer syntax: the pieces of its file (`producers.dicom_object.pieces`)."""

    pieces: tuple[bytes | memoryview, ...]
    transfer_syntax: UID


class Transcoder:
    """Transcodes objects, at most as many at a time as there are cores; any thread may call it."""

    def __init__(self, metrics: Metrics = PROCESS) -> None:
        # Loaded before the first object comes, which would wait for it.
        from models import htj2k

        self._codec = htj2k
        self._outcomes = metrics.transcoded
        self._places = threading.BoundedSemaphore(len(os.sched_getaffinity(0)))

    def transcode(self, header: Dataset, parsed: DicomObject) -> Transcoded | None:
        """The object with this header and the pixels of `parsed`, transcoded; None where it is to stay as it is."""
        try:
            outcome, transcoded = self._attempt(header, parsed)
        except Exception as error:  # of a header that lies, of the codec, of memory: the object stays what it was
            log.warning("object not transcoded", error=type(error).__name__)
            outcome, transcoded = Outcome.FAILED, None
        self._outcomes.labels(outcome).inc()
        return transcoded

    def _attempt(self, header: Dataset, parsed: DicomObject) -> tuple[Outcome, Transcoded | None]:
        read = copied(header)
        samples = stored_values(read, parsed)
        if samples is None:
            return Outcome.UNSUITED, None
        with self._places:
            frame = self._codec.encode(samples, _number(read, "BitsStored"))
            if len(frame) >= samples.nbytes:
                return Outcome.NO_SAVING, None
            if not np.array_equal(self._codec.decode(frame), samples):
                raise ValueError("the code stream does not hold what was encoded")
        pixels = encapsulated_element(encapsulate([frame]))
        if parsed.transfer_syntax == ImplicitVRLittleEndian:
            # Its value representations come from the dictionary, where some are a choice that other elements decide.
            header = correct_ambiguous_vr(read, is_little_endian=True)
        pieces = dicom_object.pieces(header, memoryview(pixels), HTJ2KLossless)
        return Outcome.TRANSCODED, Transcoded(pieces, HTJ2KLossless)


def stored_values(header: Dataset, parsed: DicomObject) -> NDArray[Any] | None:
    """The one frame as `[rows, columns]`, a view of the bytes; None where a code stream could not hold all of it.

    Raises:
        Exception: pydicom raises whatever a malformed value leads it to.
    """
    if parsed.transfer_syntax not in _NATIVE or not LEAST_BYTES <= len(parsed.pixels) <= MOST_BYTES:
        return None
    value = native_value(parsed.pixels, Encoding.of(parsed.transfer_syntax))
    dtype = _sample_type(header)
    if value is None or dtype is None:
        return None
    rows, columns = _number(header, "Rows"), _number(header, "Columns")
    size = rows * columns * dtype.itemsize
    if size <= 0 or len(value) != size + size % 2:
        return None
    samples = np.frombuffer(value, dtype, rows * columns).reshape(rows, columns)
    return samples if _fits(samples, _number(header, "BitsStored")) else None


def _sample_type(header: Dataset) -> np.dtype[Any] | None:
    """How one pixel of a single monochrome frame is stored (PS3.5 section 8.1.1); None for anything else."""
    if header.get("SamplesPerPixel") != 1 or header.get("NumberOfFrames") not in {None, 1}:
        return None
    if header.get("PhotometricInterpretation") not in _MONOCHROME:
        return None
    allocated, stored, high = (_number(header, keyword) for keyword in ("BitsAllocated", "BitsStored", "HighBit"))
    # Eight bits in words of sixteen would come back as bytes from some decoders.
    if allocated not in {8, 16} or not allocated // 2 < stored <= allocated or high != stored - 1:
        return None
    kind = {0: "u", 1: "i"}.get(_number(header, "PixelRepresentation"))
    return np.dtype(f"<{kind}{allocated // 8}") if kind is not None else None


def _number(header: Dataset, keyword: str) -> int:
    """The value of an element that holds one number; -1, which none of them can be, where it does not."""
    value = header.get(keyword)
    return value if isinstance(value, int) else -1


def _fits(samples: NDArray[Any], bits_stored: int) -> bool:
    """Whether the bits above Bits Stored hold nothing of their own: no overlay, no padding, no noise."""
    least, greatest = int(samples.min()), int(samples.max())
    if samples.dtype.kind == "u":
        return not greatest >> bits_stored
    return -(1 << bits_stored - 1) <= least and greatest < 1 << bits_stored - 1
