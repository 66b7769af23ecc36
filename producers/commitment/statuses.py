"""What a request for storage commitment, and each object in it, may end with."""

from enum import IntEnum

from producers.statuses import DimseStatus


class ActionStatus(DimseStatus):
    """Status (0000,0900) of an N-ACTION response (PS3.7 section 10.1.4.1.10 and Annex C)."""

    SUCCESS = 0x0000
    """The request is kept and will be reported on; it says nothing of the objects."""
    PROCESSING_FAILURE = 0x0110
    """The request could not be kept: ask again."""
    NO_SUCH_SOP_INSTANCE = 0x0112
    """Requested SOP Instance UID is not that of the Push Model."""
    INVALID_ARGUMENT_VALUE = 0x0115
    """The Action Information lacks something, or holds what can't be."""
    NO_SUCH_ACTION = 0x0123
    """Action Type ID is not 1."""
    NOT_AUTHORISED = 0x0124
    """The settings have no address for this device, so it could not be told."""
    RESOURCE_LIMITATION = 0x0213
    """It is about too many objects, or too many requests wait: ask about fewer, or later."""


class FailureReason(IntEnum):
    """Failure Reason (0008,1197) of one object (PS3.3 section C.14.1.1).

    Of the reasons there, those for a lack of resources, an unsupported class and a repeated Transaction UID can't come
    up: such requests are not taken on.
    """

    PROCESSING_FAILURE = 0x0110
    """It could not be looked up."""
    NO_SUCH_OBJECT_INSTANCE = 0x0112
    """The log does not hold it."""
    CLASS_INSTANCE_CONFLICT = 0x0119
    """The log holds it, as an object of another SOP class."""


class EventType(IntEnum):
    """Event Type ID (0000,1002) of a report (PS3.4 table J.3-2)."""

    SUCCESSFUL = 1
    """All objects are committed."""
    FAILURES_EXIST = 2
    """Some are not."""
