"""What identifies the people in one object, and whether a value that is kept repeats it.

Devices note names and numbers where the standard has no place for them: in a software version, in a code, in a number.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import product

from pydicom import Dataset
from pydicom.tag import BaseTag, Tag

from producers.errors import TooLarge
from producers.profile import standard_vrs
from producers.values import copied, texts

#: Where devices note a person or an order, and where they copy such notes from; besides every name (PN).
PERSONAL = frozenset(
    map(
        Tag,
        (
            "AccessionNumber",
            "AdmissionID",
            "FillerOrderNumberImagingServiceRequest",
            "MedicalRecordLocator",
            "OtherPatientIDs",
            "PatientBirthDate",
            "PatientID",
            "PatientTelephoneNumbers",
            "PlacerOrderNumberImagingServiceRequest",
            "RequestedProcedureID",
            "ScheduledProcedureStepID",
        ),
    )
)
#: Where they note a place or a machine. Their words are those of anatomy and of trade, so only the whole counts.
PLACES = frozenset(
    map(
        Tag,
        (
            "DeviceSerialNumber",
            "InstitutionAddress",
            "InstitutionName",
            "InstitutionalDepartmentName",
            "IssuerOfPatientID",
            "PatientAddress",
            "StationName",
        ),
    )
)
#: Of a person name (PS3.5 section 6.2): family, given and middle name; prefix and suffix are titles, e.g. MR.
_NAME_COMPONENTS = 3
#: Shorter ones are found by chance: as words of a text or a code, ...
_WORD_CHARACTERS = 3
#: ... anywhere in a text, where a name in ideographs is shorter, ...
_TEXT_CHARACTERS, _IDEOGRAPHS = 4, 2
#: ... in numbers, where a window of 2000 is no one's record number, and in long values that are no text at all.
_NUMBER_CHARACTERS, _BULK_CHARACTERS = 6, 6
_BULK_BYTES = 1024
#: Each is looked for in each value that is kept: many times what an object of one patient names.
MAX_TEXTS = 1000
#: Bytes times patterns, some seconds: what would take longer to search is taken for found.
MOST_SEARCHED = 1 << 33
#: How a name may stand among bytes: PS3.3 section C.12.1.1.2, and what programs write unasked.
_ASCII = ("latin-1", "utf-16-le", "utf-16-be")
_ENCODINGS = (*_ASCII, "utf-8", "shift_jis", "iso2022_jp", "euc_jp", "euc_kr", "gb18030")


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Case does not matter to any of the questions.

    Attributes:
        words: the words of names, and identifiers that are one word, in lower case.
        texts: what is looked for anywhere in a text: words and whole values.
        numbers: what is looked for among numbers.
        patterns: `texts` in every encoding, for short binary values.
        bulk_patterns: those that are long enough for long binary values.
    """

    words: frozenset[str]
    texts: frozenset[str]
    numbers: frozenset[str]
    patterns: frozenset[bytes]
    bulk_patterns: frozenset[bytes]

    @classmethod
    def of(cls, header: Dataset) -> "Identifiers":
        """The identifiers in the header of an object, nested sequences included.

        Raises:
            TooLarge: there are more than `MAX_TEXTS`.
        """
        personal: set[str] = set()
        places: set[str] = set()
        for tag, value in _noted(header):
            (places if tag in PLACES else personal).add(value.casefold())
        parts = {part for value in personal for part in _parts(value)}
        words = frozenset(word for part in parts for word in (part, *_words(part)) if len(word) >= _WORD_CHARACTERS)
        parts |= personal
        found = frozenset(text for text in parts | words | places if _is_long_enough(text))
        if len(found) > MAX_TEXTS:
            raise TooLarge(f"the header names more than {MAX_TEXTS} people, numbers and places")
        # A row of zeros is what devices write for want of an ID, and stands in every other number.
        written = {part for part in parts | set(map(_plain_number, parts)) if len(set(part)) > 1}
        numbers = frozenset(part for part in written if len(part) >= _NUMBER_CHARACTERS)
        bulk = frozenset(text for text in found if len(text) >= _BULK_CHARACTERS)
        return cls(words, found, numbers, _encoded(found), _encoded(bulk))

    def are_in_text(self, text: str) -> bool:
        """Whether an identifier stands anywhere in `text`, or a short one is a word of it."""
        text = text.casefold()
        return any(part in text for part in self.texts) or not self.words.isdisjoint(_words(text))

    def are_code(self, code: str) -> bool:
        """Whether `code` (CS) is made of identifiers alone; YBR_FULL is not, even if the patient is called Full."""
        words = set(re.split("[_ ]+", code.casefold())) - {""}
        return bool(words) and words <= self.words

    def are_number(self, number: str) -> bool:
        """Whether `number` is an identifier of at least six characters, sign, leading zeros and decimals apart."""
        number = number.casefold()
        return number in self.numbers or _plain_number(number) in self.numbers

    def are_in_digits(self, text: str) -> bool:
        """Whether an identifier of at least six characters stands in a date or a time."""
        return any(number in text for number in self.numbers)

    def are_in_bytes(self, content: bytes) -> bool:
        """Whether an identifier stands in `content`, which should hold binary numbers, in whatever encoding."""
        if len(content) < _TEXT_CHARACTERS:
            return False
        patterns = self.patterns if len(content) <= _BULK_BYTES else self.bulk_patterns
        if len(content) * len(patterns) > MOST_SEARCHED:
            return True
        content = content.lower()
        return any(pattern in content for pattern in patterns)


def _noted(original: Dataset) -> Iterator[tuple[BaseTag, str]]:
    """Each element that may identify someone, with each of its values."""
    dataset = copied(original)
    for tag in list(dataset.keys()):
        vrs = standard_vrs(tag) | {dataset.get_item(tag).VR}
        if not (tag in PERSONAL or tag in PLACES or "PN" in vrs or "SQ" in vrs):
            continue
        with suppress(Exception):  # pydicom raises whatever a malformed value leads it to; such a value is not kept
            element = dataset[tag]
            if element.VR != "SQ":
                yield from ((tag, text) for text in texts(element))
            else:
                for item in element.value:
                    yield from _noted(item)


def _parts(value: str) -> Iterator[str]:
    """The components of a person name in each group of characters (PS3.5 section 6.2.1), and their words."""
    for group in value.split("="):
        for component in group.split("^")[:_NAME_COMPONENTS]:
            yield component.strip()
            yield from filter(None, re.split("[, ]", component))


def _words(text: str) -> set[str]:
    return {word for word in re.split(r"[\W_]+", text) if len(word) >= _WORD_CHARACTERS}


def _is_long_enough(text: str) -> bool:
    return len(text) >= (_TEXT_CHARACTERS if text.isascii() else _IDEOGRAPHS)


def _plain_number(number: str) -> str:
    """`number` without sign, leading zeros, and decimals that are zero."""
    return re.sub(r"\.0*$", "", number.lstrip("+-").lstrip("0"))


def _encoded(texts: Iterable[str]) -> frozenset[bytes]:
    """Each of `texts` in every encoding that has its characters, as `bytes.lower` leaves it."""
    found = set()
    for text in texts:
        variants, encodings = ((text,), _ASCII) if text.isascii() else ((text, text.upper()), _ENCODINGS)
        for variant, encoding in product(variants, encodings):
            with suppress(UnicodeEncodeError):
                found.add(variant.encode(encoding).lower())
    return frozenset(found)
