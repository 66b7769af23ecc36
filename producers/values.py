"""The values of an element as text, whatever the sender put there."""

import re

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement

#: Control characters, NUL among them, and lone surrogates: no value of an event holds one (PS3.5 section 6.1.3).
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def texts(element: DataElement) -> list[str]:
    """The values of an element as they came, without padding; none of an empty element.

    Raises:
        ValueError: it is a sequence: as text it would be all that is in it.
    """
    if element.VR == "SQ":
        raise ValueError("a sequence is no text")
    values = element.value if element.VM > 1 else [element.value]
    return [text for value in values if value is not None and (text := str(value).strip("\0 "))]


def ascii_texts(item: DataElement | RawDataElement) -> list[str]:
    """As `texts`, of an element that is perhaps still bytes, and then stays so.

    Raises:
        UnicodeDecodeError: the bytes are not ASCII.
    """
    if not isinstance(item, RawDataElement):
        return texts(item)
    values = (item.value or b"").decode("ascii").split("\\")
    return [text for value in values if (text := value.strip("\0 "))]


def copied(header: Dataset) -> Dataset:
    """A copy to read from: pydicom parses what is read, and then neither the bytes nor the text of numbers is left."""
    copy = Dataset({tag: header.get_item(tag) for tag in header.keys()})  # noqa: SIM118 - iterating parses values
    implicit_vr, little_endian = header.original_encoding
    copy.set_original_encoding(implicit_vr, little_endian, header.original_character_set)
    return copy


def has_control_characters(text: str) -> bool:
    """Whether `text` holds what neither a UID nor one line of text may hold."""
    return _CONTROL.search(text) is not None


def plain(text: str) -> str:
    """`text` without control characters, which databases refuse and terminals obey."""
    return _CONTROL.sub("", text).strip()


def raw_texts_of(header: Dataset, keyword: str) -> list[str]:
    """The values of an element by its keyword, as `texts`; none where it is absent or cannot be read."""
    try:
        return texts(header[keyword]) if keyword in header else []
    except Exception:  # pydicom raises whatever a malformed value leads it to; such a value says nothing
        return []


def texts_of(header: Dataset, keyword: str) -> list[str]:
    """The values of an element by its keyword, without control characters."""
    return [text for raw in raw_texts_of(header, keyword) if (text := plain(raw))]


def text_of(header: Dataset, keyword: str) -> str:
    """The first value of an element by its keyword, without control characters, or ""."""
    return next(iter(texts_of(header, keyword)), "")
