"""Whether an element that the profile leaves alone may stay as it is.

Its value has to be what PS3.6 lists for its tag, in the form of PS3.5 section 6.2, and repeat nothing that identifies
the patient. Senders do declare other value representations than the standard's, and a reader believes them: a name
declared as text under the tag of a number is shown as a name.
"""

import re
from typing import Final

from pydicom import DataElement
from pydicom.charset import python_encoding
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID

from producers.identifiers import Identifiers
from producers.kept_text import has_kept_form
from producers.profile import standard_vrs
from producers.values import ascii_texts

_BINARY: Final = frozenset({"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"}) | frozenset(
    {"OB", "OD", "OF", "OL", "OV", "OW"}
)
_CHARACTER_SET: Final = Tag("SpecificCharacterSet")
_CODE: Final = re.compile(r"[A-Z0-9_ ]{0,16}")
#: Longer than the 16 characters of DS, since many devices write all digits of a double, and with a comma at times.
_NUMBER: Final = re.compile(r"[+-]?(\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?")
_UID: Final = re.compile(r"[0-9.]{1,64}")
_MODALITY: Final = Tag("Modality")
#: Modalities (PS3.3 section C.7.3.1.1.1) that a person could be called; the shorter ones are not looked for.
_MODALITIES: Final = frozenset({"ASM", "DOC", "FID", "LEN", "MAR", "PLAN", "REG", "SEG"})


def is_code(text: str) -> bool:
    """Whether `text` is a value of CS."""
    return _CODE.fullmatch(text) is not None


def is_uid(text: str) -> bool:
    """Whether `text` has the characters and the length of a UID (PS3.5 section 9.1)."""
    return _UID.fullmatch(text) is not None


def may_stay(item: DataElement | RawDataElement, identifiers: Identifiers) -> bool:
    """Whether `item` is what its tag stands for, and names no one."""
    vrs = standard_vrs(item.tag)
    binary = vrs <= _BINARY
    if item.VR is not None and (item.VR in _BINARY) != binary:
        return False
    if binary:
        return not isinstance(item.value, bytes) or not identifiers.are_in_bytes(item.value)
    (vr, *_) = vrs
    try:
        values = ascii_texts(item)
    except Exception:  # pydicom raises whatever a malformed value leads it to
        return False
    if item.tag == _CHARACTER_SET:
        return all(value in python_encoding for value in values)
    if item.tag == _MODALITY and _MODALITIES.issuperset(values):
        return True
    return all(_is_clean(item.tag, value, vr, identifiers) for value in values)


def _is_clean(tag: BaseTag, text: str, vr: str, identifiers: Identifiers) -> bool:
    match vr:
        case "CS":
            return is_code(text) and not identifiers.are_code(text)
        case "DS" | "IS":
            return _NUMBER.fullmatch(text) is not None and not identifiers.are_number(text)
        case "UI":
            known = bool(UID(text).type)
            return known or (is_uid(text) and not any(map(identifiers.are_number, text.split("."))))
        case "LO" | "SH":
            return has_kept_form(tag, text) and not identifiers.are_in_text(text)
    return False
