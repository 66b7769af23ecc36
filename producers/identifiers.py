"""What identifies one patient, and whether a value that is kept repeats it.

Devices note names and numbers where the standard has no place for them: in a protocol's name, in a code, in a number.
"""

import re
from dataclasses import dataclass

from pydicom import Dataset

from producers.values import texts_of

#: Where devices note the person, and where they copy such notes from.
_KEYWORDS = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "OtherPatientNames",
    "OtherPatientIDs",
    "AccessionNumber",
)
#: Shorter ones are found by chance, in any text, ...
_TEXT_CHARACTERS = 4
#: ... in numbers, where a window of 2000 is no one's record number, and in long values that are no text at all.
_NUMBER_CHARACTERS = 6
_BULK_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Identifiers:
    """Case does not matter to any of the questions.

    Attributes:
        parts: whole identifiers and the parts of names, in lower case.
        texts: those long enough to be looked for in text.
        numbers: those long enough to be looked for among numbers.
    """

    parts: frozenset[str]
    texts: frozenset[str]
    numbers: frozenset[str]

    @classmethod
    def of(cls, header: Dataset) -> "Identifiers":
        """The identifiers in the header of an object."""
        texts = [text.casefold() for keyword in _KEYWORDS for text in texts_of(header, keyword)]
        parts = {part for text in texts for part in (text, *re.split(r"[\^=, ]", text)) if part}
        in_text = frozenset(part for part in parts if len(part) >= _TEXT_CHARACTERS)
        in_numbers = frozenset(part for part in parts if len(part) >= _NUMBER_CHARACTERS)
        return cls(frozenset(parts), in_text, in_numbers)

    def are_in_text(self, text: str) -> bool:
        """Whether an identifier stands anywhere in `text`."""
        text = text.casefold()
        return any(part in text for part in self.texts)

    def are_code(self, code: str) -> bool:
        """Whether `code` (CS) is made of identifiers alone; YBR_FULL is not, even if the patient is called Full."""
        words = set(re.split("[_ ]+", code.casefold()))
        return code.casefold() in self.texts or (words <= self.parts and not words.isdisjoint(self.texts))

    def are_number(self, number: str) -> bool:
        """Whether `number` is an identifier of at least six characters, a sign apart."""
        return number.lstrip("+-").casefold() in self.numbers

    def are_in_bytes(self, content: bytes) -> bool:
        """Whether an identifier stands in `content`, which should hold binary numbers."""
        wanted = self.texts if len(content) <= _BULK_BYTES else self.numbers
        texts = [content.decode(encoding, "ignore").casefold() for encoding in ("latin-1", "utf-8")]
        return any(part in text for part in wanted for text in texts)
