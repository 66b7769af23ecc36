"""What people and programs ask the database."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
import numpy as np
from numpy.typing import NDArray

from schemas.events import PixelGeometry
from sinks.connection import DatabaseClient
from sinks.errors import NotAuthorised

DIAGNOSES = """
    select diagnosis.*, finding.name, probability, threshold, decision, severity, area_share,
           explanation_height, explanation_width, explanation
    from diagnosis left join finding on finding.diagnosis_event_id = diagnosis.event_id
    where image_event_id = any($1::uuid[])
    order by received_at, image_event_id, probability desc, finding.code"""
DEAD_LETTERS = """
    select image_event_id, stage, error_class, reason, failed_at, retried_at, stored_at
    from dead_letter where image_event_id = any($1::uuid[]) order by failed_at"""
COUNTS = """
    select (select count(*) from diagnosis) as diagnosis, (select count(*) from dead_letter) as dead_letter"""
OPEN_LETTERS = """
    select stage, count(*) as letters from dead_letter where retried_at is null group by stage"""
POSITIONS = """
    select sink, topic, "partition", next_offset from sink_position
    where sink in ('postgres', 'postgres-findings', 'postgres-identities')"""
IDENTIFY = """
    select kind, pseudonym, attributes::text as attributes, recorded_at from restricted.identity
    where pseudonym = $1 or attributes ->> 'PatientID' = $1 or attributes ->> 'AccessionNumber' = $1
       or attributes ->> 'StudyInstanceUID' = $1 or attributes ->> 'SOPInstanceUID' = $1
    order by kind, pseudonym"""


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One finding of a diagnosis."""

    name: str
    probability: float
    threshold: float
    decision: str
    severity: str
    area_share: float
    explanation: NDArray[np.uint8] | None


@dataclass(frozen=True, slots=True)
class DiagnosisRow:
    """One diagnosis and its findings, the likeliest first; none where the model was not asked."""

    event_id: UUID
    image_event_id: UUID
    image_partition: int
    image_offset: int
    modality: str | None
    body_part: str | None
    status: str
    reason: str | None
    geometry: PixelGeometry | None
    scope_distance: float | None
    scope_threshold: float | None
    received_at: datetime
    published_at: datetime
    preprocessed_at: datetime
    diagnosed_at: datetime
    stored_at: datetime
    lungs: NDArray[np.uint8] | None
    findings: tuple[FindingRow, ...]


@dataclass(frozen=True, slots=True)
class DeadLetterRow:
    """One dead letter."""

    image_event_id: UUID
    stage: str
    error_class: str
    reason: str
    failed_at: datetime
    retried_at: datetime | None
    stored_at: datetime


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """A pseudonym and what it stands for, the attributes as a JSON object."""

    kind: str
    pseudonym: str
    attributes: str
    recorded_at: datetime


class Database(DatabaseClient):
    """Reads what the sink wrote."""

    def diagnoses(self, image_event_ids: Iterable[UUID]) -> list[DiagnosisRow]:
        """The diagnoses of these images, oldest first."""
        found: dict[UUID, list[asyncpg.Record]] = {}
        for record in self._fetch(DIAGNOSES, list(image_event_ids)):
            found.setdefault(record["event_id"], []).append(record)
        return [_diagnosis_row(records) for records in found.values()]

    def dead_letters(self, image_event_ids: Iterable[UUID]) -> list[DeadLetterRow]:
        """The dead letters of these images, oldest first."""
        return [DeadLetterRow(**dict(record)) for record in self._fetch(DEAD_LETTERS, list(image_event_ids))]

    def counts(self) -> dict[str, int]:
        """How many rows each table holds."""
        return dict(self._fetch(COUNTS)[0])

    def open_letters(self) -> dict[str, int]:
        """How many dead letters of each stage wait to be retried."""
        return {r["stage"]: r["letters"] for r in self._fetch(OPEN_LETTERS)}

    def positions(self) -> dict[tuple[str, int], int]:
        """How far the rows go: the next offset of each partition, by the sink that has got furthest."""
        reached: dict[tuple[str, int], int] = {}
        for positions in self.positions_by_sink().values():
            reached |= {place: max(offset, reached.get(place, 0)) for place, offset in positions.items()}
        return reached

    def positions_by_sink(self) -> dict[str, dict[tuple[str, int], int]]:
        """How far each sink that has ever begun has got."""
        sinks: dict[str, dict[tuple[str, int], int]] = {}
        for r in self._fetch(POSITIONS):
            sinks.setdefault(r["sink"], {})[r["topic"], r["partition"]] = r["next_offset"]
        return sinks

    def identify(self, identifier: str) -> list[IdentityRow]:
        """What a pseudonym stands for, or the pseudonyms of a patient, accession number or UID.

        Raises:
            NotAuthorised: the role of this connection is not a member of `radiolog_identity`.
        """
        return [IdentityRow(**dict(record)) for record in self._fetch(IDENTIFY, identifier)]

    def _fetch(self, query: str, *arguments: object) -> Sequence["asyncpg.Record"]:
        return self.run(self._fetched(query, *arguments))

    async def _fetched(self, query: str, *arguments: object) -> Sequence["asyncpg.Record"]:
        connection = await self.connected()
        try:
            return await connection.fetch(query, *arguments)
        except asyncpg.InsufficientPrivilegeError:
            raise NotAuthorised(
                "this database role may not look pseudonyms up: `grant radiolog_identity to <role>` allows it"
            ) from None


def _diagnosis_row(records: Sequence["asyncpg.Record"]) -> DiagnosisRow:
    first, names = records[0], DiagnosisRow.__dataclass_fields__.keys() - {"geometry", "lungs", "findings"}
    geometry = first["geometry"]
    return DiagnosisRow(
        **{name: first[name] for name in names},
        geometry=None if geometry is None else PixelGeometry.model_validate_json(geometry),
        lungs=_map(first, "lungs"),
        findings=tuple(_finding_row(record) for record in records if record["name"] is not None),
    )


def _finding_row(record: "asyncpg.Record") -> FindingRow:
    names = FindingRow.__dataclass_fields__.keys() - {"explanation"}
    return FindingRow(**{name: record[name] for name in names}, explanation=_map(record, "explanation"))


def _map(record: "asyncpg.Record", name: str) -> NDArray[np.uint8] | None:
    if record[name] is None:
        return None
    return np.frombuffer(record[name], np.uint8).reshape(record[f"{name}_height"], record[f"{name}_width"])
