"""A whole site on servers of its own: topics, tables, the stages as real processes, and what each of them burns."""

import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import psutil
from own_servers import admin_of, create, own_servers

from radiolog.log.clients import KafkaClients
from radiolog.log.transactions import OutgoingRecord, Transactions
from radiolog.services import COMMANDS
from radiolog.settings import Settings
from radiolog.stack.stack import Stack
from radiolog.supervisor import Service, Supervisor
from schemas.codec import Codec, schema_text
from schemas.events import Event, ImageEvent
from schemas.registry import ConfluentRegistry, codec
from schemas.topics import DEAD_LETTERS, IMAGES, TOPICS, Topic
from sinks.connection import DatabaseClient
from sinks.migrate import migrate

STAGES = ("preprocess", "inference", "sink")
KEPT_BYTES = 1 << 30
"""What a partition of `images` keeps: nobody reads it twice, and the disk is not to hold it all."""
PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.05
DIAGNOSIS = "diagnosis"
STORED = "select count(*) as rows, min(stored_at) as first, max(stored_at) as last from {} where stored_at >= $1"


@dataclass(frozen=True, slots=True)
class Stored:
    """Diagnoses in PostgreSQL, by the server's clock, which is this machine's."""

    rows: int
    first: datetime | None
    last: datetime | None


class Rows(DatabaseClient):
    """Asks for the rows of the site."""

    def since(self, moment: datetime, table: str = DIAGNOSIS) -> Stored:
        """Diagnoses stored since then."""
        return self.run(self._since(moment, table))

    def latencies(self, since: datetime) -> dict[str, datetime]:
        """When the row of each image was stored, by the image's event id; of those stored since then."""
        return self.run(self._latencies(since))

    async def _since(self, moment: datetime, table: str) -> Stored:
        row = await (await self.connected()).fetchrow(STORED.format(table), moment)
        return Stored(**dict(row or {}))

    async def _latencies(self, since: datetime) -> dict[str, datetime]:
        query = "select image_event_id, stored_at from diagnosis where stored_at >= $1"
        found = await (await self.connected()).fetch(query, since)
        return {str(row["image_event_id"]): row["stored_at"] for row in found}


@contextmanager
def running_site(partitions: int, instances: Mapping[str, int] | None = None) -> Iterator["RunningSite"]:
    """Servers with topics and tables, and the stages on them, all ready; they are gone afterwards.

    Args:
        partitions: of each topic.
        instances: of each stage; one of each where nothing is said.
    """
    with own_servers(partitions) as settings:
        equip(settings)
        with stages(settings, instances or dict.fromkeys(STAGES, 1)) as processes, Site(settings) as site:
            yield RunningSite(site, processes)


def equip(settings: Settings) -> None:
    """Topics, schemas and tables; topics are bounded."""
    admin, registry = admin_of(settings), ConfluentRegistry.from_settings(settings)
    for topic in TOPICS:
        bound = {"retention.bytes": str(KEPT_BYTES)} if topic is IMAGES else {}
        create(admin, topic, settings, **bound)
        registry.register(f"{topic.full_name(settings.topic_prefix)}-value", schema_text(topic.schema))
    migrate(settings.database_url.get_secret_value())


@contextmanager
def stages(settings: Settings, instances: Mapping[str, int]) -> Iterator[Supervisor]:
    """The real commands, as `radiolog run all` starts them."""
    environment = {
        "RADIOLOG_STATE_DIR": str(settings.state_dir),
        "RADIOLOG_TOPIC_PREFIX": settings.topic_prefix,
        "RADIOLOG_PARTITIONS": str(settings.partitions),
        "RADIOLOG_DECODE_WORKERS": str(len(os.sched_getaffinity(0))),
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    services = [
        Service(
            f"{stage}-{ordinal}",
            (sys.executable, "-m", "radiolog", *COMMANDS[stage], "--ordinal", str(ordinal)),
            settings.state_dir / "log" / f"{stage}-{ordinal}.log",
            environment,
        )
        for stage, count in instances.items()
        for ordinal in range(count)
    ]
    with Supervisor(services) as supervisor:
        supervisor.start(threading.Event())
        yield supervisor


class Site:
    """What a benchmark puts on the log of a site, and what comes out of it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.codec: Codec = codec(settings)
        self.rows = Rows(settings.database_url.get_secret_value())
        self._backlog = Transactions(lambda: KafkaClients(settings).transactional_producer("benchmark-backlog"))

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *exception: object) -> None:
        self.rows.close()
        self._backlog.close()

    def record(self, topic: Topic[Event], event: Event) -> OutgoingRecord:
        """The event as it lies on the log."""
        name = topic.full_name(self.settings.topic_prefix)
        return OutgoingRecord(name, event.key, self.codec.encode(topic, event))

    def put(self, records: Sequence[OutgoingRecord]) -> datetime:
        """A backlog that all readers see at once, since it comes in one transaction; gives the moment."""
        self._backlog.run(records)
        return datetime.now(UTC)

    def images(self, images: Sequence[ImageEvent]) -> datetime:
        """As above, of images."""
        return self.put([self.record(IMAGES, image) for image in images])

    def await_rows(self, count: int, since: datetime, table: str = DIAGNOSIS) -> Stored:
        """Waits for so many diagnoses in a table.

        Raises:
            RuntimeError: they do not come, or there are more of them than there should be.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (stored := self.rows.since(since, table)).rows < count:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{stored.rows} of {count} rows came; are there events of {DEAD_LETTERS.name}?")
            time.sleep(POLL_SECONDS)
        if stored.rows > count:
            raise RuntimeError(f"{stored.rows} rows of {count} images")
        return stored

    def seconds(self, count: int, began: datetime, table: str = DIAGNOSIS) -> float:
        """From the moment at which a backlog was there to its last row, which it waits for."""
        last = self.await_rows(count, began, table).last
        if last is None:
            raise RuntimeError("nothing was waited for")
        return (last - began).total_seconds()


class RunningSite:
    """A site with its stages."""

    def __init__(self, site: Site, stages: Supervisor) -> None:
        self.site = site
        self._stages = stages

    def pids(self) -> dict[str, int]:
        """The process of each server and of each stage."""
        servers = {server.name: server.pid or 0 for server in Stack(self.site.settings.state_dir).status()}
        return servers | self._stages.pids()

    def burnt(self) -> dict[str, float]:
        """CPU seconds of each so far, with what they have started."""
        return {name: cpu_seconds(psutil.Process(pid)) for name, pid in self.pids().items()}


async def execute(url: str, statement: str) -> None:
    """A statement on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def cpu_seconds(process: psutil.Process) -> float:
    """What it has burnt so far, with what it has started."""
    spent = 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            spent += times.user + times.system
    return spent
