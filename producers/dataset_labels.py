"""What a data set says of its images, as label events."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from radiolog import __version__
from radiolog.log.api import Clients
from radiolog.log.replay import Unreadable, pin, read
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import Decision, Label, LabelSource, Severity, derived_id
from schemas.topics import LABELS

Progress = Callable[[int, int], None]
"""Hears how many records of how many have been read; some offsets hold none."""


@dataclass(frozen=True, slots=True)
class Author:
    """Who labels: a data set, known by its name and the hash of its content.

    Attributes:
        name: with the hash, so that what another edition of the data set says is another author's word.
        labelled_at: when it was labelled. The last label counts, so it should be early where it is not known.
        codes: SNOMED CT concept id by name of finding.
    """

    name: str
    labelled_at: datetime
    codes: Mapping[str, str]

    def labels(self, image: UUID, study_uid: str, findings: Mapping[str, bool]) -> Iterator[Label]:
        """The events that say which findings an image has (True) and which not; of findings without code, none."""
        for name, present in sorted(findings.items()):
            if (code := self.codes.get(name)) is None:
                continue
            yield Label(
                event_id=derived_id("label", image, code, self.name, self.labelled_at.isoformat()),
                code_version=__version__,
                study_uid=study_uid,
                image_event_id=image,
                code=code,
                name=name,
                decision=Decision.PRESENT if present else Decision.ABSENT,
                severity=Severity.UNKNOWN,
                source=LabelSource.DATASET,
                author=self.name,
                labelled_at=self.labelled_at,
            )


@dataclass(slots=True)
class Known:
    """What the log holds of imports: labels, and the images that they are of, by event id.

    An import publishes a label when its image is on the log, so an image that has one need not be sent again.
    """

    labels: set[UUID] = field(default_factory=set)
    images: set[UUID] = field(default_factory=set)

    @classmethod
    def of(
        cls,
        settings: Settings,
        codec: Codec,
        clients: Clients | None = None,
        progress: Progress = lambda done, total: None,
    ) -> "Known":
        """Reads all of the topic labels, as it stands now.

        Raises:
            LogError: the log can't be reached.
        """
        known, pinned = cls(), pin(settings, LABELS, clients)
        total = sum(pinned.end.values()) - sum(pinned.start.values())
        for done, item in enumerate(read(settings, codec, pinned, clients), start=1):
            if not isinstance(item, Unreadable) and item.event.source is LabelSource.DATASET:
                known.labels.add(item.event.event_id)
                known.images.add(item.event.image_event_id)
            progress(done, total)
        return known
