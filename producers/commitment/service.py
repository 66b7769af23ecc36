"""Storage commitment as the one process above the acceptors runs it: a thread that decides, and one that reports."""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final

import structlog
from prometheus_client import REGISTRY, CollectorRegistry

from producers import transport_security
from producers.commitment import private_database
from producers.commitment.clerk import Clerk
from producers.commitment.index import Index
from producers.commitment.journal import Journal
from producers.commitment.reporter import Reporter
from producers.commitment.rounds import LOOK_SECONDS, Rounds
from producers.pseudonyms import Pseudonyms
from radiolog.log.api import Clients
from radiolog.log.errors import LogError
from radiolog.log.metrics import CommitmentMetrics
from radiolog.log.tail import Tail
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.registry import codec
from schemas.topics import IMAGES

#: How often the index reads on while nobody asks, so that who does has little to wait for.
IDLE_SECONDS: Final = 10.0
#: How long to leave it after something went wrong.
PAUSE_SECONDS: Final = 2.0
#: How long both threads may take in the end, and the visits of devices that are under way then.
STOP_SECONDS: Final = 5.0
VISIT_SECONDS: Final = 2.0

log = structlog.get_logger()


@contextmanager
def commitment(
    settings: Settings,
    stop: threading.Event,
    registry: CollectorRegistry = REGISTRY,
    clients: Clients | None = None,
    its_codec: Codec | None = None,
) -> Iterator[None]:
    """Answers requests while the context lasts; does nothing if the settings name no peers.

    Args:
        settings: Who can be told.
        stop: Ends the work, as the adapter is told to end and lets its associations do so; set at the end in any case.
        registry: Where it counts.
        clients: How to reach the log; by default Kafka, where the settings say.
        its_codec: Between records and events; by default by the registry that the settings name.

    Raises:
        SettingsError: a peer would be told over a network that nothing protects, or a secret or a file is missing.
    """
    if not settings.dicom_peers:
        yield
        return
    desk = _Desk(settings, CommitmentMetrics(registry), clients, its_codec or codec(settings))
    threads = [
        threading.Thread(target=target, args=(stop,), name=name, daemon=True)
        for name, target in (("commitment-clerk", desk.decide), ("commitment-rounds", desk.report))
    ]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))


class _Desk:
    """The work of both threads."""

    def __init__(self, settings: Settings, metrics: CommitmentMetrics, clients: Clients | None, codec: Codec) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clients = clients
        self._codec = codec
        self._security = transport_security.peer_context(settings)
        self._pseudonym = _pseudonym(settings)
        self._journal = Journal(settings.state_dir)
        self._causes: dict[str, str] = {}

    def decide(self, stop: threading.Event) -> None:
        """Decides about requests until `stop` is set."""
        self._persist("clerk", self._decide, stop)

    def report(self, stop: threading.Event) -> None:
        """Reports what was decided until `stop` is set."""
        self._persist("rounds", self._report, stop)

    def _persist(self, name: str, work: Callable[[threading.Event], None], stop: threading.Event) -> None:
        """Whatever goes wrong is told by its kind, once, and tried again: messages might quote a request."""
        while not stop.is_set():
            try:
                with _alone(self._settings, name, stop):
                    work(stop)
            except Exception as error:
                cause = str(error) if isinstance(error, LogError) else type(error).__name__
                if self._causes.get(name) != cause:
                    log.warning("commitment waits", at=name, cause=cause)
                self._causes[name] = cause
                stop.wait(PAUSE_SECONDS)

    def _decide(self, stop: threading.Event) -> None:
        with (
            closing(Tail(self._settings, IMAGES, self._codec, self._clients)) as tail,
            closing(Index(self._settings.state_dir, tail.name)) as index,
        ):
            clerk = Clerk(self._journal, index, tail, self._pseudonym, self._metrics)
            while not stop.is_set():
                clerk.round(stop)
                self._causes.pop("clerk", None)
                self._rest(stop)

    def _report(self, stop: threading.Event) -> None:
        rounds = Rounds(self._journal, self._reporter, self._metrics)
        while not stop.wait(LOOK_SECONDS):
            rounds.look()
            self._causes.pop("rounds", None)
        rounds.end(VISIT_SECONDS)

    def _rest(self, stop: threading.Event) -> None:
        """Until somebody asks, or it is time to read on."""
        deadline = time.monotonic() + IDLE_SECONDS
        while not self._journal.undecided() and time.monotonic() < deadline and not stop.wait(LOOK_SECONDS):
            pass

    def _reporter(self, peer: str) -> Reporter:
        address = self._settings.dicom_peers.get(peer)
        return Reporter(peer, address, self._settings.dicom_ae_title, self._security, self._journal, self._metrics)


def _pseudonym(settings: Settings) -> Callable[[str], str]:
    """By what UID the log knows an object, as `producers.intake` has it."""
    if settings.keep_identity:
        return str
    return Pseudonyms(settings.require_site_secret()).uid


@contextmanager
def _alone(settings: Settings, name: str, stop: threading.Event) -> Iterator[None]:
    """Waits until no other process does this on these files, as one that was told to end may do for a moment."""
    file = private_database.folder(settings.state_dir) / f"{name}.lock"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not stop.is_set():
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                stop.wait(LOOK_SECONDS)
        yield
    finally:
        os.close(descriptor)
