"""DICOM files: where the data set begins, and what the file meta information says of it (PS3.10 section 7)."""

import re
from dataclasses import dataclass, replace
from io import BytesIO

from pydicom.filereader import data_element_generator
from pydicom.tag import BaseTag, Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from producers.errors import BrokenObject

PREAMBLE_BYTES = 128
#: Of file meta information, private information included; it is a few hundred bytes in practice.
MAX_META_BYTES = 1 << 20
_MAGIC = b"DICM"
_GROUP_2 = b"\x02\x00"
_VR = re.compile(rb"[A-Z]{2}")
_SOP_CLASS, _SOP_INSTANCE, _SYNTAX = map(
    Tag, ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
)
#: Media Storage Directory Storage: a DICOMDIR is an index of files, not an object of its own.
DICOMDIR_CLASS = "1.2.840.10008.1.3.10"


@dataclass(frozen=True, slots=True)
class Part10:
    """One DICOM file, not parsed beyond its file meta information.

    Attributes:
        dataset: the data set, exactly as it stands in the file.
        transfer_syntax: as the file says; a guess for a file without file meta information.
        sop_class: None where the file does not say.
        sop_instance: None where the file does not say.
        has_preamble: whether the file begins as PS3.10 wants it.
    """

    dataset: bytes
    transfer_syntax: str
    sop_class: str | None
    sop_instance: str | None
    has_preamble: bool

    @property
    def is_dicomdir(self) -> bool:
        """Whether the file is a directory of other files."""
        return self.sop_class == DICOMDIR_CLASS


def has_preamble(content: bytes) -> bool:
    """Whether the content of a file, or its first 132 bytes, begins as PS3.10 section 7.1 wants it."""
    return content[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == _MAGIC


def parse(content: bytes) -> Part10:
    """Find the data set in the content of a file: with preamble, without it, or without file meta information.

    Raises:
        BrokenObject: the file meta information is cut off, without end, or names no transfer syntax.
    """
    head, start = _head(content)
    return replace(head, dataset=content[start:])


def parse_in_place(content: BytesIO) -> Part10:
    """As `parse` does, but the data set is the very buffer of `content`, which loses what stands before, not a copy.

    Raises:
        BrokenObject: as `parse` does.
    """
    head, start = _head(content.getvalue())
    if start:
        with content.getbuffer() as buffer:
            left = len(buffer) - start
            buffer[:left] = buffer[start:]
        content.truncate(left)
    return replace(head, dataset=content.getvalue())


def _head(content: bytes) -> tuple[Part10, int]:
    """What a file says before its data set, which is left out, and where that begins."""
    complete = has_preamble(content)
    start = PREAMBLE_BYTES + 4 if complete else 0
    if content[start : start + 2] != _GROUP_2:
        return Part10(b"", _guessed_syntax(content[start : start + 6]), None, None, complete), start
    meta, end = _meta(content, start)
    syntax = meta.get(_SYNTAX) or _guessed_syntax(content[end : end + 6])
    return Part10(b"", syntax, meta.get(_SOP_CLASS), meta.get(_SOP_INSTANCE), complete), end


def _meta(content: bytes, start: int) -> tuple[dict[BaseTag, str], int]:
    """The UIDs of the file meta information, and where it ends."""
    stream = BytesIO(content)
    stream.seek(start)

    def is_behind(tag: BaseTag, _vr: str | None, length: int) -> bool:
        if tag.group == 2 and (length == 0xFFFFFFFF or stream.tell() - start > MAX_META_BYTES):
            raise BrokenObject("the file meta information holds what does not belong there")
        return tag.group != 2

    elements = data_element_generator(stream, False, True, stop_when=is_behind)
    try:
        values = {element.tag: bytes(element.value or b"") for element in elements if element.VR == "UI"}
    except BrokenObject:
        raise
    except Exception as error:  # pydicom raises whatever the bytes lead it to
        raise BrokenObject(f"the file meta information is broken ({type(error).__name__})") from None
    return {tag: value.decode("ascii", "replace").strip("\0 ") for tag, value in values.items()}, stream.tell()


def _guessed_syntax(dataset: bytes) -> str:
    if _VR.fullmatch(dataset[4:6]) is None:
        return ImplicitVRLittleEndian
    return ExplicitVRBigEndian if dataset[:1] == b"\0" else ExplicitVRLittleEndian
