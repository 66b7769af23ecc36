"""The STOW-RS adapter as a server: uvicorn in a thread of its own."""

import socket
import threading
from collections.abc import Callable
from typing import Final

import structlog
import uvicorn

from producers import transport_security
from producers.intake import Intake
from producers.stow.access import Access
from producers.stow.app import application
from producers.stow.connection import BoundedConnection
from producers.stow.reception import Storeroom
from radiolog.settings import Settings, SettingsError

STOP_SECONDS: Final = 20
BEAT_SECONDS: Final = 1
BACKLOG: Final = 128

log = structlog.get_logger()


class StowAdapter:
    """Listens for clients and puts what they store on the log."""

    def __init__(self, settings: Settings, intake: Intake, on_round: Callable[[], None] = lambda: None) -> None:
        """Prepares the adapter; nothing listens before `start`.

        Args:
            settings: Where to listen, and for whom.
            intake: What becomes of an instance.
            on_round: Called every second or so for as long as requests can be taken.

        Raises:
            SettingsError: the port would be open to a network that nothing protects.
        """
        self._settings = settings
        self._intake = intake
        self._on_round = on_round
        self._security = transport_security.http_context(settings)
        self._room: Storeroom | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    def start(self) -> int:
        """Begin to listen; returns the port, which the system chose if the settings say 0.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        listening = self._listen()
        self.port = int(listening.getsockname()[1])
        self._room = Storeroom(self._intake, self._settings.receive_max_bytes)
        self._server = uvicorn.Server(self._configuration(self._room))
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="stow-server", daemon=True)
        self._thread.start()
        log.info("listening", port=self.port, tls=self._security is not None)
        return self.port

    def stop(self) -> None:
        """Accept nobody new, let requests that run end within `STOP_SECONDS`, then cut off what is left.

        What was on its way to the log then is waited for.
        """
        if self._server is None or self._thread is None or self._room is None:
            return
        self._server.should_exit = True
        self._thread.join()
        self._room.close()
        self._server = self._thread = self._room = None
        self.port = 0

    def __enter__(self) -> "StowAdapter":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _listen(self) -> socket.socket:
        host, port = self._settings.stow_host, self._settings.stow_port
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            return socket.create_server((host, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port} ({error.strerror}): is another adapter running? "
                "RADIOLOG_STOW_HOST and RADIOLOG_STOW_PORT choose the address."
            ) from error

    def _configuration(self, room: Storeroom) -> uvicorn.Config:
        security = self._security

        async def beat() -> None:
            self._on_round()

        return uvicorn.Config(
            application(room, Access.from_settings(self._settings), self._settings.stow_request_max_bytes),
            loop="asyncio",
            http=BoundedConnection,
            ws="none",
            lifespan="off",
            # Its access log has the study's UID, and its error log tracebacks that could quote an object.
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            timeout_notify=BEAT_SECONDS,
            callback_notify=beat,
            timeout_graceful_shutdown=STOP_SECONDS,
            ssl_context_factory=(lambda _config, _default: security) if security is not None else None,
        )
