"""The text that stays: an explicit list, since free text cannot be cleaned (PS3.15 section E.3.5 is not taken).

Every other element of LO, SH, UC or AE is removed, whatever it says. What stays says how the pixels were made and what
their values mean; it is set by the manufacturer or chosen from a list at the console, not typed for a patient. It has
to be one line of printable ASCII, and must not repeat an identifier of the object (`producers.identifiers`).
"""

import re
from functools import cache
from itertools import chain
from typing import Final

from pydicom import Dataset
from pydicom.sr._concepts_dict import concepts
from pydicom.sr._snomed_dict import mapping as snomed
from pydicom.tag import BaseTag, Tag

_LINE: Final = re.compile(r"[ -~]{0,64}")
_NUMBER: Final = re.compile(r"\d{1,8}")
_UNIT: Final = re.compile(r"[A-Z0-9_ ]{1,16}")
_VERSION: Final = re.compile(r"[0-9A-Za-z.]{1,16}")

#: The elements, each with the form of its values.
KEPT_TEXT: Final[dict[BaseTag, re.Pattern[str]]] = {
    Tag(keyword): form
    for form, keywords in (
        # What the values of pixels mean: without it a rescaled CT has no unit.
        (_UNIT, ("RescaleType", "ModalityLUTType")),
        # Which machine and which software made them: models fail by machine, and reports have subgroups by it.
        (
            _LINE,
            (
                "Manufacturer",
                "ManufacturerModelName",
                "SoftwareVersions",
                "DetectorManufacturerName",
                "DetectorManufacturerModelName",
                "SecondaryCaptureDeviceManufacturer",
                "SecondaryCaptureDeviceManufacturerModelName",
                "SecondaryCaptureDeviceSoftwareVersions",
            ),
        ),
        # How it made them: they decide on sharpness, contrast and noise.
        (
            _LINE,
            (
                "AcquisitionDeviceProcessingCode",
                "ConvolutionKernel",
                "FilterType",
                "ImagedNucleus",
                "PhosphorType",
                "PlateType",
                "PulseSequenceName",
                "ReceiveCoilName",
                "SequenceName",
                "TransmitCoilName",
            ),
        ),
        # Which frames belong together; only where it is a number.
        (_NUMBER, ("StackID", "OpticalPathIdentifier", "ReferencedOpticalPathIdentifier")),
        # Coded terms, of which `keeps_code` says more.
        (_LINE, ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")),
        (_VERSION, ("CodingSchemeVersion",)),
    )
    for keyword in keywords
}


def has_kept_form(tag: BaseTag, text: str) -> bool:
    """Whether `text` is of the form that the values of the kept element `tag` have."""
    if tag == Tag("CodingSchemeDesignator"):
        return text in _schemes()
    return tag in KEPT_TEXT and KEPT_TEXT[tag].fullmatch(text) is not None


def is_code(item: Dataset) -> bool:
    """Whether an item of a sequence is a coded term (PS3.3 section 8.8)."""
    return any(keyword in item for keyword in ("CodeValue", "LongCodeValue", "URNCodeValue", "CodeMeaning"))


def keeps_code(item: Dataset) -> bool:
    """Whether the coded term stays: if it is one of PS3.16, and then with the meaning that PS3.16 gives it.

    A site's own codes may say anything, and so may the meaning that a device writes beside a code of the standard.
    """
    scheme, value = (str(item.get(keyword) or "").strip() for keyword in ("CodingSchemeDesignator", "CodeValue"))
    meaning = _meanings().get((scheme, value))
    if meaning is None:
        return False
    item.CodeMeaning = meaning
    return True


@cache
def _meanings() -> dict[tuple[str, str], str]:
    """The meanings of the codes in PS3.16's context groups, as pydicom carries them; by scheme and value."""
    schemes: dict[str, dict[str, dict[str, tuple[str, list[int]]]]] = concepts  # type: ignore[assignment]
    meanings: dict[tuple[str, str], str] = {}
    for scheme, by_keyword in schemes.items():
        for value, (meaning, _contexts) in chain.from_iterable(codes.items() for codes in by_keyword.values()):
            known = meanings.get((scheme, value))
            # Context groups do not all write the same one: the shortest is the plain one, e.g. Lung.
            if meaning.isascii() and (known is None or (len(meaning), meaning) < (len(known), known)):
                meanings[scheme, value] = meaning[:64]
    older = snomed["SRT"]  # the codes that SNOMED CT had in DICOM before 2019
    meanings |= {("SRT", value): meanings["SCT", now] for value, now in older.items() if ("SCT", now) in meanings}
    return meanings


@cache
def _schemes() -> frozenset[str]:
    return frozenset(scheme for scheme, _value in _meanings())
