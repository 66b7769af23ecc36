"""De-identifies a data set in place, nested sequences included, before anything of it is written to the log."""

from collections.abc import Callable
from functools import cache
from typing import cast

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, BasicVoiceAudioWaveformStorage, GeneralAudioWaveformStorage

from producers.dates import is_time, shifted
from producers.header_bytes import LONGEST_SHORT, sequence_element, text_element
from producers.identifiers import Identifiers
from producers.kept_text import is_code, keeps_code
from producers.kept_values import may_stay
from producers.pixel_data import Encoding
from producers.profile import CHARACTERISTICS, METHOD, METHOD_CODES, Action, action_for, standard_vrs
from producers.pseudonyms import Pseudonyms
from producers.values import ascii_texts

_Element = DataElement | RawDataElement

DUMMY_TEXT = "ANONYMIZED"
#: Of what people say nothing can be taken out, and dictations begin with the patient's name (PS3.4 section B.5).
_SPEECH = frozenset(
    {BasicVoiceAudioWaveformStorage, GeneralAudioWaveformStorage, UID("1.2.840.10008.10.4")}  # the last in real time
)
#: Ages above it are one group, as 45 CFR 164.514(b)(2)(i)(C) has it: there are few enough to be known by age.
OLDEST = "090Y"
_AGE = Tag("PatientAge")
_METHOD_CODES = Tag("DeidentificationMethodCodeSequence")
#: Where the time of day begins in a DT value.
_DATE_CHARACTERS = 8
_TEXT_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"})

#: Their elements have to be parsed; others are read and changed as the bytes that they are.
_PARSED = frozenset({Action.ITEMS, Action.CHARACTERISTIC})


def deidentify(header: Dataset, pseudonyms: Pseudonyms, patient: str) -> None:
    """Clean the header of an object by `producers.profile` and mark it as cleaned (PS3.3 section C.12.1).

    Args:
        header: the elements before Pixel Data; changed in place.
        pseudonyms: of the site.
        patient: the patient's token, which becomes Patient ID and moves the dates.
    """
    encoding = _encoding(header)
    _Cleaner(pseudonyms, pseudonyms.shift_days(patient), Identifiers.of(header), encoding).clean(header)
    if header.get("SOPClassUID") in _SPEECH:
        header.pop("WaveformSequence", None)
    header.PatientID = patient
    header.PatientName = ""
    header.PatientIdentityRemoved = "YES"
    header.LongitudinalTemporalInformationModified = "MODIFIED"
    header.DeidentificationMethod = METHOD
    header[_METHOD_CODES] = _method_codes(encoding)


