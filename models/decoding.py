"""A DICOM Part 10 object in memory to the stored values of its first frame.

Errors:
    Exception
    ├── NotAnImage      well formed, but an object of a kind that holds no pixels
    └── PixelError      pixels that cannot be had; `code` says why, and no message quotes patient data
"""

import logging
import math
import warnings
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset, dcmread
from pydicom.encaps import get_frame
from pydicom.errors import InvalidDicomError
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from models import codecs

_PIXEL_KEYWORDS: Final = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_EDGE_LIMIT: Final = 2**16 - 1  # Rows and Columns are unsigned shorts (PS3.3 C.7.6.3).
_FRAME_LIMIT: Final = 2**31 - 1

codecs.register()
# Its warnings quote the values of elements, which may be a name or a date of birth.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)


class PixelErrorCode(StrEnum):
    """Why an object's pixels cannot be had."""

    NOT_DICOM = "NOT_DICOM"
    MISSING_ATTRIBUTE = "MISSING_ATTRIBUTE"
    INVALID_ATTRIBUTE = "INVALID_ATTRIBUTE"
    TOO_LARGE = "TOO_LARGE"
    TRUNCATED = "TRUNCATED"
    UNSUPPORTED = "UNSUPPORTED"
    UNDECODABLE = "UNDECODABLE"


