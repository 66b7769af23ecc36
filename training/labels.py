"""What is true of an image, of all that was said of it: the last label by the time it was given.

To say that there is viral pneumonia is to say that there is pneumonia, and where there is none, there is no kind of it.
So the last word on a finding speaks for what follows from it too, and an older word on that gives way.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from radiolog.log.stage import Received
from schemas.events import Decision, Label
from training.findings import implied

Said = tuple[datetime, int, int, Decision]
"""When, and of labels of the same moment, which came onto the log last: partition and offset; then what."""

_KNOWN: Final = frozenset({Decision.PRESENT, Decision.ABSENT})


@dataclass(slots=True)
class Labels:
    """A fold over label events, in whatever order they are read; a label that comes twice counts once.

    Attributes:
        read: how many labels there were.
        resent: how many of them had been there before.
    """

    read: int = 0
    resent: int = 0
    _ids: set[UUID] = field(default_factory=set)
    _said: dict[UUID, dict[str, dict[str, Said]]] = field(default_factory=dict)

    def add(self, item: Received[Label]) -> None:
        """Takes one in."""
        label = item.event
        self.read += 1
        if label.event_id in self._ids:
            self.resent += 1
            return
        self._ids.add(label.event_id)
        by_author = self._said.setdefault(label.image_event_id, {}).setdefault(label.code, {})
        said = (label.labelled_at, item.at.partition, item.at.offset, label.decision)
        by_author[label.author] = max(said, by_author.get(label.author, said), key=_when)

    def of(self, image: UUID, codes: Iterable[str]) -> dict[str, bool]:
        """Which of the findings the image has (True) or has not; those that nobody could tell are left out."""
        last = {code: max(said.values(), key=_when) for code, said in self._said.get(image, {}).items()}
        settled = {code: decision for code in codes if (decision := _settled(code, last)) in _KNOWN}
        return {code: decision is Decision.PRESENT for code, decision in settled.items()}

    def has(self, image: UUID) -> bool:
        """Whether anything was said of the image."""
        return image in self._said

    def conflicts(self, image: UUID, codes: Iterable[str]) -> Iterator[str]:
        """The findings of the image of which authors say different things, each by the last that they said."""
        for code in codes:
            by_author = self._said.get(image, {}).get(code, {})
            if len({said[3] for said in by_author.values()}) > 1:
                yield code


def _settled(code: str, last: Mapping[str, Said]) -> Decision | None:
    """The last word on a finding, of what was said of itself and of what that follows from."""
    words = [
        said
        for other, said in last.items()
        if other == code or (said[3] in _KNOWN and code in implied(other, said[3] is Decision.PRESENT))
    ]
    return max(words, key=_when)[3] if words else None


def _when(said: Said) -> tuple[datetime, int, int]:
    return said[:3]
