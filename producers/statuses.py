"""What DIMSE requests may end with (PS3.7 Annex C), and of them a C-STORE (PS3.4 table B.2-1)."""

from enum import IntEnum

from pydicom import Dataset

COMMENT_CHARACTERS = 64


class DimseStatus(IntEnum):
    """What a DIMSE request may end with; the statuses of each service are a subclass."""

    def response(self, comment: str = "") -> Dataset:
        """The status as pynetdicom takes it from a handler, with its Error Comment (0000,0902)."""
        answer = Dataset()
        answer.Status = int(self)
        if comment:
            answer.ErrorComment = printable(comment)
        return answer


class StoreStatus(DimseStatus):
    """Status (0000,0900) of a C-STORE response.

    A code that is not listed here is read as the failure that its range stands for, e.g. 0xC123 as CANNOT_UNDERSTAND.
    """

    SUCCESS = 0x0000
    """The object is on the log."""
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    """No presentation context takes the object."""
    NOT_AUTHORISED = 0x0124
    """This peer may not store here."""
    OUT_OF_RESOURCES = 0xA700
    """The log or the object store is down or full, or too much is sent at once: keep the object and send it again."""
    TOO_LARGE = 0xA701
    """The object exceeds what the log takes; sending it again will not help."""
    SOP_CLASS_MISMATCH = 0xA900
    """The data set is not of the SOP class that the request names."""
    WARNING = 0xB000
    """Stored, with changes or doubts; radiolog never answers so."""
    CANNOT_UNDERSTAND = 0xC000
    """The data set is broken or not DICOM."""

    @classmethod
    def _missing_(cls, value: object) -> "StoreStatus | None":
        ranges = {0xA7: cls.OUT_OF_RESOURCES, 0xA9: cls.SOP_CLASS_MISMATCH}
        classes = {0xB: cls.WARNING, 0xC: cls.CANNOT_UNDERSTAND, 0x0: cls.CANNOT_UNDERSTAND}
        if not isinstance(value, int):
            return None
        return ranges.get(value >> 8) or classes.get(value >> 12)


def printable(comment: str) -> str:
    """The comment as a value of LO: at most 64 characters, plain ASCII, no backslash (PS3.5 section 6.2)."""
    plain = comment.encode("ascii", "replace").decode().replace("\\", "/")
    plain = "".join(character if character.isprintable() else " " for character in plain)
    return plain if len(plain) <= COMMENT_CHARACTERS else plain[: COMMENT_CHARACTERS - 3] + "..."
