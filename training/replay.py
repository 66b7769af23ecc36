"""A slice of the log joined with its labels, split, rid of duplicates, and written down as a manifest.

1. `images` (or `preprocessed`) and `labels` are pinned; nothing that comes later is looked at.
2. The last label of each image and finding counts (`training.labels`); an image that came twice is kept once, as it
   came first.
3. Only labelled images are decoded, a few at a time: of each its fingerprint stays in memory, never its pixels.
4. Patients are shared out, then duplicates across splits leave the training side (`training.duplicates`).

What is left out is in the manifest's report, and nothing is left out in silence.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from models.spec import PreprocessSpec
from radiolog.log.replay import Slice, Unreadable, pin, read
from radiolog.log.stage import Coordinates, Received
from radiolog.settings import Settings
from schemas.events import Label, PixelStatus, PreprocessedImage
from schemas.topics import IMAGES, LABELS, PREPROCESSED, Topic
from training.archive.example import Example
from training.duplicates import Fingerprint, counted, fingerprint, leaks, pairs
from training.inputs import NOT_AN_IMAGE, OTHER_SPEC, Decode, Input, Log, Source, image_of, inputs
from training.labels import Labels
from training.manifest import Manifest, ManifestImage, Pinned
from training.split import ORDER, Split, split_by_patient

RECORDS: Final = "records"
RESENT: Final = "resent"
UNLABELLED: Final = "unlabelled"
LABELLED_OTHERWISE: Final = "labelled with other findings"

Progress = Callable[[int, int | None], None]
"""Hears how many records of how many have been read; some offsets hold none."""


class ReplayError(Exception):
    """A slice of the log that gives no data set; the message says what is missing."""


class From(StrEnum):
    """The topic that model inputs come from."""

    IMAGES = "images"
    PREPROCESSED = "preprocessed"

    @property
    def topic(self) -> Topic[Source]:
        """The topic itself."""
        return IMAGES if self is From.IMAGES else PREPROCESSED


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked for.

    Attributes:
        findings: name by SNOMED CT concept id, in the order of the label columns.
        spec: how model inputs are made.
        shares: of the images, by split.
        seed: of the split.
        source: the topic that inputs come from.
        since: only images that were written to the log then or later.
        until: only images and labels that were written before.
    """

    findings: Mapping[str, str]
    spec: PreprocessSpec
    shares: Mapping[Split, float]
    seed: int = 0
    source: From = From.IMAGES
    since: datetime | None = None
    until: datetime | None = None


def replay(log: Log, plan: Plan, decode: Decode, progress: Progress = lambda done, total: None) -> Manifest:
    """Make the manifest of a data set.

    Raises:
        ReplayError: no image has a label on any of the findings.
        LogError: the broker can't be reached.
        ObjectStoreUnavailable: the object store can't.
    """
    images = pin(log.settings, plan.source.topic, log.clients, plan.since, plan.until)
    pinned_labels = pin(log.settings, LABELS, log.clients, until=plan.until)
    labels, found = Labels(), _Found()
    for said in read(log.settings, log.codec, pinned_labels, log.clients):
        if isinstance(said, Unreadable):
            found.unreadable.append(said.at)
        else:
            labels.add(said)
    total = sum(images.end.values()) - sum(images.start.values())
    progress(0, total)
    for item in inputs(log, images, plan.spec, decode, lambda record: found.wants(record, labels, plan)):
        found.add(item)
        progress(found.read, total)
    progress(total, total)
    if not found.kept:
        counts = ", ".join(f"{count} {word}" for word, count in _counts(found).items() if count)
        raise ReplayError(
            f"no image of this slice is labelled with {', '.join(plan.findings.values())} ({counts or 'it is empty'})"
        )
    return _manifest(log.settings, plan, images, pinned_labels, labels, found)


@dataclass(slots=True)
class _Kept:
    """An input that is used, without its pixels."""

    image: UUID
    patient: str
    at: Coordinates
    print: Fingerprint


