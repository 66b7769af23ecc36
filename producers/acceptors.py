"""The DICOM adapter as several processes: one interpreter can't receive from many devices at once.

The parent listens and accepts nobody. Its children, the acceptors, share its listening socket, each with a Kafka
client, probes and associations of its own. One that dies takes its own associations with it and no others, and is
started again; what comes meanwhile goes to those that live, or waits.
"""

import sys
import threading

from producers import transport_security
from producers.commitment.service import commitment
from producers.post import Posts, posts
from radiolog.crew import Crew
from radiolog.health import Health
from radiolog.log.objects import ObjectStore
from radiolog.service import serve
from radiolog.settings import Settings
from radiolog.supervisor import Service, Supervisor

ACCEPTOR_SERVICE = "dicom"
PARENT_SERVICE = "adapter"


def run(settings: Settings) -> None:
    """Runs as many acceptors as the settings say, until SIGTERM; then each lets its associations end.

    Raises:
        SettingsError: the port would be open to a network that nothing protects, it cannot be listened on, or there is
            another setting that no acceptor could work with.
        ServiceFailed: an acceptor ended before it was ready.
    """
    _check(settings)
    crew = Crew("acceptor", settings.state_dir, settings.probe_token)

    def work(stop: threading.Event, health: Health) -> None:
        with posts(settings) as handed_down, commitment(settings, stop, crew.registry):
            services = [_acceptor(ordinal, handed_down) for ordinal in range(settings.dicom_acceptors)]
            with Supervisor(services, health.beat) as supervisor:
                supervisor.start(stop)
                supervisor.on_round = lambda: crew.look(supervisor.pids(), health)
                supervisor.watch(stop)

    serve(PARENT_SERVICE, work, settings, registry=crew.registry)


def _check(settings: Settings) -> None:
    """What is wrong is told once, and not by each acceptor."""
    transport_security.server_context(settings)
    transport_security.peer_context(settings)
    ObjectStore.from_settings(settings)
    if not settings.keep_identity:
        settings.require_site_secret()


def _acceptor(ordinal: int, handed_down: Posts) -> Service:
    command = (sys.executable, "-m", "radiolog", "adapter", "dicom", "--post", handed_down.text(ordinal))
    # A port that the settings name can be one process's only: here it is the parent's.
    environment = {"RADIOLOG_PROBE_PORT": "0", "RADIOLOG_PROBE_HOST": "127.0.0.1"}
    return Service(f"{ACCEPTOR_SERVICE}-{ordinal}", command, None, environment, handed_down.descriptors)
