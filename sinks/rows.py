"""Events as rows: fixed tables and columns, in the order that `COPY` sends them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from schemas.events import DeadLetter, Diagnosis, Event, Finding, Identity

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table, the columns that a sink fills, its key, and SQL that merges new rows where the usual will not do."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    merge_instead: str | None = None

    @property
    def staging(self) -> str:
        """The temporary table that rows are copied to first."""
        return f"staging_{self.name.replace('.', '_')}"

    @property
    def create_staging(self) -> str:
        """SQL that makes the temporary table, emptied by each commit."""
        columns = ", ".join(f'"{column}"' for column in self.columns)
        return (
            f"create temporary table if not exists {self.staging} on commit delete rows "  # noqa: S608 (as below)
            f"as select {columns} from {self.name} with no data"
        )

    @property
    def merge(self) -> str:
        """SQL that moves the copied rows on; a row whose key is there already stays as it is."""
        if self.merge_instead is not None:
            return self.merge_instead
        columns = ", ".join(f'"{column}"' for column in self.columns)
        key = ", ".join(f'"{column}"' for column in self.key)
        return (
            f"insert into {self.name} ({columns}) "  # noqa: S608 (names are the constants below)
            f"select distinct on ({key}) {columns} from {self.staging} order by {key} on conflict ({key}) do nothing"
        )


DIAGNOSIS = Table(
    "diagnosis",
    (
        "event_id",
        "image_event_id",
        "image_topic",
        "image_partition",
        "image_offset",
        "patient_pseudonym",
        "study_uid",
        "series_uid",
        "sop_instance_uid",
        "modality",
        "body_part",
        "status",
        "reason",
        "lungs_height",
        "lungs_width",
        "lungs",
        "geometry",
        "scope_distance",
        "scope_threshold",
        "model_name",
        "model_version",
        "model_sha256",
        "operating_point",
        "spec_sha256",
        "received_at",
        "published_at",
        "preprocessed_at",
        "diagnosed_at",
        "code_version",
    ),
    ("event_id",),
)
FINDING = Table(
    "finding",
    (
        "diagnosis_event_id",
        "code",
        "name",
        "probability",
        "threshold",
        "decision",
        "severity",
        "area_share",
        "explanation_height",
        "explanation_width",
        "explanation",
    ),
    ("diagnosis_event_id", "code"),
)
DEAD_LETTER = Table(
    "dead_letter",
    (
        "event_id",
        "stage",
        "error_class",
        "reason",
        "topic",
        "partition",
        "offset",
        "source_event_id",
        "image_event_id",
        "study_uid",
        "failed_at",
        "retried_at",
        "code_version",
    ),
    ("event_id",),
    # The latest word on an event wins, in whatever order they come: a later failure over an earlier one, whether that
    # was retried or not, and of one failure the latest retry (`radiolog.log.deadletters`).
    """
    insert into dead_letter (event_id, stage, error_class, reason, topic, "partition", "offset", source_event_id,
                             image_event_id, study_uid, failed_at, retried_at, code_version)
    select distinct on (event_id) event_id, stage, error_class, reason, topic, "partition", "offset", source_event_id,
                                  image_event_id, study_uid, failed_at, retried_at, code_version
    from staging_dead_letter order by event_id, failed_at desc, retried_at desc nulls last
    on conflict (event_id) do update set
        error_class = excluded.error_class, reason = excluded.reason, topic = excluded.topic,
        "partition" = excluded."partition", "offset" = excluded."offset", failed_at = excluded.failed_at,
        retried_at = excluded.retried_at, code_version = excluded.code_version, stored_at = clock_timestamp()
    where (excluded.failed_at, coalesce(excluded.retried_at, '-infinity'))
        > (dead_letter.failed_at, coalesce(dead_letter.retried_at, '-infinity'))
    """,
)
IDENTITY = Table(
    "restricted.identity",
    ("pseudonym", "kind", "attributes", "recorded_at", "code_version"),
    ("pseudonym",),
    # What is known of a pseudonym adds up, attribute by attribute, and the latest value of each wins.
    """
    insert into restricted.identity (pseudonym, kind, attributes, recorded_at, code_version)
    select pseudonym, max(kind), jsonb_object_agg(key, value order by recorded_at), max(recorded_at), max(code_version)
    from staging_restricted_identity, jsonb_each(attributes) group by pseudonym
    on conflict (pseudonym) do update set
        attributes = case when excluded.recorded_at >= identity.recorded_at
                          then identity.attributes || excluded.attributes
                          else excluded.attributes || identity.attributes end,
        recorded_at = greatest(identity.recorded_at, excluded.recorded_at)
    """,
)

TABLES = (DIAGNOSIS, FINDING, DEAD_LETTER, IDENTITY)
"""In the order that foreign keys ask for."""


def rows(event: Event) -> Iterator[tuple[Table, Row]]:
    """The rows of one event, each with its table.

    Raises:
        TypeError: the sink keeps no events of this kind.
    """
    match event:
        case Diagnosis():
            yield DIAGNOSIS, _diagnosis(event)
            for finding in event.findings:
                yield FINDING, _finding(event, finding)
        case DeadLetter():
            yield DEAD_LETTER, tuple(getattr(event, column) for column in DEAD_LETTER.columns)
        case Identity():
            attributes = json.dumps(event.attributes, ensure_ascii=False)
            yield IDENTITY, (event.pseudonym, event.kind.value, attributes, event.recorded_at, event.code_version)
        case _:
            raise TypeError(f"no table for {type(event).__name__}")


def _diagnosis(event: Diagnosis) -> Row:
    image = event.image
    lineage = {
        "image_event_id": image.event_id,
        "image_topic": image.topic,
        "image_partition": image.partition,
        "image_offset": image.offset,
        "status": event.status.value,
        "lungs_height": event.lungs.height if event.lungs else None,
        "lungs_width": event.lungs.width if event.lungs else None,
        "lungs": event.lungs.values if event.lungs else None,
        "geometry": event.geometry.model_dump_json() if event.geometry else None,
    }
    return tuple(lineage[column] if column in lineage else getattr(event, column) for column in DIAGNOSIS.columns)


def _finding(event: Diagnosis, finding: Finding) -> Row:
    return (
        event.event_id,
        finding.code,
        finding.name,
        finding.probability,
        finding.threshold,
        finding.decision.value,
        finding.severity.value,
        finding.area_share,
        finding.explanation.height,
        finding.explanation.width,
        finding.explanation.values,
    )
