"""Removes objects that no retained event names.

1. The objects that are older than the grace period are listed. A writer puts its object before it publishes the event,
   so a younger one may be about to be named.
2. Only then the end of `images` is pinned, and everything from its oldest record up to there is read: what was put
   before the listing and has been published since is seen.
3. Only if every record could be read is anything removed, and each object only if nobody has put it again meanwhile.

Whatever else is found, nothing is removed: a record that cannot be read may name any object.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from radiolog.log.api import Clients
from radiolog.log.errors import LogError
from radiolog.log.objects.place import Entry
from radiolog.log.objects.store import ObjectStore
from radiolog.log.replay import Unreadable, pin, read
from radiolog.log.stage import Received
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import ImageEvent
from schemas.registry import RegistryError
from schemas.topics import IMAGES

Progress = Callable[[int, int], None]
"""Hears how many records of how many have been read; some offsets hold none."""


class Unsure(Exception):
    """It is not known which objects are named, so none is removed."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """What was found.

    Attributes:
        events: how many events were read.
        young: how many objects are within the grace period.
        named: how many older ones an event names.
        unnamed: the older ones that none does.
        before: when the grace period began.
    """

    events: int
    young: int
    named: int
    unnamed: tuple[Entry, ...]
    before: datetime


class Images:
    """The events of `images`, oldest first in each partition, up to its end at the moment of asking."""

    def __init__(self, settings: Settings, codec: Codec, clients: Clients | None = None) -> None:
        self._settings = settings
        self._codec = codec
        self._clients = clients

    def read(self, progress: Progress) -> Iterator[Received[ImageEvent] | Unreadable]:
        """Every record; raises `LogError` or `RegistryError`."""
        pinned = pin(self._settings, IMAGES, self._clients)
        total = sum(end - pinned.start[partition] for partition, end in pinned.end.items())
        progress(0, total)
        for done, item in enumerate(read(self._settings, self._codec, pinned, self._clients), start=1):
            yield item
            progress(done, total)


def find(objects: ObjectStore, images: Images, before: datetime, progress: Progress) -> Garbage:
    """The objects last put before that time which no event names; removes nothing.

    Raises:
        Unsure: the log could not be read to its end, holds what is no event, or holds nothing at all.
        ObjectStoreUnavailable: the store could not be listed.
    """
    entries = list(objects.entries())
    old = {entry.sha256: entry for entry in entries if entry.modified < before}
    unnamed, events = dict(old), 0
    try:
        for item in images.read(progress):
            if isinstance(item, Unreadable):
                raise Unsure(
                    f"the record {item.at.topic}/{item.at.partition}/{item.at.offset} cannot be read "
                    f"({item.error_class}) and may name any object"
                )
            events += 1
            if item.event.payload_ref is not None:
                unnamed.pop(item.event.payload_ref.sha256, None)
    except (LogError, RegistryError) as error:
        raise Unsure(f"the log could not be read to its end ({error})") from error
    if old and not events:
        raise Unsure("the log holds no image at all: is it the one that these objects belong to?")
    return Garbage(events, len(entries) - len(old), len(old) - len(unnamed), tuple(unnamed.values()), before)


def remove(objects: ObjectStore, garbage: Garbage) -> Iterator[Entry]:
    """Removes what was found, and gives each object that it removed; what was put again since then stays.

    Raises:
        ObjectStoreUnavailable: the store broke off; a later run does the rest.
    """
    for entry in garbage.unnamed:
        if objects.remove(entry.sha256, garbage.before):
            yield entry
    objects.tidy(garbage.before)