class _Cleaner:
    """Cleans data sets of one patient; `identifiers` are what kept values must not repeat."""

    def __init__(self, pseudonyms: Pseudonyms, shift_days: int, identifiers: Identifiers, encoding: Encoding) -> None:
        self._pseudonyms = pseudonyms
        self._days = shift_days
        self._identifiers = identifiers
        self._encoding = encoding

    def clean(self, dataset: Dataset) -> None:
        # As they came: to parse one element pydicom parses others, and numbers no longer show the text they were.
        items = {tag: dataset.get_item(tag) for tag in dataset.keys()}  # noqa: SIM118 - iterating parses values
        for tag, came in items.items():
            item = _known(came)
            if item is not came:
                dataset[tag] = item
            action = action_for(tag, item.VR)
            if action is Action.REMOVE or (action is Action.KEEP and not may_stay(item, self._identifiers)):
                del dataset[tag]
            elif action is not Action.KEEP:
                self._replace(dataset, item, action)

    def _replace(self, dataset: Dataset, item: _Element, action: Action) -> None:
        tag = item.tag
        try:
            replacement = self._cleaned(dataset[tag] if action in _PARSED else item, action)
        except Exception:  # pydicom raises whatever a malformed value leads it to; such a value is not kept
            replacement = None
        if replacement is None:
            dataset.pop(tag, None)
        else:
            dataset[tag] = replacement

    def _cleaned(self, element: _Element, action: Action) -> _Element | None:
        """The element after `action`; None where it is to be removed."""
        match action:
            case Action.ITEMS:
                return self._with_clean_items(cast(DataElement, element))
            case Action.UID:
                return self._changed(element, self._uid)
            case Action.DATE:
                return self._changed(element, self._date)
            case Action.TIME:
                return self._changed(element, self._time)
            case Action.CHARACTERISTIC:
                is_one = cast(DataElement, element).VM == 1
                return self._changed(element, lambda text: self._characteristic(element.tag, text) if is_one else None)
            case Action.DUMMY:
                return self._dummy(element)
        return _empty(element.tag)

    def _date(self, text: str) -> str | None:
        return None if self._identifiers.are_in_digits(text[_DATE_CHARACTERS:]) else shifted(text, self._days)

    def _time(self, text: str) -> str | None:
        return text if is_time(text) and not self._identifiers.are_in_digits(text) else None

    def _characteristic(self, tag: BaseTag, text: str) -> str | None:
        if CHARACTERISTICS[tag].fullmatch(text) is None or self._identifiers.are_number(text):
            return None
        return OLDEST if tag == _AGE and text > OLDEST and text.endswith("Y") else text

    def _with_clean_items(self, element: DataElement) -> DataElement | None:
        if element.VR != "SQ":
            return None
        kept = [item for item in element.value if not is_code(item) or keeps_code(item)]
        if element.value and not kept:
            return None
        for item in kept:
            self.clean(item)
        return DataElement(element.tag, "SQ", Sequence(kept))

    def _dummy(self, element: _Element) -> _Element | None:
        (vr, *_) = standard_vrs(element.tag)
        if vr == "UI":
            return self._changed(element, self._uid)
        return DataElement(element.tag, vr, DUMMY_TEXT) if vr in _TEXT_VRS else None

    def _changed(self, element: _Element, change: Callable[[str], str | None]) -> _Element:
        """The element with each of its values changed; emptied if one cannot be."""
        before = ascii_texts(element)
        values = [changed for text in before if (changed := change(text)) is not None]
        if len(values) < len(before):
            return _empty(element.tag)
        if values == before:
            return element
        (vr, *_) = standard_vrs(element.tag)
        return text_element(element.tag, vr, "\\".join(values), self._encoding)

    def _uid(self, uid: str) -> str:
        # Well-known UIDs name no one, e.g. the frame of reference of the Talairach atlas.
        return uid if UID(uid).type else self._pseudonyms.uid(uid)


def _known(item: _Element) -> _Element:
    """An element of unknown value representation (UN) as one of that which the standard gives its tag.

    The bytes of its value are the same (PS3.5 section 6.2.2), save those of a sequence and, in big endian, of numbers.
    """
    if not isinstance(item, RawDataElement) or item.VR != "UN" or not item.is_little_endian:
        return item
    vrs = standard_vrs(item.tag)
    is_one = len(vrs) == 1 and "SQ" not in vrs and item.length <= LONGEST_SHORT
    return item._replace(VR=next(iter(vrs))) if is_one else item


def _empty(tag: BaseTag) -> DataElement:
    (vr, *_) = standard_vrs(tag)
    return DataElement(tag, vr, Sequence() if vr == "SQ" else None)


def _encoding(header: Dataset) -> Encoding:
    """How the header came in."""
    implicit_vr, little_endian = header.original_encoding
    return Encoding(bool(implicit_vr), little_endian is not False)


@cache
def _method_codes(encoding: Encoding) -> RawDataElement:
    """De-identification Method Code Sequence: the same in every object."""
    return sequence_element(_METHOD_CODES, [_code(*code) for code in METHOD_CODES], encoding)


def _code(value: str, meaning: str) -> Dataset:
    """A coded term of DCM (PS3.16 section 8)."""
    code = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = "DCM"
    code.CodeMeaning = meaning
    return code
