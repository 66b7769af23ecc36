"""The Pixel Data element of a DICOM stream, and its first frame without the others (PS3.5 section 8, Annex A.4).

An object of many frames may take hundreds of megabytes. What is read of it is its header, the places of its items, and
the bytes of one frame.
"""

import os
import struct
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, Final

from pydicom import FileDataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate, get_frame
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

#: Float Pixel Data, Double Float Pixel Data and Pixel Data.
PIXEL_TAGS: Final = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})

_UNDEFINED: Final = 0xFFFFFFFF
_ITEM: Final = 0xFFFEE000
_SEQUENCE_END: Final = 0xFFFEE0DD


class Cut(Exception):
    """The stream ends inside Pixel Data."""


class TooMany(Exception):
    """There is a second element with pixels."""

    def __init__(self) -> None:
        super().__init__("more than one of Pixel Data, Float and Double Float Pixel Data")


@dataclass(frozen=True, slots=True)
class PixelElement:
    """An element with pixels.

    Attributes:
        stream: what it lies in.
        tag: one of `PIXEL_TAGS`.
        vr: as written; None in implicit VR.
        start: where its value begins in the stream.
        length: of its value in bytes, as far as it is there; None where it is a sequence of items.
        implicit_vr: how the elements of the stream are written.
        little_endian: likewise.
    """

    stream: BinaryIO
    tag: int
    vr: str | None
    start: int
    length: int | None
    implicit_vr: bool
    little_endian: bool

    @property
    def keyword(self) -> str:
        """The element's keyword."""
        return keyword_for_tag(self.tag)

    @property
    def end(self) -> int:
        """Where the element ends in the stream.

        Raises:
            Cut: its items do not end within it.
        """
        if self.length is not None:
            return self.start + self.length
        at, limit = self.start, _size(self.stream)
        while True:
            tag, length = self._item_at(at)
            at += 8
            if tag == _SEQUENCE_END:
                return at
            if tag != _ITEM or at + length > limit:
                raise Cut
            at += length

    def cut_to(self, length: int) -> RawDataElement:
        """The element with the first `length` bytes of its value alone, and one more where that makes them even.

        Values are even (PS3.5 section 7.1.1), and the bytes of big endian words lie the other way round.
        """
        length += length % 2
        self.stream.seek(self.start)
        return self._with(self.stream.read(length), length)

    def encapsulated_frame(self, frames: int) -> bytes:
        """The first frame of an element that holds items, of `frames` that the object says it has.

        Raises:
            Exception: pydicom's, of whatever kind, where the items hold no such frame.
        """
        self.stream.seek(self.start)
        return get_frame(self.stream, 0, number_of_frames=frames)

    def encapsulating(self, frame: bytes) -> RawDataElement:
        """The element with this frame alone as its item."""
        return self._with(encapsulate([frame]), _UNDEFINED)

    def _item_at(self, at: int) -> tuple[int, int]:
        self.stream.seek(at)
        try:
            group, element, length = struct.unpack(f"{_order(self.little_endian)}HHL", self.stream.read(8))
        except struct.error:
            raise Cut from None
        return group << 16 | element, length

    def _with(self, value: bytes, length: int) -> RawDataElement:
        return RawDataElement(BaseTag(self.tag), self.vr, length, value, 0, self.implicit_vr, self.little_endian)


def element_at(stream: BinaryIO, header: FileDataset) -> PixelElement | None:
    """The element that `stream` stands before, once `header` has been read from it; None if there is none.

    Raises:
        Cut: the stream ends inside it.
        TooMany: another one with pixels follows.
    """
    implicit_vr, little_endian = _encoding(header)
    at = stream.tell()
    head = stream.read(12)
    tag = _tag(head, little_endian)
    if tag not in PIXEL_TAGS:
        return None
    vr = None if implicit_vr else head[4:6].decode("ascii", "replace")
    layout, before = ("L", 4) if implicit_vr else ("L", 8) if vr in EXPLICIT_VR_LENGTH_32 else ("H", 6)
    try:
        (declared,) = struct.unpack_from(_order(little_endian) + layout, head, before)
    except struct.error:
        raise Cut from None
    start = at + before + struct.calcsize(f"={layout}")
    length = None if declared == _UNDEFINED else max(0, min(declared, _size(stream) - start))
    element = PixelElement(stream, tag, vr, start, length, implicit_vr, little_endian)
    stream.seek(element.end)
    if _tag(stream.read(4), little_endian) in PIXEL_TAGS:
        raise TooMany
    return element


def inflated_element(dataset: FileDataset) -> PixelElement | None:
    """The element of a data set that was deflated, and so had to be read as a whole (PS3.5 section A.5).

    Raises:
        TooMany: it has another one with pixels.
    """
    present = [tag for tag in sorted(PIXEL_TAGS) if tag in dataset]
    if len(present) > 1:
        raise TooMany
    for tag in present:
        raw = dataset.get_item(tag)
        value = bytes(raw.value or b"") if isinstance(raw, RawDataElement) else b""
        return PixelElement(BytesIO(value), tag, raw.VR if raw else None, 0, len(value), False, True)
    return None


def _encoding(header: FileDataset) -> tuple[bool, bool]:
    """Whether the header's elements are written without VR, and in little endian: some are not as the file says."""
    for item in map(header.get_item, list(header.keys())[::-1]):
        if isinstance(item, RawDataElement):
            return item.is_implicit_VR, item.is_little_endian
    implicit_vr, little_endian = header.original_encoding
    return bool(implicit_vr), bool(little_endian)


def _tag(head: bytes, little_endian: bool) -> int:
    """The tag that these bytes begin with; 0, which is none, where they are too few."""
    if len(head) < 4:
        return 0
    group, element = struct.unpack_from(f"{_order(little_endian)}HH", head)
    return int(group << 16 | element)


def _order(little_endian: bool) -> str:
    return "<" if little_endian else ">"


def _size(stream: BinaryIO) -> int:
    at = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    stream.seek(at)
    return size
