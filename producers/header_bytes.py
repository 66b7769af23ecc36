"""The header of an object as bytes (PS3.5 section 7.1): an element that nobody changed is written as it came.

pydicom writes an element by way of a buffer of its own and looks at each a few times over, which made half of what an
object cost. It is left with what only it knows: values that are no longer bytes.
"""

import struct
from typing import Final

from pydicom import DataElement, Dataset
from pydicom.charset import default_encoding
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from producers.pixel_data import Encoding

_UNDEFINED: Final = 0xFFFFFFFF
#: Bytes of a value whose length is written with 16 bits (PS3.5 section 7.1.2).
LONGEST_SHORT: Final = 0xFFFF
_ITEM: Final = (0xFFFE, 0xE000)
#: The last group whose Group Length (gggg,0000) is not retired (PS3.5 section 7.2).
_COMMAND_AND_META: Final = 6


def written(header: Dataset, encoding: Encoding, character_set: str | list[str] = default_encoding) -> bytes:
    """The elements of a data set in ascending order, those of nested items included.

    Args:
        header: the data set.
        encoding: how to write it.
        character_set: that of whatever it is nested in, unless it names its own.

    Raises:
        Exception: pydicom raises whatever a malformed value leads it to.
    """
    character_set = header.get("SpecificCharacterSet") or character_set
    file = DicomBytesIO()
    file.is_implicit_VR, file.is_little_endian = encoding.implicit_vr, encoding.little_endian
    for tag in sorted(header.keys(), key=int):
        if tag.element == 0 and tag.group > _COMMAND_AND_META:
            continue
        element: DataElement | RawDataElement = header.get_item(tag)
        if isinstance(element, DataElement) and element.VR == "SQ":
            element = _sequence(element, encoding, character_set)
        if isinstance(element, RawDataElement) and _stays(element, encoding):
            file.write(as_bytes(element))
        else:
            write_data_element(file, header[tag], character_set)
    return file.getvalue()


def as_bytes(element: RawDataElement) -> bytes:
    """Tag, value representation, length and value (PS3.5 section 7.1.2 and 7.1.3)."""
    tag, value, order = element.tag, element.value or b"", "<" if element.is_little_endian else ">"
    if element.VR is None or element.is_implicit_VR:
        return struct.pack(f"{order}HHL", tag.group, tag.element, len(value)) + value
    vr = element.VR.encode("ascii")
    layout = "HH2s2xL" if element.VR in EXPLICIT_VR_LENGTH_32 else "HH2sH"
    return struct.pack(order + layout, tag.group, tag.element, vr, len(value)) + value


def bytes_element(tag: BaseTag, vr: str, value: bytes, encoding: Encoding) -> RawDataElement:
    """An element whose value is these bytes, of which there is an even number."""
    declared = None if encoding.implicit_vr else vr
    return RawDataElement(tag, declared, len(value), value, 0, encoding.implicit_vr, encoding.little_endian)


def text_element(tag: BaseTag, vr: str, text: str, encoding: Encoding) -> RawDataElement:
    """An element of characters of the default repertoire, padded to an even length (PS3.5 section 6.2)."""
    value = text.encode("ascii")
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return bytes_element(tag, vr, value, encoding)


def sequence_element(tag: BaseTag, items: list[Dataset], encoding: Encoding) -> RawDataElement:
    """A sequence of items, all of known length (PS3.5 section 7.5)."""
    element = DataElement(tag, "SQ", items)
    return _sequence(element, encoding, default_encoding)


def _sequence(element: DataElement, encoding: Encoding, character_set: str | list[str]) -> RawDataElement:
    items = (written(item, encoding, character_set) for item in element.value or ())
    value = b"".join(struct.pack(f"{encoding.order}HHL", *_ITEM, len(item)) + item for item in items)
    return bytes_element(element.tag, "SQ", value, encoding)


def _stays(element: RawDataElement, encoding: Encoding) -> bool:
    """Whether its bytes are what is to be written."""
    if (element.is_implicit_VR, element.is_little_endian) != (encoding.implicit_vr, encoding.little_endian):
        return False
    length = len(element.value or b"")
    is_short = not encoding.implicit_vr and element.VR not in EXPLICIT_VR_LENGTH_32
    return element.length != _UNDEFINED and not (is_short and length > LONGEST_SHORT)
