"""De-identifies a data set in place, nested sequences included, before anything of it is written to the log."""

import re
from collections.abc import Callable

from pydicom import DataElement, Dataset
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID

from producers.dates import is_time, shifted
from producers.profile import CHARACTERISTICS, METHOD, METHOD_CODES, Action, action_for, standard_vrs
from producers.pseudonyms import Pseudonyms
from producers.values import texts, texts_of

DUMMY_TEXT = "ANONYMIZED"
#: Where devices note the person, and where they copy such notes to: the table leaves that text alone.
_IDENTIFYING = ("PatientName", "PatientID", "OtherPatientNames", "OtherPatientIDs", "AccessionNumber")
_ECHO_VRS = frozenset({"LO", "SH", "UC"})
_ECHO_CHARACTERS = 4
_NUMBER_VRS = frozenset({"DS", "IS"})
_NUMBERS = re.compile(rb"[\d+\-.,eE\\ \0]*")
_TEXT_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"})


def deidentify(header: Dataset, pseudonyms: Pseudonyms, patient: str) -> None:
    """Clean the header of an object by `producers.profile` and mark it as cleaned (PS3.3 section C.12.1).

    Args:
        header: the elements before Pixel Data; changed in place.
        pseudonyms: of the site.
        patient: the patient's token, which becomes Patient ID and moves the dates.
    """
    _Cleaner(pseudonyms, pseudonyms.shift_days(patient), _identifiers(header)).clean(header)
    header.PatientID = patient
    header.PatientName = ""
    header.PatientIdentityRemoved = "YES"
    header.LongitudinalTemporalInformationModified = "MODIFIED"
    header.DeidentificationMethod = METHOD
    header.DeidentificationMethodCodeSequence = Sequence(_code(*code) for code in METHOD_CODES)


class _Cleaner:
    """Cleans data sets of one patient; `echoes` is what kept text must not repeat, in lower case."""

    def __init__(self, pseudonyms: Pseudonyms, shift_days: int, echoes: frozenset[str]) -> None:
        self._pseudonyms = pseudonyms
        self._days = shift_days
        self._echoes = echoes

    def clean(self, dataset: Dataset) -> None:
        for tag in list(dataset.keys()):
            item = dataset.get_item(tag)
            action = action_for(tag, item.VR)
            if action is Action.REMOVE or (action is Action.KEEP and self._is_misused(item, dataset)):
                del dataset[tag]
            elif action is not Action.KEEP:
                self._replace(dataset, tag, action)

    def _is_misused(self, item: DataElement | RawDataElement, dataset: Dataset) -> bool:
        """Whether an element that the profile keeps repeats the patient's name or number, or is text for a number."""
        vrs = standard_vrs(item.tag)
        if vrs & _NUMBER_VRS and isinstance(item, RawDataElement):
            return _NUMBERS.fullmatch(item.value or b"") is None
        if not self._echoes or not vrs & _ECHO_VRS:
            return False
        try:
            if isinstance(item, RawDataElement):  # read a copy: a raw element is written again byte by byte
                item = convert_raw_data_element(item, encoding=dataset.original_character_set)
            text = str(item.value).casefold()
        except Exception:  # pydicom raises whatever a malformed value leads it to
            return True
        return any(echo in text for echo in self._echoes)

    def _replace(self, dataset: Dataset, tag: BaseTag, action: Action) -> None:
        try:
            replacement = self._cleaned(dataset[tag], action)
        except Exception:  # pydicom raises whatever a malformed value leads it to; such a value is not kept
            replacement = None
        if replacement is None:
            dataset.pop(tag, None)
        else:
            dataset[tag] = replacement

    def _cleaned(self, element: DataElement, action: Action) -> DataElement | None:
        """The element after `action`; None where it is to be removed."""
        match action:
            case Action.ITEMS:
                return self._with_clean_items(element)
            case Action.UID:
                return self._changed(element, self._uid)
            case Action.DATE:
                return self._changed(element, lambda text: shifted(text, self._days))
            case Action.TIME:
                return element if all(is_time(text) for text in texts(element)) else _empty(element.tag)
            case Action.CHARACTERISTIC:
                return element if CHARACTERISTICS[element.tag].fullmatch(str(element.value)) else _empty(element.tag)
            case Action.DUMMY:
                return self._dummy(element)
        return _empty(element.tag)

    def _with_clean_items(self, element: DataElement) -> DataElement | None:
        if element.VR != "SQ":
            return None
        for item in element.value:
            self.clean(item)
        return element

    def _dummy(self, element: DataElement) -> DataElement | None:
        (vr, *_) = standard_vrs(element.tag)
        if vr == "UI":
            return self._changed(element, self._uid)
        return DataElement(element.tag, vr, DUMMY_TEXT) if vr in _TEXT_VRS else None

    def _changed(self, element: DataElement, change: Callable[[str], str | None]) -> DataElement:
        """The element with each of its values changed; emptied if one cannot be."""
        values = [change(text) for text in texts(element)]
        if None in values:
            return _empty(element.tag)
        return DataElement(element.tag, element.VR, values if len(values) != 1 else values[0])

    def _uid(self, uid: str) -> str:
        # Well-known UIDs name no one, e.g. the frame of reference of the Talairach atlas.
        return uid if UID(uid).type else self._pseudonyms.uid(uid)


def _identifiers(header: Dataset) -> frozenset[str]:
    """What identifies the patient, in lower case: whole values and the parts of names, but for the shortest."""
    texts = [text.casefold() for keyword in _IDENTIFYING for text in texts_of(header, keyword)]
    parts = [part for text in texts for part in (text, *re.split(r"[\^=, ]", text))]
    return frozenset(part for part in parts if len(part) >= _ECHO_CHARACTERS)


def _empty(tag: BaseTag) -> DataElement:
    (vr, *_) = standard_vrs(tag)
    return DataElement(tag, vr, Sequence() if vr == "SQ" else None)


def _code(value: str, meaning: str) -> Dataset:
    """A coded term of DCM (PS3.16 section 8)."""
    code = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = "DCM"
    code.CodeMeaning = meaning
    return code
