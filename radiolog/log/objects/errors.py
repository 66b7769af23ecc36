"""What can go wrong with an object.

Exception
├── LogUnavailable
│   └── ObjectStoreUnavailable   no answer, no access or no room; the same call may go through later
├── ObjectMissing                the store answers, and has no such object
└── ObjectAltered                the object is not the one that was put

Messages name objects by their SHA-256 and hold nothing of their content.
"""

from radiolog.log.errors import LogUnavailable


class ObjectStoreUnavailable(LogUnavailable):
    """The store does not answer, lets nobody in or has no room: to an adapter the same as a log that is down."""


class ObjectMissing(Exception):
    """The store has no object of this name."""


class ObjectAltered(Exception):
    """The object's hash or size is not the one that its name promises."""