class PixelError(Exception):
    """Pixels that are broken, missing, too many or in a form that nobody here reads."""

    def __init__(self, code: PixelErrorCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


class NotAnImage(Exception):
    """A well-formed DICOM object without pixels: a report, a presentation state, a waveform."""


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Bounds that hold before anything is decoded.

    Attributes:
        max_decoded_bytes: rows x columns x samples x frames x bytes per sample may not exceed this. Codecs take two to
            six times as much while they work, so that the default fits the 4 GiB of a decode process. Uncompressed
            YBR_FULL takes eleven times as much to become RGB: near the limit it ends in a MemoryError.
    """

    max_decoded_bytes: int = 512 << 20


@dataclass(slots=True)
class DecodedImage:
    """The first frame of an image object.

    Attributes:
        pixels: stored values, `[rows, columns]` or, in RGB, `[rows, columns, 3]`.
        header: the data set without its pixels, file meta information included.
        photometric: Photometric Interpretation of `pixels`, which a colour transform in the codec may have changed.
    """

    pixels: NDArray[Any]
    header: Dataset
    photometric: str


@dataclass(frozen=True, slots=True)
class _Layout:
    """The Image Pixel attributes (PS3.3 C.7.6.3) that fix how many bytes the pixels take."""

    rows: int
    columns: int
    samples: int
    frames: int
    bits_allocated: int
    photometric: str

    @property
    def decoded_bytes(self) -> int:
        return self.rows * self.columns * self.samples * self.frames * max(1, self.bits_allocated // 8)

    @property
    def native_bytes(self) -> int:
        """Length of uncompressed Pixel Data; YBR_FULL_422 stores two samples where it shows three."""
        samples = 2 if self.photometric == PhotometricInterpretation.YBR_FULL_422 else self.samples
        return math.ceil(self.rows * self.columns * samples * self.frames * self.bits_allocated / 8)


def decode(dicom: bytes | memoryview, limits: DecodeLimits = DecodeLimits()) -> DecodedImage:
    """Decode the first frame of a DICOM Part 10 object.

    Native, deflated, RLE, JPEG (baseline, extended 12-bit, lossless), JPEG-LS, JPEG 2000 and HTJ2K transfer
    syntaxes (PS3.5 annex A). Colour leaves as RGB; palette colour leaves as its indices.

    Raises:
        NotAnImage: the object is of a kind that holds no pixels.
        PixelError: the pixels cannot be had.
        MemoryError: the object takes more memory than the process may have.
    """
    with warnings.catch_warnings():
        # pydicom warns of every deviation that it can read past, and quotes values there too.
        warnings.simplefilter("ignore")
        dataset = _read(dicom)
        keyword = _pixel_keyword(dataset)
        layout = _layout(dataset, keyword)
        _check_size(layout, limits)
        _check_length(dataset, keyword, layout)
        pixels, photometric = _decode_frame(dataset)
    del dataset[keyword]
    return DecodedImage(pixels=pixels, header=dataset, photometric=photometric)


def _read(dicom: bytes | memoryview) -> FileDataset:
    try:
        return dcmread(BytesIO(dicom))
    except InvalidDicomError as error:
        raise PixelError(PixelErrorCode.NOT_DICOM, "not a DICOM Part 10 file: no 'DICM' prefix at byte 128") from error
    except EOFError as error:
        raise PixelError(PixelErrorCode.TRUNCATED, "the DICOM file ends in the middle of an element") from error
    except MemoryError:
        raise
    except Exception as error:  # any parser failure on hostile bytes is the same to the caller
        raise PixelError(
            PixelErrorCode.NOT_DICOM, f"the DICOM file cannot be parsed ({type(error).__name__})"
        ) from error


def _pixel_keyword(dataset: Dataset) -> str:
    present = [keyword for keyword in _PIXEL_KEYWORDS if keyword in dataset]
    if len(present) == 1:
        return present[0]
    if present:
        raise PixelError(
            PixelErrorCode.INVALID_ATTRIBUTE, "more than one of Pixel Data, Float and Double Float Pixel Data"
        )
    if "Rows" in dataset or "Columns" in dataset:
        raise PixelError(
            PixelErrorCode.MISSING_ATTRIBUTE, "Pixel Data is missing although the object describes an image"
        )
    raise NotAnImage("the object holds no pixel data")


def _layout(dataset: Dataset, keyword: str) -> _Layout:
    rows, columns = (_integer(dataset, edge, 1, _EDGE_LIMIT) for edge in ("Rows", "Columns"))
    bits_allocated = _integer(dataset, "BitsAllocated", 1, 64)
    if keyword == "PixelData":
        _integer(dataset, "BitsStored", 1, bits_allocated)
        _integer(dataset, "PixelRepresentation", 0, 1)
    photometric = _value(dataset, "PhotometricInterpretation")
    if not isinstance(photometric, str) or not photometric:
        raise PixelError(PixelErrorCode.MISSING_ATTRIBUTE, "Photometric Interpretation is missing")
    return _Layout(
        rows=rows,
        columns=columns,
        samples=_integer(dataset, "SamplesPerPixel", 1, 4),
        frames=_integer(dataset, "NumberOfFrames", 1, _FRAME_LIMIT, default=1),
        bits_allocated=bits_allocated,
        photometric=photometric,
    )


def _value(dataset: Dataset, keyword: str) -> Any:
    """The value of an attribute or None; pydicom parses it only now, and raises what it likes where that fails."""
    try:
        return dataset.get(keyword)
    except MemoryError:
        raise
    except Exception as error:
        raise PixelError(
            PixelErrorCode.INVALID_ATTRIBUTE, f"{keyword} cannot be read ({type(error).__name__})"
        ) from error


def _integer(dataset: Dataset, keyword: str, low: int, high: int, default: int | None = None) -> int:
    value = _value(dataset, keyword)
    try:
        number = int(value) if value is not None else default
    except (TypeError, ValueError, OverflowError) as error:
        raise PixelError(PixelErrorCode.INVALID_ATTRIBUTE, f"{keyword} is not a number") from error
    if number is None:
        raise PixelError(PixelErrorCode.MISSING_ATTRIBUTE, f"{keyword} is missing")
    if not low <= number <= high:
        raise PixelError(
            PixelErrorCode.INVALID_ATTRIBUTE, f"{keyword} is {number}, which is not within {low} to {high}"
        )
    return number


def _check_size(layout: _Layout, limits: DecodeLimits) -> None:
    if layout.decoded_bytes > limits.max_decoded_bytes:
        raise PixelError(
            PixelErrorCode.TOO_LARGE,
            f"{layout.frames} frames of {layout.rows} x {layout.columns} would decode to {layout.decoded_bytes} "
            f"bytes, {limits.max_decoded_bytes} are allowed",
        )


def _check_length(dataset: FileDataset, keyword: str, layout: _Layout) -> None:
    encoded = _value(dataset, keyword)
    if not encoded:
        raise PixelError(PixelErrorCode.TRUNCATED, "Pixel Data is empty")
    syntax = _transfer_syntax(dataset)
    if not syntax.is_encapsulated:
        if len(encoded) < layout.native_bytes:
            raise PixelError(
                PixelErrorCode.TRUNCATED,
                f"Pixel Data holds {len(encoded)} bytes, {layout.native_bytes} expected",
            )
        return
    frame = _first_frame(dataset, encoded, layout.frames)
    if syntax in codecs.WITH_CODESTREAM:
        _check_codestream(frame, syntax, layout)


def _check_codestream(frame: bytes, syntax: UID, layout: _Layout) -> None:
    shape = codecs.codestream_shape(frame)
    if shape is None:
        raise PixelError(PixelErrorCode.UNDECODABLE, f"the {syntax.name} frame has no readable header")
    if shape != (layout.rows, layout.columns, layout.samples):
        raise PixelError(
            PixelErrorCode.INVALID_ATTRIBUTE,
            f"the compressed frame is {shape.rows} x {shape.columns} with {shape.samples} samples per pixel, "
            f"the object says {layout.rows} x {layout.columns} with {layout.samples}",
        )


def _first_frame(dataset: FileDataset, encoded: bytes, frames: int) -> bytes:
    # An Extended Offset Table only repeats where the items lie (PS3.3 C.7.6.3.1.8); a hostile one has the codec read
    # another place than the one that is checked here.
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        dataset.pop(keyword, None)
    try:
        return get_frame(encoded, 0, number_of_frames=frames)
    except MemoryError:
        raise
    except Exception as error:  # whatever the fragments of PS3.5 annex A.4 got wrong
        raise PixelError(
            PixelErrorCode.TRUNCATED, "the first frame cannot be found in the encapsulated Pixel Data"
        ) from error


def _transfer_syntax(dataset: FileDataset) -> UID:
    uid = _value(dataset.file_meta, "TransferSyntaxUID")
    if not uid:
        raise PixelError(
            PixelErrorCode.MISSING_ATTRIBUTE, "Transfer Syntax UID is missing in the file meta information"
        )
    syntax = UID(uid)
    if not syntax.is_transfer_syntax:
        raise PixelError(PixelErrorCode.UNSUPPORTED, "Transfer Syntax UID names no public transfer syntax")
    return syntax


def _decode_frame(dataset: FileDataset) -> tuple[NDArray[Any], str]:
    syntax = _transfer_syntax(dataset)
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise PixelError(PixelErrorCode.UNSUPPORTED, f"no decoder reads {syntax.name}") from error
    try:
        pixels, properties = decoder.as_array(dataset, index=0, decoding_plugin=codecs.CODECS.get(syntax, ""))
    except MemoryError:
        raise
    except Exception as error:  # codecs raise what they like on broken data
        raise PixelError(
            PixelErrorCode.UNDECODABLE, f"the {syntax.name} pixels cannot be decoded ({type(error).__name__})"
        ) from error
    return np.ascontiguousarray(pixels), str(properties["photometric_interpretation"])
