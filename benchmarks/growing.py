"""Instances of a stage, and replays: for each size of a case in processes and on topics of their own."""

import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from ctypes import c_double, c_long
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exactly_once import Relay
from own_servers import admin_of, create

from models.bundle import load_bundle
from radiolog.health import Health
from radiolog.log.batching import BatchLimits
from radiolog.log.clients import KafkaClients
from radiolog.log.objects import ObjectStore
from radiolog.log.replay import pin, read
from radiolog.log.runtime import StageRunner
from radiolog.log.stage import Outcome, Received, Stage
from radiolog.log.transactions import OutgoingRecord, Transactions
from radiolog.service import configure_logs
from radiolog.settings import Settings
from schemas.codec import schema_text
from schemas.events import ImageEvent
from schemas.registry import ConfluentRegistry, codec
from schemas.topics import DEAD_LETTERS, IMAGES, PREPROCESSED
from stream_processors import decoding
from stream_processors.preprocess import PreprocessStage

RECORD_BYTES = 1_000
PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.005
TOGETHER = 20_000
"""Records of a transaction that nobody waits for."""

_context = multiprocessing.get_context("spawn")


def equipped(settings: Settings, name: str, partitions: int) -> Settings:
    """The settings of a site of its own on the same servers, whose topics and schemas are there."""
    own = settings.model_copy(update={"topic_prefix": f"{name}.", "app": name, "partitions": partitions})
    admin, registry = admin_of(own), ConfluentRegistry.from_settings(own)
    for topic in (IMAGES, PREPROCESSED, DEAD_LETTERS):
        create(admin, topic, own)
        registry.register(f"{topic.full_name(own.topic_prefix)}-value", schema_text(topic.schema))
    return own


class Backlog:
    """Puts images on the log of a site."""

    def __init__(self, settings: Settings, images: Sequence[ImageEvent]) -> None:
        """Of these images in turn; they are encoded once."""
        known, name = codec(settings), IMAGES.full_name(settings.topic_prefix)
        self._records = [OutgoingRecord(name, str(n), known.encode(IMAGES, one)) for n, one in enumerate(images)]
        self._transactions = Transactions(
            lambda: KafkaClients(settings).transactional_producer(f"{settings.app}-backlog")
        )

    def close(self) -> None:
        """Lets go of the log."""
        self._transactions.close()

    def put(self, count: int) -> float:
        """So many, all at once; gives the moment, in seconds since the epoch."""
        self._transactions.run([self._records[number % len(self._records)] for number in range(count)])
        return time.time()

    def fill(self, count: int) -> None:
        """So many, with nobody there to see them."""
        for first in range(0, count, TOGETHER):
            self.put(min(TOGETHER, count - first))


@dataclass(frozen=True, slots=True)
class Report:
    """What an instance says of itself, in memory that it shares with the process that measures."""

    ready: Any = field(default_factory=_context.Event)
    stop: Any = field(default_factory=_context.Event)
    seen: Any = field(default_factory=lambda: _context.Value(c_long, 0))
    last: Any = field(default_factory=lambda: _context.Value(c_double, 0.0))
    peak: Any = field(default_factory=lambda: _context.Value(c_double, 0.0))


