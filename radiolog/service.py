"""What every long-running process of radiolog shares: logs, signals, probes, and the word that it is ready.

Readiness is told as systemd's services tell it (sd_notify(3)), so that the same process runs under `radiolog run all`,
under systemd with `Type=notify`, or alone.
"""

import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress

import structlog
from prometheus_client import REGISTRY, CollectorRegistry

from radiolog import __version__
from radiolog.allocator import keep_freed_memory
from radiolog.health import Health
from radiolog.instances import announced
from radiolog.probes import Probes
from radiolog.settings import Settings
from radiolog.stack.errors import StackError

LIFELINE = "RADIOLOG_LIFELINE"
"""Names a file descriptor whose other end the supervisor holds: when it closes, the supervisor is gone."""

log = structlog.get_logger()

Work = Callable[[threading.Event, Health], None]
"""Runs until the event is set, and says how it is."""


def configure_logs(least: int = logging.INFO, **always: str) -> None:
    """Structured logs, of this level and above, on standard error; every line bears `always`, whatever thread it is of.

    They are for people on a terminal, and one JSON object a line elsewhere.
    """
    renderer: structlog.types.Processor = structlog.processors.JSONRenderer()
    if sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[
            lambda _logger, _level, line: {**always, **line},
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),  # a line at once, where several processes write
    )
    logging.getLogger("radiolog.kafka").addHandler(_KafkaMessages())


class _KafkaMessages(logging.Handler):
    """The Kafka client's own messages, as structured logs."""

    def emit(self, record: logging.LogRecord) -> None:
        log.log(record.levelno, "kafka client", message=record.getMessage())


def serve(
    name: str, work: Work, settings: Settings, ordinal: int | None = None, registry: CollectorRegistry = REGISTRY
) -> None:
    """Runs `work` until SIGTERM, SIGINT, or the end of the supervisor; then it finishes what it has in hand.

    Meanwhile it answers probes, and is among `radiolog.instances`.

    Args:
        name: Of the service.
        work: What to run.
        settings: Where probes are answered, and the state folder.
        ordinal: Which of the service's live instances this is; None for the lowest number that is free.
        registry: What /metrics shows.

    Raises:
        SettingsError: probes can't be answered as the settings say.
    """
    configure_logs(service=name)
    keep_freed_memory()
    stop = threading.Event()
    _stop_on_signal_or_end_of_supervisor(stop)
    log.info("starting", version=__version__)
    health = Health(_tell_ready)
    with ExitStack() as context:
        probes = context.enter_context(Probes(health, settings, registry))
        log.info("probes", address=probes.address)
        try:
            context.enter_context(announced(settings.state_dir, name, ordinal, probes.address))
        except (OSError, StackError) as error:
            log.warning("not announced: `radiolog status` will not see this process", cause=str(error))
        work(stop, health)
    log.info("stopped")


def _tell_ready() -> None:
    log.info("ready")
    _notify("READY=1")


def _notify(message: str) -> None:
    if path := os.environ.get("NOTIFY_SOCKET"):
        address = "\0" + path[1:] if path.startswith("@") else path
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel, suppress(OSError):
            channel.setblocking(False)  # a supervisor that does not listen must not stop the work
            channel.connect(address)
            channel.send(message.encode())


def _stop_on_signal_or_end_of_supervisor(stop: threading.Event) -> None:
    """Sets `stop` from a thread.

    A signal handler that did so itself could meet the event's lock in the hands of the very thread that it interrupts.
    """
    ours, signalled = os.pipe()
    watched = [ours]
    if (lifeline := os.environ.pop(LIFELINE, None)) is not None:
        watched.append(int(lifeline))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(signalled, b"!"))

    def wait_for_end() -> None:
        select.select(watched, [], [])
        stop.set()

    threading.Thread(target=wait_for_end, name="stop", daemon=True).start()
