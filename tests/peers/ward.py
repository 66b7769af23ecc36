"""A site with radiolog's processes as a hospital runs them: the adapter on a port, the stages behind it."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncpg

from producers.pseudonyms import Pseudonyms
from radiolog.log.replay import pin, read
from radiolog.log.stage import Received
from radiolog.settings import Settings
from schemas.events import Event, ImageEvent
from schemas.registry import codec
from schemas.topics import DEAD_LETTERS, DIAGNOSES, IMAGES, Topic
from tests.faults.fleet import STAGES, Fleet, Instance, environment_of
from tests.faults.servers import until

HOST = "127.0.0.1"
TITLE = "RADIOLOG"
PATIENCE_SECONDS = 240.0
RESULTS: tuple[Topic[Event], ...] = (DIAGNOSES, DEAD_LETTERS)
TABLES = ("diagnosis", "dead_letter")

E = TypeVar("E", bound=Event)


@dataclass(frozen=True)
class Adapter:
    """`radiolog adapter dicom`, and where it listens."""

    process: Instance
    port: int

    @property
    def address(self) -> tuple[str, str]:
        """As DCMTK's tools take it."""
        return HOST, str(self.port)

    @property
    def log(self) -> str:
        return self.process.log()


@contextmanager
def adapter(settings: Settings, folder: Path, port: int, **changes: str) -> Iterator[Adapter]:
    """Runs the adapter; `changes` are more of its settings. It must end well, too."""
    environment = environment_of(settings) | {
        "RADIOLOG_DICOM_HOST": HOST,
        "RADIOLOG_DICOM_PORT": str(port),
        "RADIOLOG_DICOM_AE_TITLE": TITLE,
        **{f"RADIOLOG_{name.upper()}": value for name, value in changes.items()},
    }
    command = (sys.executable, "-m", "radiolog", "adapter", "dicom")
    process = Instance("adapter", 0, command, environment, folder / f"adapter-{port}.log")
    process.start()
    try:
        assert process.await_ready(), process.log()[-2000:]
        yield Adapter(process, port)
        assert process.stop() == 0
    finally:
        process.close()


class Ward:
    """What is on the log and in PostgreSQL of one site, with its stages at work."""

    def __init__(self, settings: Settings) -> None:
        assert settings.site_secret is not None
        self.settings = settings
        self.pseudonyms = Pseudonyms(settings.site_secret.get_secret_value().encode())
        self._codec = codec(settings)
        self._fleet: Fleet | None = None

    @contextmanager
    def stages(self, folder: Path) -> Iterator[None]:
        self._fleet = fleet = Fleet(self.settings, folder)
        try:
            fleet.start()
            yield
        finally:
            fleet.close()

    def images(self) -> list[ImageEvent]:
        """Everything that the log holds now."""
        return [item.event for item in self._received(IMAGES)]

    def images_of(self, peer: str) -> list[ImageEvent]:
        """What came from one AE title."""
        return [event for event in self.images() if event.source.peer == peer]

    def pseudonym(self, sop_instance: str) -> str:
        return self.pseudonyms.uid(sop_instance)

    def assert_each_has_one_row(self, images: list[ImageEvent] | None = None) -> None:
        """Waits until each record of the log has its result in PostgreSQL, then counts rows of these images, or all.

        An object has one diagnosis; one that no decoder reads has as many dead letters as it has records.
        """
        everything = self.images()
        try:
            until(lambda: self._is_settled(len(everything)), PATIENCE_SECONDS, "a result of each record")
        except AssertionError as error:
            raise AssertionError(f"{error}; {len(everything)} records; {self._so_far()}") from None
        records = Counter(event.event_id for event in (everything if images is None else images))
        rows = self._query("select image_event_id, 'diagnosis' from diagnosis")
        rows += self._query("select image_event_id, 'dead_letter' from dead_letter")
        found = Counter(rows)
        for event_id, count in records.items():
            diagnoses, letters = found[event_id, "diagnosis"], found[event_id, "dead_letter"]
            assert (diagnoses, letters) in ((1, 0), (0, count)), f"{event_id}: {diagnoses} rows, {letters} dead letters"

    def _is_settled(self, records: int) -> bool:
        results = {item.event.event_id for topic in RESULTS for item in self._received(topic)}
        stored = {row[0] for table in TABLES for row in self._query(f"select event_id from {table}")}
        return sum(len(self._received(topic)) for topic in RESULTS) >= records and results <= stored

    def _so_far(self) -> str:
        """How far everything has come, and the last that each stage said."""
        logged = {topic.name: len(self._received(topic)) for topic in RESULTS}
        stored = {table: self._query(f"select count(*) from {table}")[0][0] for table in TABLES}
        said = {name: self._fleet[name].log()[-1500:] for name in STAGES} if self._fleet else {}
        return "\n".join([f"on the log {logged}, stored {stored}", *(f"{name}: {tail}" for name, tail in said.items())])

    def _received(self, topic: Topic[E]) -> list[Received[E]]:
        found = read(self.settings, self._codec, pin(self.settings, topic))
        return [item for item in found if isinstance(item, Received)]

    def _query(self, query: str) -> list[tuple[object, ...]]:
        return asyncio.run(_fetched(self.settings.database_url.get_secret_value(), query))


async def _fetched(url: str, query: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()
