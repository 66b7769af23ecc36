"""The Pixel Data element at the end of a data set, measured without looking at a pixel (PS3.5 section 8, Annex A.4)."""

import struct
from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID

from producers.errors import BrokenObject

#: Float Pixel Data, Double Float Pixel Data and Pixel Data.
PIXEL_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})

_UNDEFINED = 0xFFFFFFFF
_ITEM, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)
_LONG_VRS = frozenset({b"OB", b"OW", b"OF", b"OD", b"UN"})
_PIXEL_DATA = (0x7FE0, 0x0010)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How the elements of a data set are written (PS3.5 section 7)."""

    implicit_vr: bool
    little_endian: bool

    @classmethod
    def of(cls, transfer_syntax: UID) -> "Encoding":
        """The encoding that a transfer syntax prescribes.

        A private one, or one that is newer than pydicom, is taken for explicit VR little endian: all syntaxes that
        encapsulate pixels are that (PS3.5 section A.4), and so are all that DICOM added since 1996.
        """
        if not transfer_syntax.is_transfer_syntax:
            return cls(implicit_vr=False, little_endian=True)
        return cls(transfer_syntax.is_implicit_VR, transfer_syntax.is_little_endian)

    @property
    def order(self) -> str:
        """The byte order as `struct` writes it."""
        return "<" if self.little_endian else ">"


def element_end(dataset: memoryview, start: int, encoding: Encoding) -> int:
    """Where the Pixel Data element that begins at `start` ends.

    Raises:
        BrokenObject: it does not end within the data set.
    """
    value, length = _value(dataset, start, encoding)
    if length == _UNDEFINED:
        return _fragments_end(dataset, value, encoding)
    if value + length > len(dataset):
        raise BrokenObject(f"Pixel Data declares {length} bytes, {len(dataset) - value} are there")
    return value + length


def native_value(element: memoryview, encoding: Encoding) -> memoryview | None:
    """The value of a whole element with pixels; None where it is none of Pixel Data, or consists of fragments."""
    value, length = _value(element, 0, encoding)
    if _unpack(f"{encoding.order}HH", element, 0) != _PIXEL_DATA or length == _UNDEFINED:
        return None
    return element[value : value + length]


def encapsulated_element(items: bytes) -> bytes:
    """Pixel Data that consists of these items, the Basic Offset Table first (PS3.5 section A.4)."""
    head = struct.pack("<HH2s2xL", *_PIXEL_DATA, b"OB", _UNDEFINED)
    return head + items + struct.pack("<HHL", *_SEQUENCE_END, 0)


def _value(dataset: memoryview, start: int, encoding: Encoding) -> tuple[int, int]:
    """Offset and declared length of the value of the element at `start`."""
    if encoding.implicit_vr:
        return start + 8, int(_unpack(f"{encoding.order}L", dataset, start + 4)[0])
    vr, length = _unpack(f"{encoding.order}2s2xL", dataset, start + 4)
    if vr not in _LONG_VRS:
        raise BrokenObject("Pixel Data has a value representation that pixels cannot have")
    return start + 12, length


def _fragments_end(dataset: memoryview, at: int, encoding: Encoding) -> int:
    count = 0
    while True:
        group, element, length = _unpack(f"{encoding.order}HHL", dataset, at)
        at += 8
        if (group, element) == _SEQUENCE_END:
            return at
        if (group, element) != _ITEM or length == _UNDEFINED:
            raise BrokenObject(f"encapsulated Pixel Data is broken after {count} items")
        if at + length > len(dataset):
            raise BrokenObject(f"encapsulated Pixel Data ends inside item {count + 1}")
        at, count = at + length, count + 1


def _unpack(layout: str, dataset: memoryview, at: int) -> tuple[Any, ...]:
    try:
        return struct.unpack_from(layout, dataset, at)
    except struct.error:
        raise BrokenObject("the data set ends inside Pixel Data") from None