@dataclass(slots=True)
class _Found:
    """What a slice holds: the inputs, and counts of the rest."""

    kept: list[_Kept] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    undecodable: dict[str, str] = field(default_factory=dict)
    unreadable: list[Coordinates] = field(default_factory=list)
    seen: set[UUID] = field(default_factory=set)

    @property
    def read(self) -> int:
        return self.counts[RECORDS]

    def wants(self, item: Received[Source], labels: Labels, plan: Plan) -> bool:
        """Whether a record is worth decoding; of each image the first one is."""
        image = image_of(item.event)
        self.counts[RECORDS] += 1
        why_not = self._why_not(item.event, image, labels, plan)
        if why_not is None:
            self.seen.add(image)
        else:
            self.counts[why_not] += 1
        return why_not is None

    def _why_not(self, event: Source, image: UUID, labels: Labels, plan: Plan) -> str | None:
        if isinstance(event, PreprocessedImage) and event.status is not PixelStatus.PIXELS:
            return NOT_AN_IMAGE
        if isinstance(event, PreprocessedImage) and event.spec_sha256 != plan.spec.sha256:
            return OTHER_SPEC
        if image in self.seen:
            return RESENT
        if not labels.has(image):
            return UNLABELLED
        return None if labels.of(image, plan.findings) else LABELLED_OTHERWISE

    def add(self, item: Input | Unreadable) -> None:
        if isinstance(item, Unreadable):
            self.counts[RECORDS] += 1
            self.unreadable.append(item.at)
        elif item.pixels is not None:
            self.kept.append(_Kept(item.image, item.patient, item.at, fingerprint(item.pixels)))
        elif item.reason == NOT_AN_IMAGE:
            self.counts[NOT_AN_IMAGE] += 1
        else:
            self.undecodable[str(item.image)] = item.reason or "undecodable"


def _manifest(
    settings: Settings, plan: Plan, images: Slice[Source], labels_slice: Slice[Label], labels: Labels, found: _Found
) -> Manifest:
    kept = sorted(found.kept, key=lambda one: (one.at.partition, one.at.offset))
    said = [labels.of(one.image, plan.findings) for one in kept]
    splits = _splits(kept, said, plan)
    duplicates = list(pairs([one.print for one in kept]))
    out = {leak.number: leak for leak in leaks(duplicates, splits)}
    removed = [
        {
            "event_id": str(kept[leak.number].image),
            "split": str(splits[leak.number]),
            "duplicate_of": str(kept[leak.like].image),
            "kind": str(leak.kind),
        }
        for leak in out.values()
    ]
    inputs_ = [_input(*each) for number, each in enumerate(zip(kept, said, splits, strict=True)) if number not in out]
    return Manifest(
        images=_pinned(settings, images),
        labels=_pinned(settings, labels_slice),
        findings=plan.findings,
        spec=plan.spec,
        shares=plan.shares,
        seed=plan.seed,
        inputs=sorted(inputs_, key=lambda one: (ORDER.index(one.split), one.partition, one.offset)),
        report={
            "images": {RECORDS: found.read, "used": len(inputs_)} | _counts(found),
            "undecodable": dict(sorted(found.undecodable.items())),
            "unreadable records": sorted(map(str, found.unreadable)),
            "labels": {"read": labels.read, RESENT: labels.resent} | _conflicts(kept, labels, plan.findings),
            "duplicates": {"pairs": counted(duplicates, splits), "removed": removed},
        },
    )


def _splits(kept: Sequence[_Kept], said: Sequence[Mapping[str, bool]], plan: Plan) -> list[Split]:
    """The split of each; the mix that is kept is that of all findings together."""
    examples = [
        Example(
            str(one.image), " ".join(f"{code}{'+' if labels[code] else '-'}" for code in sorted(labels)), one.patient
        )
        for one, labels in zip(kept, said, strict=True)
    ]
    parts = split_by_patient(examples, plan.shares, plan.seed)
    homes = {example.file: part for part, chosen in parts.items() for example in chosen}
    return [homes[example.file] for example in examples]


def _input(one: _Kept, labels: Mapping[str, bool], split: Split) -> ManifestImage:
    place = one.at.partition, one.at.offset
    return ManifestImage(str(one.image), *place, one.patient, labels, split, one.print.sha256.hex())


def _conflicts(kept: Sequence[_Kept], labels: Labels, codes: Iterable[str]) -> dict[str, Any]:
    found = {str(one.image): list(labels.conflicts(one.image, codes)) for one in kept}
    conflicts = {image: codes for image, codes in sorted(found.items()) if codes}
    return {"conflicts": sum(map(len, conflicts.values())), "conflicting": conflicts}


def _counts(found: _Found) -> dict[str, int]:
    words = (RESENT, UNLABELLED, LABELLED_OTHERWISE, NOT_AN_IMAGE, OTHER_SPEC)
    return {word: found.counts[word] for word in words} | {"undecodable": len(found.undecodable)}


def _pinned(settings: Settings, pinned: Slice[Any]) -> Pinned:
    return Pinned(pinned.topic.full_name(settings.topic_prefix), pinned.start, pinned.end)
