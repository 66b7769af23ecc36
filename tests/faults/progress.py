"""What is committed while a run goes on, and when each result came."""

import asyncio
import threading
import time
from bisect import bisect_right
from collections import Counter
from contextlib import closing, suppress

import asyncpg
from confluent_kafka import KafkaException, TopicPartition

from radiolog.log.api import Consumer
from radiolog.log.batching import place_of
from radiolog.log.clients import KafkaClients
from radiolog.log.replay import pin
from radiolog.log.stage import Received
from radiolog.log.transform import decoded_by
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import DeadLetter, Event
from schemas.topics import DEAD_LETTERS, DIAGNOSES, PREPROCESSED, Topic

ROWS = """
    select (select count(*) from diagnosis) + (select count(*) from dead_letter)
         + (select count(*) from restricted.identity)"""
LOOK_SECONDS = 0.1
DEAF_SECONDS = 20.0
STAGES = {PREPROCESSED: "preprocess", DIAGNOSES: "inference"}


class Progress:
    """Counts results, by stage, as readers of committed records and of the database see them."""

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self._codec = codec
        self._url = settings.database_url.get_secret_value()
        self._topics: dict[str, Topic[Event]] = {
            topic.full_name(settings.topic_prefix): topic for topic in (PREPROCESSED, DIAGNOSES, DEAD_LETTERS)
        }
        self._times: dict[str, list[float]] = {"preprocess": [], "inference": [], "sink": []}
        self._counts: Counter[str] = Counter()
        self.preprocessed = 0
        self._end = threading.Event()
        self._settings = settings
        self._offsets = {
            (name, partition): offset
            for name, topic in self._topics.items()
            for partition, offset in pin(settings, topic).start.items()
        }
        self._threads = [threading.Thread(target=target, daemon=True) for target in (self._read, self._count_rows)]
        for thread in self._threads:
            thread.start()

    def done(self, stage: str) -> int:
        """Results of the stage so far; of the sink: rows."""
        return self._counts[stage]

    @property
    def last(self) -> float:
        """When the latest result came."""
        return max((times[-1] for times in self._times.values() if times), default=0.0)

    def recovery(self, stage: str, since: float) -> float | None:
        """Seconds from `since` to the stage's first result after it; None if none came."""
        times = self._times[stage]
        at = bisect_right(times, since)
        return times[at] - since if at < len(times) else None

    def close(self) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _note(self, stage: str, count: int) -> None:
        self._counts[stage] += count
        self._times[stage].append(time.monotonic())

    def _read(self) -> None:
        """Reads with client after client: one may bring nothing any more once a broker has come back (`silence`)."""
        while not self._end.is_set():
            with closing(KafkaClients(self._settings).reader()) as reader:
                reader.assign([TopicPartition(*where, offset) for where, offset in self._offsets.items()])
                self._read_with(reader)

    def _read_with(self, reader: Consumer) -> None:
        """Until it has brought nothing for long."""
        brought = time.monotonic()
        while not self._end.is_set() and time.monotonic() < brought + DEAF_SECONDS:
            with suppress(KafkaException):
                message = reader.poll(LOOK_SECONDS)
                if message is None or message.error() is not None:
                    continue
                brought = time.monotonic()
                self._offsets[place_of(message)] = int(message.offset() or 0) + 1
                topic = self._topics[str(message.topic())]
                self.preprocessed += topic is PREPROCESSED
                if (stage := STAGES.get(topic)) is None:
                    letter = decoded_by(self._codec, DEAD_LETTERS, message)
                    assert isinstance(letter, Received)
                    assert isinstance(letter.event, DeadLetter)
                    stage = letter.event.stage
                self._note(stage, 1)

    def _count_rows(self) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._watch_rows())

    async def _watch_rows(self) -> None:
        connection = None
        while not self._end.wait(LOOK_SECONDS):
            try:
                connection = connection or await asyncpg.connect(self._url, timeout=2)
                rows = await connection.fetchval(ROWS, timeout=5)
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                if connection is not None:
                    connection.terminate()
                connection = None
                continue
            if rows > self._counts["sink"]:
                self._note("sink", rows - self._counts["sink"])
        if connection is not None:
            await connection.close()
