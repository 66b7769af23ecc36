"""Takes a DICOM object apart without decoding a pixel, and puts it together again.

Only the header, which is everything before Pixel Data, is parsed. Pixel Data stays the slice of bytes that came in and
goes back as it was. What follows it (digital signatures over the original, padding) is dropped, never passed on unread.
"""

import re
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

from pydicom import Dataset, config
from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.valuerep import STANDARD_VR

from producers.errors import BrokenObject, TooLarge
from producers.header_bytes import as_bytes, bytes_element, text_element, written
from producers.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION
from producers.outline import Outline
from producers.pixel_data import PIXEL_TAGS, Encoding, element_end
from producers.refusal import TooMuchAtOnce
from producers.values import texts
from radiolog.settings import MIB

# pydicom's warnings quote the value that they warn of, and values are people's names.
config.settings.reading_validation_mode = config.IGNORE
warnings.filterwarnings("ignore", module="pydicom")

#: Syntaxes that deflate the whole data set, and the syntax that the same data set has inflated (PS3.5 section A.5).
INFLATED: Final = {
    DeflatedExplicitVRLittleEndian: ExplicitVRLittleEndian,
    UID("1.2.840.10008.1.2.4.95"): UID("1.2.840.10008.1.2.4.94"),
    UID("1.2.840.10008.1.2.4.205"): UID("1.2.840.10008.1.2.4.204"),
}

#: What inflates to more is heavy.
SMALL_INFLATED_BYTES: Final = 16 * MIB

_META: Final = Encoding(implicit_vr=False, little_endian=True)
_PREAMBLE: Final = bytes(128) + b"DICM"
_SOP_CLASS: Final = Tag("SOPClassUID")
_CHARACTER_SET: Final = Tag("SpecificCharacterSet")
_VR: Final = re.compile(rb"[A-Z]{2}")


@dataclass(frozen=True, slots=True)
class DicomObject:
    """A parsed header and the bytes of the pixels.

    Attributes:
        header: the elements before Pixel Data.
        pixels: the whole Pixel Data element as received, tag and length included; empty without one.
        transfer_syntax: how `header` and `pixels` are encoded; not what the sender named if the data set was deflated,
            or if it plainly is of the other value representation (implicit for explicit or the reverse).
    """

    header: Dataset
    pixels: memoryview
    transfer_syntax: UID


def split(
    dataset: bytes, transfer_syntax: str, max_bytes: int, on_heavy: Callable[[], None] = lambda: None
) -> DicomObject:
    """Parse the header of a data set and find its pixels.

    Args:
        dataset: the data set as received, without preamble and file meta information.
        transfer_syntax: its Transfer Syntax UID; one that is private or not known is taken for an encapsulated one.
        max_bytes: largest size that a deflated data set may have inflated.
        on_heavy: called before the object takes far more memory than the bytes that were received, perhaps twice.

    Raises:
        BrokenObject: it is no data set in that transfer syntax, or it is cut off.
        TooLarge: it inflates to more than `max_bytes`, or its header unfolds to too much (`producers.outline`).
    """
    syntax = UID(transfer_syntax)
    if not syntax.is_valid or syntax.type not in {"", "Transfer Syntax"}:
        raise BrokenObject("the transfer syntax is none; send Explicit VR Little Endian")
    if syntax in INFLATED:
        dataset, syntax = _inflated(dataset, max_bytes, on_heavy), INFLATED[syntax]
    syntax = _actual_syntax(dataset, syntax)
    encoding = Encoding.of(syntax)
    stream = BytesIO(dataset)
    header = _read_header(stream, encoding, Outline(dataset, encoding, on_heavy))
    pixels = _find_pixels(memoryview(dataset), stream.tell(), encoding)
    if pixels:
        # Elements are in ascending order (PS3.5 section 7.1); one that was not would end up behind the pixels.
        for tag in [tag for tag in header.keys() if tag > min(PIXEL_TAGS)]:  # noqa: SIM118 - iterating parses values
            del header[tag]
    return DicomObject(header, pixels, syntax)


def pieces(header: Dataset, pixels: memoryview, transfer_syntax: UID) -> tuple[bytes, bytes, memoryview]:
    """A DICOM Part 10 file (PS3.10 section 7) in three pieces: fresh file meta information, the header, the pixels.

    The pixels, which may take hundreds of megabytes, are those that came in and not a copy.

    Raises:
        BrokenObject: an element of the header cannot be written in `transfer_syntax`.
    """
    try:
        body = written(header, Encoding.of(transfer_syntax))
    except Exception as error:  # pydicom raises whatever a malformed value leads it to
        raise BrokenObject(f"the header cannot be written again ({type(error).__name__})") from None
    return part10_head(header, transfer_syntax), body, pixels


