"""What a device is told: the Event Information of an N-EVENT-REPORT request (PS3.4 table J.3-2).

There is no Retrieve AE Title (0008,0054) in it, since radiolog gives objects to nobody.
"""

from dataclasses import dataclass
from typing import Self

from pydicom import Dataset, config
from pydicom.dataelem import DataElement
from pydicom.tag import Tag

from producers.commitment.journal import Entry
from producers.commitment.request import ObjectReference
from producers.commitment.statuses import EventType, FailureReason


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """The answer to one request.

    Attributes:
        event_type: whether all objects are committed.
        information: Event Information.
    """

    event_type: EventType
    information: Dataset

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """What was decided about a request."""
        decided = list(zip(entry.request.objects, entry.reasons, strict=True))
        committed = [_item(each) for each, reason in decided if reason is None]
        failed = [_item(each, reason) for each, reason in decided if reason is not None]
        information = Dataset()
        information.add(_uid("TransactionUID", entry.request.transaction))
        if committed:
            information.ReferencedSOPSequence = committed
        if failed:
            information.FailedSOPSequence = failed
        return cls(EventType.FAILURES_EXIST if failed else EventType.SUCCESSFUL, information)


def _item(reference: ObjectReference, reason: FailureReason | None = None) -> Dataset:
    item = Dataset()
    item.add(_uid("ReferencedSOPClassUID", reference.sop_class))
    item.add(_uid("ReferencedSOPInstanceUID", reference.sop_instance))
    if reason is not None:
        item.FailureReason = int(reason)
    return item


def _uid(keyword: str, value: str) -> DataElement:
    """The value as the device gave it; pydicom would warn of one that is no UID, and quote it."""
    return DataElement(Tag(keyword), "UI", value, validation_mode=config.IGNORE)
