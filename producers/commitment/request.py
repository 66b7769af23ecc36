"""What a device asks: the Action Information of an N-ACTION request (PS3.4 table J.3-1)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydicom import Dataset
from pydicom.tag import Tag

from producers.commitment.statuses import ActionStatus
from producers.subject import UID_CHARACTERS
from producers.values import has_control_characters, raw_texts_of

#: A study of the largest kind has some thousand objects; each takes about 130 bytes of a request.
MAX_OBJECTS: Final = 20_000
MAX_BYTES: Final = 8 << 20


class Declined(Exception):
    """The request is not taken on; the message is for the person at the device and holds no value of the request."""

    def __init__(self, status: ActionStatus, comment: str) -> None:
        super().__init__(comment)
        self.status = status


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """One object, by the UIDs that the device knows it by."""

    sop_class: str
    sop_instance: str


@dataclass(frozen=True, slots=True)
class CommitmentRequest:
    """A transaction of one device.

    Attributes:
        peer: its AE title.
        transaction: Transaction UID (0008,1195), by which the device knows the report.
        objects: each once, in the order of the request.
    """

    peer: str
    transaction: str
    objects: tuple[ObjectReference, ...]

    @classmethod
    def of(cls, peer: str, information: Dataset) -> "CommitmentRequest":
        """The request in this Action Information.

        Raises:
            Declined: something is missing, is no UID, or is too much.
        """
        transaction = _uid(information, "TransactionUID")
        objects = tuple(dict.fromkeys(_objects(information)))
        return cls(peer, transaction, objects)


def _objects(information: Dataset) -> Iterator[ObjectReference]:
    items = _items(information)
    if not items:
        raise _invalid("ReferencedSOPSequence", "is missing or empty")
    if len(items) > MAX_OBJECTS:
        raise Declined(ActionStatus.RESOURCE_LIMITATION, f"more than {MAX_OBJECTS} objects: ask about fewer at a time")
    for item in items:
        yield ObjectReference(_uid(item, "ReferencedSOPClassUID"), _uid(item, "ReferencedSOPInstanceUID"))


def _items(information: Dataset) -> list[Dataset]:
    """Those of Referenced SOP Sequence (0008,1199); none where it is absent or cannot be read."""
    try:
        return [item for item in information.get("ReferencedSOPSequence") or [] if isinstance(item, Dataset)]
    except Exception:  # pydicom raises whatever a malformed value leads it to; such a value says nothing
        return []


def _uid(dataset: Dataset, keyword: str) -> str:
    """One UID, which may be any short text: the intake takes objects with such, too."""
    texts = raw_texts_of(dataset, keyword)
    if len(texts) != 1 or len(texts[0]) > UID_CHARACTERS or has_control_characters(texts[0]):
        raise _invalid(keyword, "is missing or no UID")
    return texts[0]


def _invalid(keyword: str, problem: str) -> Declined:
    return Declined(ActionStatus.INVALID_ARGUMENT_VALUE, f"{keyword} {Tag(keyword)} {problem}")
