"""The PostgreSQL sink: rows and positions in one database transaction, by COPY into temporary tables."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg

from radiolog.log.batching import Place
from radiolog.log.sink import Advance, PositionMoved
from schemas.events import Event
from schemas.topics import DEAD_LETTERS, DIAGNOSES, IDENTITIES, Topic
from sinks.connection import DatabaseClient
from sinks.rows import DEAD_LETTER, DIAGNOSIS, FINDING, IDENTITY, TABLES, Row, Table, rows

POSITION = """
    insert into sink_position (sink, topic, "partition", next_offset) values ($1, $2, $3, 0)
    on conflict (sink, topic, "partition") do update set next_offset = sink_position.next_offset
    returning next_offset"""
ADVANCE = """
    update sink_position set next_offset = $5
    where sink = $1 and topic = $2 and "partition" = $3 and next_offset = $4"""
IDLE_SECONDS = 20
"""Of silence within a transaction: a process that stands still in one must not keep its locks from its successor."""


class PostgresSink(DatabaseClient):
    """Keeps diagnoses, dead letters and identities; the contract is in `radiolog.log.sink`.

    Two others share the work where no one role of the database is to write both: what is said of images, and whom they
    show. Positions are each sink's own, so a change from one to two reads the log from its start, and adds no row.
    """

    name = "postgres"
    topics: Sequence[Topic[Event]] = (DIAGNOSES, DEAD_LETTERS, IDENTITIES)
    tables: Sequence[Table] = TABLES

    def positions(self, partitions: Sequence[Place]) -> Mapping[Place, int]:
        """The next offset of each partition.

        Raises:
            SinkUnavailable: the database does not answer.
            DatabaseRefused: it does, and a person must act (`sinks.errors`).
        """
        return self.run(self._read_positions(partitions))

    def store(self, events: Sequence[Event], advances: Mapping[Place, Advance]) -> None:
        """Keeps the rows and the positions, or nothing.

        Raises:
            PositionMoved: another instance stored from one of the partitions.
            Unstorable: a value does not fit its column.
            SinkUnavailable: the database does not answer.
        """
        self.run(self._store(by_table(events), advances))

    async def prepare(self, connection: "asyncpg.Connection[Any]") -> None:
        """Bounds how long the server waits in a transaction; makes the temporary tables that rows are copied to."""
        await connection.execute(f"set idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'")
        for table in self.tables:
            await connection.execute(table.create_staging)

    async def _read_positions(self, partitions: Sequence[Place]) -> Mapping[Place, int]:
        connection = await self.connected()
        return {place: int(await connection.fetchval(POSITION, self.name, *place)) for place in partitions}

    async def _store(self, tables: Mapping[str, list[Row]], advances: Mapping[Place, Advance]) -> None:
        connection = await self.connected()
        async with connection.transaction():
            filled = [table for table in self.tables if table.name in tables]
            # The server can't end a COPY whose client stands still: none may run under the locks of the positions.
            for table in filled:
                await connection.copy_records_to_table(table.staging, records=tables[table.name], columns=table.columns)
            for place, advance in sorted(advances.items()):
                moved = await connection.execute(ADVANCE, self.name, *place, advance.expected, advance.next)
                if moved != "UPDATE 1":
                    raise PositionMoved(f"{place[0]}/{place[1]} is not at offset {advance.expected}")
            for table in filled:
                await connection.execute(table.merge)


class FindingsSink(PostgresSink):
    """Keeps diagnoses and dead letters; its role needs no right on identities (`radiolog_sink`)."""

    name = "postgres-findings"
    topics = (DIAGNOSES, DEAD_LETTERS)
    tables = (DIAGNOSIS, FINDING, DEAD_LETTER)


class IdentitiesSink(PostgresSink):
    """Keeps identities; its role needs no right on diagnoses (`radiolog_identity_sink`)."""

    name = "postgres-identities"
    topics = (IDENTITIES,)
    tables = (IDENTITY, DEAD_LETTER)


def by_table(events: Sequence[Event]) -> dict[str, list[Row]]:
    """The rows of these events, by the name of their table."""
    tables: dict[str, list[Row]] = defaultdict(list)
    for event in events:
        for table, row in rows(event):
            tables[table.name].append(row)
    return tables