def part10_head(header: Dataset, transfer_syntax: str) -> bytes:
    """Preamble and file meta information of an object with this header (PS3.10 section 7.1)."""
    elements = (
        bytes_element(Tag("FileMetaInformationVersion"), "OB", b"\0\1", _META),
        text_element(Tag("MediaStorageSOPClassUID"), "UI", _joined(header, "SOPClassUID"), _META),
        text_element(Tag("MediaStorageSOPInstanceUID"), "UI", _joined(header, "SOPInstanceUID"), _META),
        text_element(Tag("TransferSyntaxUID"), "UI", transfer_syntax, _META),
        text_element(Tag("ImplementationClassUID"), "UI", IMPLEMENTATION_CLASS_UID, _META),
        text_element(Tag("ImplementationVersionName"), "SH", IMPLEMENTATION_VERSION, _META),
    )
    group = b"".join(map(as_bytes, elements))
    length = bytes_element(Tag("FileMetaInformationGroupLength"), "UL", struct.pack("<L", len(group)), _META)
    return _PREAMBLE + as_bytes(length) + group


def _joined(header: Dataset, keyword: str) -> str:
    return "\\".join(texts(header[keyword]))


def _inflated(dataset: bytes, max_bytes: int, on_heavy: Callable[[], None]) -> bytes:
    inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(dataset, min(max_bytes, SMALL_INFLATED_BYTES) + 1)
        if len(plain) > SMALL_INFLATED_BYTES:
            on_heavy()
            if (more := max_bytes + 1 - len(plain)) > 0:
                plain += inflater.decompress(inflater.unconsumed_tail, more)
    except zlib.error:
        raise BrokenObject("the data set is not deflated as its transfer syntax says") from None
    if len(plain) > max_bytes:
        raise TooLarge(f"the data set inflates to more than {max_bytes} bytes")
    if not inflater.eof:
        raise BrokenObject("the deflated data set is cut off")
    return plain


def _actual_syntax(dataset: bytes, claimed: UID) -> UID:
    """The claimed syntax, or the uncompressed one that the first element shows: writers do mix up the two."""
    explicit = _VR.fullmatch(dataset[4:6]) is not None
    if explicit != Encoding.of(claimed).implicit_vr:
        return claimed
    if Encoding.of(claimed).implicit_vr:
        return ExplicitVRLittleEndian
    if claimed == ExplicitVRLittleEndian:
        return ImplicitVRLittleEndian
    raise BrokenObject("the data set is not DICOM, or not in explicit VR as its transfer syntax demands")


def _read_header(stream: BytesIO, encoding: Encoding, outline: Outline) -> Dataset:
    elements: dict[BaseTag, RawDataElement | DataElement] = {}

    def is_at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
        if tag in PIXEL_TAGS:
            return True
        outline.add(tag, vr, stream.tell(), length)
        return False

    try:
        for element in data_element_generator(stream, encoding.implicit_vr, encoding.little_endian, is_at_pixels):
            _check(element)
            elements[element.tag] = element
        header = _dataset(elements, encoding)
    except (TooLarge, TooMuchAtOnce):
        raise
    except Exception as error:  # pydicom raises whatever the bytes lead it to
        if _SOP_CLASS not in elements:
            raise BrokenObject("not DICOM, or not in the transfer syntax that it came under") from None
        if isinstance(error, BrokenObject):
            raise
        raise BrokenObject(f"the header is broken or cut off after {next(reversed(elements))}") from None
    if _SOP_CLASS not in elements:
        raise BrokenObject("the data set is not DICOM, or lacks SOP Class UID (0008,0016)")
    return header


def _check(element: RawDataElement | DataElement) -> None:
    """Pydicom reads a value that ends early as if it were whole, and guesses the length of one that it cannot know."""
    if element.VR is not None and element.VR not in STANDARD_VR:
        raise BrokenObject(f"{element.tag} has a value representation that DICOM does not know")
    if isinstance(element, RawDataElement) and element.length != 0xFFFFFFFF and element.value is not None:
        there = len(element.value)
        if there != element.length:
            raise BrokenObject(f"{element.tag} declares {element.length} bytes, {there} are there")


def _dataset(elements: dict[BaseTag, Any], encoding: Encoding) -> Dataset:
    header = Dataset(elements)
    character_set = header[_CHARACTER_SET].value if _CHARACTER_SET in header else None
    header.set_original_encoding(encoding.implicit_vr, encoding.little_endian, convert_encodings(character_set))
    return header


def _find_pixels(dataset: memoryview, at: int, encoding: Encoding) -> memoryview:
    """The Pixel Data element at `at`; nothing where the header reaches to the end, but for zeros as padding."""
    rest = dataset[at:]
    if len(rest) < 8:
        if any(rest):
            raise BrokenObject("the data set ends inside an element")
        return rest[:0]
    return dataset[at : element_end(dataset, at, encoding)]
