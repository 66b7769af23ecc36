"""Holds every object that an event names against its hash."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from radiolog.log.objects.errors import ObjectAltered, ObjectMissing
from radiolog.log.objects.garbage import Images, Progress
from radiolog.log.objects.store import ObjectStore
from radiolog.log.replay import Unreadable
from radiolog.log.stage import Coordinates
from schemas.events import ObjectRef


class Condition(StrEnum):
    """What an object is like."""

    WHOLE = "whole"
    MISSING = "missing"
    ALTERED = "altered"
    UNKNOWN = "unknown"
    """The record that would name it cannot be read."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One object, by the first record that names it."""

    condition: Condition
    at: Coordinates
    sha256: str | None


def audit(objects: ObjectStore, images: Images, progress: Progress) -> Iterator[Finding]:
    """Every object that `images` names now, each once, and every record that cannot be read.

    Raises:
        LogError: the log does not answer.
        ObjectStoreUnavailable: the store does not answer.
    """
    seen = set[bytes]()
    for item in images.read(progress):
        if isinstance(item, Unreadable):
            yield Finding(Condition.UNKNOWN, item.at, None)
            continue
        ref = item.event.payload_ref
        if ref is not None and ref.sha256 not in seen:
            seen.add(ref.sha256)
            yield Finding(_condition(objects, ref), item.at, ref.sha256.hex())


def _condition(objects: ObjectStore, ref: ObjectRef) -> Condition:
    try:
        objects.open(ref).close()
    except ObjectMissing:
        return Condition.MISSING
    except ObjectAltered:
        return Condition.ALTERED
    return Condition.WHOLE
