"""One look at a site: which servers answer, how far behind each stage is, and how the processes are."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import parse_qs, urlsplit

from radiolog.log.batching import Place
from radiolog.log.errors import LogError, LogUnavailable
from radiolog.log.lag import LagReader, PartitionLag
from radiolog.log.sink import SinkUnavailable
from radiolog.settings import Settings
from radiolog.status.processes import READY, Process, Processes
from schemas.codec import schema_text
from schemas.events import Event
from schemas.registry import ConfluentRegistry, RegistryError
from schemas.topics import IMAGES, PREPROCESSED, Topic
from sinks.errors import DatabaseRefused
from sinks.postgres import FindingsSink, IdentitiesSink, PostgresSink
from sinks.queries import Database

T = TypeVar("T")

STAGES: Mapping[str, Topic[Event]] = {"preprocess": IMAGES, "inference": PREPROCESSED}
"""Each stage and the topic that it reads; a test holds them against the stages themselves, which take long to load."""

SINKS = (PostgresSink, FindingsSink, IdentitiesSink)

RATE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Server:
    """One server: why it does not answer as it should, or None if it does. The address holds no secret."""

    name: str
    address: str
    obstacle: str | None


@dataclass(frozen=True, slots=True)
class Reader:
    """A stage or a sink.

    Attributes:
        name: which.
        lags: by partition; None if they can't be known now.
        open_letters: its dead letters that wait to be retried, by PostgreSQL; None if that does not answer.
    """

    name: str
    lags: Sequence[PartitionLag] | None
    open_letters: int | None


@dataclass(frozen=True, slots=True)
class Look:
    """A site at one moment."""

    at: datetime
    servers: Sequence[Server]
    readers: Sequence[Reader]
    processes: Sequence[Process]

    @property
    def is_well(self) -> bool:
        """Whether every server answers, and every process that runs is ready."""
        return not any(server.obstacle for server in self.servers) and all(p.state == READY for p in self.processes)


class Site:
    """Looks at a site, as often as it is asked; use it as a context."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._processes = Processes(settings)
        self._log = LagReader(settings)
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="status")
        self._is_first = True

    def __enter__(self) -> "Site":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown()
        self._log.__exit__(*exception)

    def look(self) -> Look:
        """How the site is now; the first look takes a second, since rates need two."""
        if self._is_first:
            self._processes.look()
        pause = self._pool.submit(threading.Event().wait, RATE_SECONDS if self._is_first else 0.0)
        self._is_first = False
        registry = self._pool.submit(_tried, self._schemas)
        stored, database_obstacle = self._pool.submit(_tried, self._stored).result()
        readers, log_obstacle = _tried(lambda: self._readers(stored))
        pause.result()
        letters = stored.letters if stored else None
        servers = (
            Server("kafka", self._settings.bootstrap_servers, log_obstacle),
            Server("registry", self._settings.schema_registry_url, registry.result()[1]),
            Server("postgres", _without_secrets(self._settings), database_obstacle),
        )
        found = readers or dict.fromkeys((*STAGES, PostgresSink.name))
        # A sink that is not at work any more may have left letters.
        found |= dict.fromkeys(sorted((letters or {}).keys() - found.keys()))
        return Look(
            datetime.now(UTC),
            servers,
            [Reader(name, lags, None if letters is None else letters.get(name, 0)) for name, lags in found.items()],
            self._processes.look(),
        )

    def _readers(self, stored: "_Stored | None") -> dict[str, list[PartitionLag] | None]:
        """The lags of each; of sinks only if their store tells where they stand."""
        lags: dict[str, list[PartitionLag] | None] = {
            name: self._log.of_stage(name, topic) for name, topic in STAGES.items()
        }
        if stored is None:
            return lags | {PostgresSink.name: None}
        sinks = self._sinks(stored.positions)
        return lags | {name: self._lag_of(topics, stored.positions.get(name, {})) for name, topics in sinks.items()}

    def _lag_of(self, topics: Sequence[Topic[Event]], positions: Mapping[Place, int]) -> list[PartitionLag]:
        """The lag of a sink whose store has told its positions already."""
        return self._log.of_sink(topics, lambda _: positions)

    def _sinks(self, positions: Mapping[str, Mapping[Place, int]]) -> dict[str, list[Topic[Event]]]:
        """The sinks at work and what each keeps: of those that have begun with a topic, the one that is furthest."""
        kept: dict[str, list[Topic[Event]]] = {}
        for topic in PostgresSink.topics:
            name = topic.full_name(self._settings.topic_prefix)
            reached = {
                sink.name: sum(offsets)
                for sink in SINKS
                if (offsets := [offset for place, offset in positions.get(sink.name, {}).items() if place[0] == name])
            }
            kept.setdefault(max(reached, key=reached.__getitem__, default=PostgresSink.name), []).append(topic)
        return kept

    def _stored(self) -> "_Stored":
        with Database(self._settings.database_url.get_secret_value()) as database:
            return _Stored(database.positions_by_sink(), database.open_letters())

    def _schemas(self) -> int:
        subject = f"{IMAGES.full_name(self._settings.topic_prefix)}-value"
        return ConfluentRegistry.from_settings(self._settings).schema_id(subject, schema_text(IMAGES.schema))


@dataclass(frozen=True, slots=True)
class _Stored:
    """What PostgreSQL knows."""

    positions: Mapping[str, Mapping[Place, int]]
    letters: Mapping[str, int]


def _tried(ask: Callable[[], T]) -> tuple[T | None, str | None]:
    """An answer, or why there is none, in one line."""
    try:
        return ask(), None
    except LogUnavailable as error:
        return None, f"Kafka does not answer ({str(error).partition(':')[0]})"
    except (LogError, RegistryError, SinkUnavailable, DatabaseRefused) as error:
        return None, str(error).splitlines()[0]


def _without_secrets(settings: Settings) -> str:
    """Host, port and database of the URL, without user and password; or the folder of a unix socket."""
    url = urlsplit(settings.database_url.get_secret_value())
    host = url.netloc.rpartition("@")[2] or parse_qs(url.query).get("host", ["this machine"])[0]
    return host + url.path if url.netloc.rpartition("@")[2] else host
