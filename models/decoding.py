"""A DICOM Part 10 object to the stored values of its first frame.

Errors:
    Exception
    ├── NotAnImage      well formed, but an object of a kind that holds no pixels
    └── PixelError      pixels that cannot be had; `code` says why, and no message quotes patient data
"""

import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.errors import InvalidDicomError
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from models import codecs
from models.pixel_element import Cut, PixelElement, TooMany, element_at, inflated_element

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
        max_decoded_bytes: rows x columns x samples x bytes per sample, of the one frame that is decoded, may not exceed
            this. Codecs take two to six times as much while they work, so that the default fits the 4 GiB of a decode
            process. Uncompressed YBR_FULL takes eleven times as much to become RGB: near the limit it ends in a
            MemoryError.
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
        """Of one frame."""
        return self.rows * self.columns * self.samples * max(1, self.bits_allocated // 8)

    def native_bytes(self, frames: int) -> int:
        """Length of so many uncompressed frames; YBR_FULL_422 stores two samples where it shows three."""
        samples = 2 if self.photometric == PhotometricInterpretation.YBR_FULL_422 else self.samples
        return math.ceil(self.rows * self.columns * samples * frames * self.bits_allocated / 8)


def decode(dicom: bytes | memoryview | BinaryIO, limits: DecodeLimits = DecodeLimits()) -> DecodedImage:
    """Decode the first frame of a DICOM Part 10 object, in memory or in a stream that can be sought.

    However many frames there are, no more than the header and the first of them is read. Native, deflated, RLE, JPEG
    (baseline, extended 12-bit, lossless), JPEG-LS, JPEG 2000 and HTJ2K transfer syntaxes (PS3.5 annex A). Colour leaves
    as RGB; palette colour leaves as its indices.

    Raises:
        NotAnImage: the object is of a kind that holds no pixels.
        PixelError: the pixels cannot be had.
        MemoryError: the object takes more memory than the process may have.
    """
    with warnings.catch_warnings():
        # pydicom warns of every deviation that it can read past, and quotes values there too.
        warnings.simplefilter("ignore")
        stream = BytesIO(dicom) if isinstance(dicom, bytes | memoryview) else dicom
        dataset, element = _read(stream)
        if element is None:
            raise _no_pixels(dataset)
        layout = _layout(dataset, element.keyword)
        _check_size(layout, limits)
        frame = _first_frame(dataset, element, layout)
        with _alone(dataset, frame):
            pixels, photometric = _decode_frame(dataset)
    return DecodedImage(pixels=pixels, header=dataset, photometric=photometric)


def _read(stream: BinaryIO) -> tuple[FileDataset, PixelElement | None]:
    """The header, and the pixels behind it."""
    try:
        dataset = dcmread(stream, stop_before_pixels=True)
        if dataset.file_meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
            stream.seek(0)
            dataset = dcmread(stream)
            return dataset, inflated_element(dataset)
        return dataset, element_at(stream, dataset)
    except PixelError:
        raise
    except Cut as error:
        raise PixelError(PixelErrorCode.TRUNCATED, "the DICOM file ends inside Pixel Data") from error
    except TooMany as error:
        raise PixelError(PixelErrorCode.INVALID_ATTRIBUTE, str(error)) from error
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


def _no_pixels(dataset: Dataset) -> Exception:
    if "Rows" in dataset or "Columns" in dataset:
        return PixelError(
            PixelErrorCode.MISSING_ATTRIBUTE, "Pixel Data is missing although the object describes an image"
        )
    return NotAnImage("the object holds no pixel data")


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
            f"a frame of {layout.rows} x {layout.columns} would decode to {layout.decoded_bytes} bytes, "
            f"{limits.max_decoded_bytes} are allowed",
        )


def _first_frame(dataset: FileDataset, element: PixelElement, layout: _Layout) -> RawDataElement:
    """The element with its first frame alone, once the whole has been found to be there."""
    if element.length == 0:
        raise PixelError(PixelErrorCode.TRUNCATED, "Pixel Data is empty")
    syntax = _transfer_syntax(dataset)
    if syntax.is_encapsulated:
        frame = _encapsulated_frame(element, layout.frames)
        if syntax in codecs.WITH_CODESTREAM:
            _check_codestream(frame, syntax, layout)
        return element.encapsulating(frame)
    if element.length is None:
        raise PixelError(PixelErrorCode.INVALID_ATTRIBUTE, f"Pixel Data has no length, which {syntax.name} demands")
    if element.length < layout.native_bytes(layout.frames):
        raise PixelError(
            PixelErrorCode.TRUNCATED,
            f"Pixel Data holds {element.length} bytes, {layout.native_bytes(layout.frames)} expected",
        )
    return element.cut_to(layout.native_bytes(1))


def _encapsulated_frame(element: PixelElement, frames: int) -> bytes:
    try:
        frame = element.encapsulated_frame(frames)
    except MemoryError:
        raise
    except Exception as error:  # whatever the fragments of PS3.5 annex A.4 got wrong
        raise PixelError(
            PixelErrorCode.TRUNCATED, "the first frame cannot be found in the encapsulated Pixel Data"
        ) from error
    if not frame:
        raise PixelError(PixelErrorCode.TRUNCATED, "the first frame of the encapsulated Pixel Data is empty")
    return frame


@contextmanager
def _alone(dataset: FileDataset, frame: RawDataElement) -> Iterator[None]:
    """Makes the data set for a moment that of an object with this frame and no other."""
    # An Extended Offset Table says where the frames of the whole lie (PS3.3 C.7.6.3.1.8).
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        dataset.pop(keyword, None)
    frames = dataset.get("NumberOfFrames")
    if frames is not None:
        dataset.NumberOfFrames = 1
    dataset[frame.tag] = frame
    yield
    del dataset[frame.tag]
    if frames is not None:
        dataset.NumberOfFrames = frames


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
