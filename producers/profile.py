"""What becomes of each data element: the Basic Application Level Confidentiality Profile of PS3.15 Annex E.

The table of actions is dicom-anonymizer's copy of table E.1-1 in its newest edition, 2026c, which holds all of 2024b
and the patient's elements added since. Two options are taken:

- Retain Longitudinal Temporal Information with Modified Dates (E.3.6): dates move, times of day stay; dates of birth
  and the values of hanging protocol selectors follow the basic profile.
- Retain Patient Characteristics (E.3.7): age, sex, size, weight, neutered, pregnancy and smoking status stay where
  they are well-formed. The option's free text (Ethnic Group, Allergies, Patient State, ...) cannot be cleaned and goes.

Elements that the table leaves alone, but that hold people's names, free text, addresses or unknown bytes, are removed,
and so is all other text but that of `producers.kept_text`. Of the values that stay, `producers.kept_values` asks that
they are what their tags stand for. Private elements and those that pydicom's dictionary does not know are removed too,
and so are overlays, curves and pixels in nested items: what cannot be cleaned is not kept.
"""

import re
from enum import Enum, auto
from functools import cache, lru_cache

from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as table
from pydicom.datadict import dictionary_keyword, dictionary_VR
from pydicom.tag import BaseTag, Tag

from producers.kept_text import KEPT_TEXT
from producers.pixel_data import PIXEL_TAGS


class Action(Enum):
    """What to do with one element."""

    KEEP = auto()
    REMOVE = auto()
    EMPTY = auto()
    DUMMY = auto()  # a meaningless value where the object would be invalid without one
    UID = auto()  # a pseudonymous UID
    DATE = auto()  # moved back by the patient's number of days
    TIME = auto()  # kept if it is one
    CHARACTERISTIC = auto()  # kept if it is well-formed
    ITEMS = auto()  # a sequence whose items are cleaned in turn


METHOD = "PS3.15 Basic Profile 2026c, keyed pseudonyms, dates shifted"

#: Codes of context group 7050 (PS3.16): the profile and the two options.
METHOD_CODES = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)

#: What a well-formed value of each retained characteristic looks like.
CHARACTERISTICS = {
    Tag("PatientAge"): re.compile(r"\d{3}[DWMY]"),
    Tag("PatientSex"): re.compile(r"[MFO]"),
    Tag("PatientSexNeutered"): re.compile(r"ALTERED|UNALTERED"),
    Tag("PatientSize"): re.compile(r"[\d.]{1,16}"),
    Tag("PatientWeight"): re.compile(r"[\d.]{1,16}"),
    Tag("PregnancyStatus"): re.compile(r"[1-4]"),
    Tag("SmokingStatus"): re.compile(r"YES|NO|UNKNOWN"),
}

_BASIC = {
    Action.DUMMY: (*table.D_TAGS, *table.Z_D_TAGS, *table.X_D_TAGS, *table.X_Z_D_TAGS),
    Action.EMPTY: (*table.Z_TAGS, *table.X_Z_TAGS),
    Action.REMOVE: table.X_TAGS,
    Action.UID: table.U_TAGS,
    Action.ITEMS: table.X_Z_U_STAR_TAGS,
}

_NOT_SHIFTED = frozenset(map(Tag, ("PatientBirthDate", "PatientBirthTime", "SelectorDAValue", "SelectorTMValue")))
#: Holds the original attributes, encrypted for whoever is to re-identify the object (PS3.15 section E.2).
_ENCRYPTED = Tag("EncryptedAttributesSequence")
_UNCLEANABLE = frozenset({"PN", "LT", "ST", "UT", "UR", "UN"})
_TEXT = frozenset({"AE", "LO", "SH", "UC"})
#: Codes in name, but what stands in them is a label or an id that a person or a site gave.
_LABELS = frozenset(
    map(Tag, ("ContentLabel", "DataPathID", "GraphicLayer", "ModifiedImageID", "ModifyingDeviceID", "TissueLocation"))
)
_OVERLAYS, _REPEATING = 0x6000, 0xFF00
#: The only element of bytes without a published layout (OB) that stays: it says what the colours of the pixels are.
_ICC_PROFILE = Tag("ICCProfile")
_CLASS_UIDS = ("SOPClassUID", "CodingSchemeUID", "ContextUID")


@lru_cache(maxsize=8192)
def action_for(tag: BaseTag, declared_vr: str | None) -> Action:
    """What to do with the element `tag`, which the sender declared to be of `declared_vr` (None in implicit VR)."""
    vrs = standard_vrs(tag)
    if tag.is_private or not vrs or tag.group < 0x0008 or tag.element == 0 or _is_never_kept(tag):
        return Action.REMOVE
    if tag in CHARACTERISTICS:
        return Action.CHARACTERISTIC
    listed = _basic_action(tag)
    if listed is None:
        return _unlisted_action(tag, vrs | {declared_vr} if declared_vr else vrs)
    if tag not in _NOT_SHIFTED and vrs & {"DA", "DT"}:
        return Action.DATE
    if tag not in _NOT_SHIFTED and "TM" in vrs:
        return Action.TIME
    return listed


@lru_cache(maxsize=8192)
def standard_vrs(tag: BaseTag) -> frozenset[str]:
    """The value representations that PS3.6 allows for `tag`; empty for an element that is not in the standard."""
    try:
        return frozenset(dictionary_VR(tag).split(" or "))
    except KeyError:
        return frozenset()


def _is_never_kept(tag: BaseTag) -> bool:
    """Whether `tag` goes although the table says otherwise, or nothing.

    Pixels are no part of the header, so those that stand there are of an icon or the like; without its data, which the
    table removes, the rest of an overlay plane makes an object invalid.
    """
    return tag == _ENCRYPTED or tag in _LABELS or tag in PIXEL_TAGS or tag.group & _REPEATING == _OVERLAYS


def _unlisted_action(tag: BaseTag, vrs: frozenset[str]) -> Action:
    if "SQ" not in vrs and (vrs & _UNCLEANABLE or (standard_vrs(tag) == {"OB"} and tag != _ICC_PROFILE)):
        return Action.REMOVE
    if "SQ" in vrs:
        return Action.ITEMS
    if standard_vrs(tag) & _TEXT and tag not in KEPT_TEXT:
        return Action.REMOVE
    if "UI" in vrs:
        return Action.KEEP if dictionary_keyword(tag).endswith(_CLASS_UIDS) else Action.UID
    if vrs & {"DA", "DT"}:
        return Action.DATE
    return Action.TIME if "TM" in vrs else Action.KEEP


def _basic_action(tag: BaseTag) -> Action | None:
    exact, masked = _tables()
    if tag in exact:
        return exact[tag]
    return next((action for base, mask, action in masked if tag & mask == base & mask), None)


@cache
def _tables() -> tuple[dict[int, Action], tuple[tuple[int, int, Action], ...]]:
    """Single tags, and (tag, mask, action) of the repeating groups 50xx and 60xx."""
    exact: dict[int, Action] = {}
    masked: list[tuple[int, int, Action]] = []
    for action, entries in _BASIC.items():
        for group, element, *mask in entries:
            if mask:
                masked.append((group << 16 | element, mask[0] << 16 | mask[1], action))
            else:
                exact[group << 16 | element] = action
    return exact, tuple(masked)
