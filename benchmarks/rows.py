"""What exactly once costs on the way into PostgreSQL, against a plain COPY of the same rows.

    .venv/bin/python benchmarks/rows.py [--json FILE] [--turns 9] [--case "from the log"]

It starts servers of its own. The rows are those of diagnoses: one, and one for each finding, with the maps that explain
them. Both sides write the same tables, with their indexes and keys, on the same server, and as much at a time.

- from the log: `radiolog run sink` as a real process. A backlog of diagnoses appears at once, in one transaction; the
  rate is that from this moment to the last committed row. It reads, decodes and checks events, makes rows of them, and
  writes rows and offsets in one transaction, a row once however often its event comes.
- from memory: `PostgresSink.store` of events that are there already, offsets and all.
- COPY: asyncpg's `copy_records_to_table`, of rows that are there already, in a database of its own, without offsets;
  one transaction for as many rows as the sink stores at a time. A row that comes twice ends it.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import count
from uuid import uuid4

import asyncpg
from measure import Comparison, Result, take_turns
from own_servers import own_servers
from report import Options, run
from running_site import Site, equip, execute, stages

from radiolog import __version__
from radiolog.log.batching import Place
from radiolog.log.sink import Advance
from radiolog.service import configure_logs
from radiolog.settings import Settings
from schemas.events import (
    Decision,
    Diagnosis,
    DiagnosisStatus,
    EventRef,
    ExplanationMap,
    Finding,
    PixelGeometry,
    Severity,
)
from schemas.topics import DIAGNOSES
from sinks.migrate import migrate
from sinks.postgres import PostgresSink, by_table
from sinks.rows import DIAGNOSIS, FINDING, Row

PARTITIONS = 6
BATCH = 500
"""As many events as the sink stores at a time."""
EVENTS = 4_000
FINDINGS = 3
GOAL, FLOOR = 0.6, 0.1


class Copy:
    """A plain COPY into a database of its own."""

    def __init__(self, settings: Settings) -> None:
        self._runner = asyncio.Runner()
        url = settings.database_url.get_secret_value()
        self._runner.run(execute(url, "create database copied"))
        base, _, query = url.partition("?")
        self._url = f"{base.rsplit('/', 1)[0]}/copied" + (f"?{query}" if query else "")
        migrate(self._url)
        self._connection = self._runner.run(asyncpg.connect(self._url))

    def close(self) -> None:
        """Lets go of the database."""
        self._runner.run(self._connection.close())
        self._runner.close()

    def turn(self, events: int) -> float:
        """Rows per second."""
        batches = [by_table(diagnoses(min(BATCH, events - first))) for first in range(0, events, BATCH)]
        began = time.perf_counter()
        self._runner.run(self._copy(batches))
        return events * (1 + FINDINGS) / (time.perf_counter() - began)

    async def _copy(self, batches: Sequence[Mapping[str, list[Row]]]) -> None:
        for batch in batches:
            async with self._connection.transaction():
                for table in (DIAGNOSIS, FINDING):
                    await self._connection.copy_records_to_table(
                        table.name, records=batch[table.name], columns=table.columns
                    )


class Store:
    """`PostgresSink.store` of events in memory."""

    def __init__(self, settings: Settings) -> None:
        self._sink = PostgresSink(settings.database_url.get_secret_value())
        self._place: Place = ("benchmark", 0)
        self._offset = self._sink.positions([self._place])[self._place]

    def close(self) -> None:
        """Lets go of the database."""
        self._sink.close()

    def turn(self, events: int) -> float:
        """Rows per second."""
        batches = [diagnoses(min(BATCH, events - first)) for first in range(0, events, BATCH)]
        began = time.perf_counter()
        for batch in batches:
            ahead = self._offset + len(batch)
            self._sink.store(batch, {self._place: Advance(self._offset, ahead)})
            self._offset = ahead
        return events * (1 + FINDINGS) / (time.perf_counter() - began)


def from_the_log(site: Site, events: int) -> float:
    """Rows per second of the sink's process."""
    began = site.put([site.record(DIAGNOSES, event) for event in diagnoses(events)])
    return events * (1 + FINDINGS) / site.seconds(events, began)


def measure(options: Options) -> Iterator[Result]:
    """The ratio of both ways to the plain COPY."""
    configure_logs(logging.ERROR)
    events = EVENTS // 4 if options.quick else EVENTS
    with own_servers(PARTITIONS) as settings:
        equip(settings)
        copy, store = Copy(settings), Store(settings)
        with stages(settings, {"sink": 1}), Site(settings) as site:
            ways = {"from the log": partial(from_the_log, site, events), "from memory": partial(store.turn, events)}
            for name, way in ways.items():
                if options.wanted(name):
                    reached = take_turns({name: way, "COPY": partial(copy.turn, events)}, options.turns)
                    yield Comparison(f"diagnoses {name}", "rows/s", name, "COPY", reached, GOAL, FLOOR)
        store.close()
        copy.close()


_numbers = count()


def diagnoses(events: int) -> list[Diagnosis]:
    """As many as asked for, none like another."""
    return [_diagnosis() for _ in range(events)]


def _diagnosis() -> Diagnosis:
    now, number = datetime.now(UTC), next(_numbers)
    image = EventRef(event_id=uuid4(), topic="images", partition=number % PARTITIONS, offset=number)
    return Diagnosis(
        event_id=uuid4(),
        code_version=__version__,
        image=image,
        source=image,
        patient_pseudonym=f"P-{number % 997}",
        study_uid=f"2.25.{number}",
        series_uid=f"2.25.1{number}",
        sop_instance_uid=f"2.25.2{number}",
        modality="CR",
        body_part="CHEST",
        status=DiagnosisStatus.DIAGNOSED,
        findings=tuple(_finding(code) for code in range(FINDINGS)),
        lungs=_map(56),
        geometry=GEOMETRY,
        scope_distance=1.5,
        scope_threshold=4.0,
        model_name="benchmark",
        model_version="1",
        model_sha256="0" * 64,
        operating_point="balanced",
        spec_sha256="0" * 64,
        received_at=now,
        published_at=now,
        preprocessed_at=now,
        diagnosed_at=now,
    )


GEOMETRY = PixelGeometry(
    original_rows=1955,
    original_columns=1841,
    crop_top=0,
    crop_left=0,
    crop_rows=1955,
    crop_columns=1841,
    resized_rows=224,
    resized_columns=211,
    pad_top=0,
    pad_left=6,
)


def _finding(code: int) -> Finding:
    return Finding(
        code=str(code),
        name=f"finding {code}",
        probability=0.25,
        threshold=0.5,
        decision=Decision.ABSENT,
        severity=Severity.NONE,
        area_share=0.0,
        explanation=_map(28),
    )


def _map(edge: int) -> ExplanationMap:
    return ExplanationMap(height=edge, width=edge, values=os.urandom(edge * edge))


if __name__ == "__main__":
    sys.exit(run(__doc__, measure))
