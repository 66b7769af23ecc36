"""The PostgreSQL sink: rows and positions in one database transaction, by COPY into temporary tables."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

import asyncpg

from radiolog.log.sink import Advance, Partition, PositionMoved, SinkUnavailable
from schemas.events import Event
from schemas.topics import DEAD_LETTERS, DIAGNOSES, IDENTITIES
from sinks.errors import FOREIGN, translated
from sinks.rows import TABLES, Row, Table, rows

CONNECT_SECONDS = 10.0
COMMAND_SECONDS = 60.0

POSITION = """
    insert into sink_position (sink, topic, "partition", next_offset) values ($1, $2, $3, 0)
    on conflict (sink, topic, "partition") do update set next_offset = sink_position.next_offset
    returning next_offset"""
ADVANCE = """
    update sink_position set next_offset = $5
    where sink = $1 and topic = $2 and "partition" = $3 and next_offset = $4"""

T = TypeVar("T")


class PostgresSink:
    """Keeps diagnoses, dead letters and identities; the contract is in `radiolog.log.sink`.

    It owns an event loop and one connection, which it opens when first needed and again after it broke.
    """

    name = "postgres"
    topics = (DIAGNOSES, DEAD_LETTERS, IDENTITIES)

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._runner = asyncio.Runner()
        self._connection: asyncpg.Connection[Any] | None = None

    def positions(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """The next offset of each partition.

        Raises:
            SinkUnavailable: the database does not answer.
            DatabaseRefused: it does, and a person must act (`sinks.errors`).
        """
        return self._run(self._read_positions(partitions))

    def store(self, events: Sequence[Event], advances: Mapping[Partition, Advance]) -> None:
        """Keeps the rows and the positions, or nothing.

        Raises:
            PositionMoved: another instance stored from one of the partitions.
            Unstorable: a value does not fit its column.
            SinkUnavailable: the database does not answer.
        """
        self._run(self._store(_by_table(events), advances))

    def close(self) -> None:
        """Lets go of the database."""
        if self._connection is not None:
            self._connection.terminate()
        self._runner.close()

    def __enter__(self) -> "PostgresSink":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(work)
        except FOREIGN as error:
            known = translated(error)
            if isinstance(known, SinkUnavailable):
                self._forget()
            raise known from None

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
        self._connection = None

    async def _connected(self) -> "asyncpg.Connection[Any]":
        if self._connection is None or self._connection.is_closed():
            connection = await asyncpg.connect(self._url, timeout=CONNECT_SECONDS, command_timeout=COMMAND_SECONDS)
            for table in TABLES:
                await connection.execute(table.create_staging)
            self._connection = connection
        return self._connection

    async def _read_positions(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        connection = await self._connected()
        return {place: int(await connection.fetchval(POSITION, self.name, *place)) for place in partitions}

    async def _store(self, tables: Mapping[str, list[Row]], advances: Mapping[Partition, Advance]) -> None:
        connection = await self._connected()
        async with connection.transaction():
            for place, advance in sorted(advances.items()):
                moved = await connection.execute(ADVANCE, self.name, *place, advance.expected, advance.next)
                if moved != "UPDATE 1":
                    raise PositionMoved(f"{place[0]}/{place[1]} is not at offset {advance.expected}")
            for table in TABLES:
                if table.name in tables:
                    await _merge(connection, table, tables[table.name])


def _by_table(events: Sequence[Event]) -> dict[str, list[Row]]:
    pairs = [(table.name, row) for event in events for table, row in rows(event)]
    pairs.sort(key=itemgetter(0))  # stable: rows stay in the order of the log
    return {name: [row for _, row in group] for name, group in groupby(pairs, key=itemgetter(0))}


async def _merge(connection: "asyncpg.Connection[Any]", table: Table, records: list[Row]) -> None:
    await connection.copy_records_to_table(table.staging, records=records, columns=table.columns)
    await connection.execute(table.merge)