class Instances:
    """Instances of a stage that share a backlog.

    Args:
        settings: of their own site.
        decodes: whether the stage is PreprocessStage, which decodes in its own process here; else it does no work, and
            emits a record of 1 kB for each event.
        count: how many.
        images: of the backlog, in turn.
    """

    def __init__(self, settings: Settings, decodes: bool, count: int, images: Sequence[ImageEvent]) -> None:
        self._backlog = Backlog(settings, images)
        self._reports = [Report() for _ in range(count)]
        self._processes = [
            _context.Process(target=_instance, args=(settings, decodes, ordinal, report), daemon=True)
            for ordinal, report in enumerate(self._reports)
        ]
        for process in self._processes:
            process.start()

    def close(self) -> None:
        """Stops them."""
        for report in self._reports:
            report.stop.set()
        for process in self._processes:
            process.join(30)
        self._backlog.close()

    def seconds(self, events: int) -> float:
        """From the moment at which a backlog was there to the end of its last transaction."""
        self._await(lambda: all(report.ready.is_set() for report in self._reports))
        enough = self._seen() + events
        began = self._backlog.put(events)
        self._await(lambda: self._seen() >= enough)
        return max(float(report.last.value) for report in self._reports) - began

    @property
    def peak(self) -> float:
        """The most memory that one of them has had resident, in MB."""
        return max(float(report.peak.value) for report in self._reports)

    def _seen(self) -> int:
        return sum(int(report.seen.value) for report in self._reports)

    def _await(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline or not all(process.is_alive() for process in self._processes):
                raise RuntimeError("an instance ended, or is too slow: its error stands above")
            time.sleep(POLL_SECONDS)


class Counting:
    """A stage, and how many events it has seen."""

    def __init__(self, stage: Stage[ImageEvent]) -> None:
        self.name = stage.name
        self.source = stage.source
        self.seen = 0
        self._stage = stage

    def process(self, batch: Sequence[Received[ImageEvent]]) -> Sequence[Outcome]:
        """As the stage does."""
        self.seen += len(batch)
        return self._stage.process(batch)


def _instance(settings: Settings, decodes: bool, ordinal: int, report: Report) -> None:
    """Works until it is told to stop, or nobody is there any more to tell it."""
    os.setsid()  # as a stage's process: Linux shares out the cores by session
    parent = multiprocessing.parent_process()
    configure_logs(logging.ERROR)
    stage = Counting(_stage(settings, decodes))
    limits = BatchLimits(events=4) if decodes else BatchLimits()
    runner = StageRunner(stage, settings, codec(settings), ordinal=ordinal, limits=limits)
    with closing(runner.join(report.stop, Health(report.ready.set))) as member:
        while not report.stop.is_set() and parent is not None and parent.is_alive():
            member.round()
            if stage.seen > report.seen.value:
                report.last.value, report.peak.value = time.time(), _peak()
                report.seen.value = stage.seen


def _stage(settings: Settings, decodes: bool) -> Stage[ImageEvent]:
    if not decodes:
        return Relay("growth", PREPROCESSED, b"\x55" * RECORD_BYTES)
    spec = load_bundle(settings.bundle).spec
    return PreprocessStage(spec, lambda jobs: [decoding.run(job) for job in jobs], ObjectStore.from_settings(settings))


class Replay:
    """A topic of so many events, and a process that reads them again.

    Args:
        settings: of its own site.
        length: events on the log.
        last: how many of them came after the rest.
        image: that they are of.
    """

    def __init__(self, settings: Settings, length: int, last: int, image: ImageEvent) -> None:
        self._settings = settings
        self._length = length
        self._last = last
        with closing(Backlog(settings, [image] * settings.partitions)) as backlog:
            backlog.fill(length - last)
            time.sleep(0.1)  # times on the log are in milliseconds
            self._since = datetime.now(UTC)
            backlog.fill(last)
        self._process = ProcessPoolExecutor(1, _context)
        self.peak = 0.0

    def close(self) -> None:
        """Ends the process."""
        self._process.shutdown()

    def all(self) -> float:
        """Seconds to read the whole topic."""
        return self._seconds(None, self._length)

    def slice(self) -> float:
        """Seconds to find and read what came last, by its time."""
        return self._seconds(self._since, self._last)

    def _seconds(self, since: datetime | None, events: int) -> float:
        seconds, count, self.peak = self._process.submit(_replayed, self._settings, since).result()
        if count != events:
            raise RuntimeError(f"{count} events were read of {events}")
        return seconds


def _replayed(settings: Settings, since: datetime | None) -> tuple[float, int, float]:
    began = time.perf_counter()
    found = sum(
        isinstance(one, Received) for one in read(settings, codec(settings), pin(settings, IMAGES, since=since))
    )
    return time.perf_counter() - began, found, _peak()


def _peak() -> float:
    """The most memory that this process has had resident (proc(5), VmHWM), in MB."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024 / 1e6
