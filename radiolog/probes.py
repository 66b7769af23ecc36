"""What a process tells those who watch over it, by HTTP: /live, /ready and /metrics.

| path | 200 | 503 |
|---|---|---|
| /live | the process's loop goes round | it is stuck: start it again |
| /ready | it can do its work | what it lacks, in one line |
| /metrics | Prometheus's text format | |

It listens on loopback unless told otherwise, and off loopback it answers only those who show the token. A request is a
few lines that come within seconds, or the connection is closed; so a slow client costs one thread for that long, and
there are never more than a few of these. Nothing here holds patient data.
"""

import hmac
import io
import socket
import threading
import time
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any, cast
from urllib.parse import urlsplit

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Gauge,
    disable_created_metrics,
    generate_latest,
)
from pydantic import SecretStr
from typing_extensions import override

from radiolog.health import Health
from radiolog.loopback import is_loopback
from radiolog.settings import Settings, SettingsError

REQUEST_SECONDS = 5.0
REQUEST_BYTES = 8 << 10
CONNECTIONS = 16
ASK_SECONDS = 3.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
PLAIN = "text/plain; charset=utf-8"

log = structlog.get_logger()

Answer = tuple[HTTPStatus, str, bytes]
"""Status, content type, body."""


class Probes:
    """Answers in threads of its own; use it as a context.

    Raises:
        SettingsError: it would listen on a network without a token, or the address is taken.
    """

    def __init__(self, health: Health, settings: Settings, registry: CollectorRegistry = REGISTRY) -> None:
        host, token = settings.probe_host, settings.probe_token
        if token is None and not is_loopback(host):
            raise SettingsError(
                f"RADIOLOG_PROBE_HOST={host} is reachable from other machines: set RADIOLOG_PROBE_TOKEN, which those "
                "who ask must then show, or listen on 127.0.0.1"
            )
        disable_created_metrics()  # type: ignore[no-untyped-call]
        try:
            self._server = _Server((host, settings.probe_port), Answers(health, registry, token))
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{settings.probe_port} for probes ({error.strerror}): RADIOLOG_PROBE_HOST and "
                "RADIOLOG_PROBE_PORT choose the address, and 0 a free port; each process needs one of its own"
            ) from None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="probes", daemon=True)

    def __enter__(self) -> "Probes":
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def address(self) -> str:
        """Where this machine reaches it, as a URL."""
        host, port = self._server.server_address[:2]
        return address_of(str(host), int(port))


class Answers:
    """What is answered to a path and an Authorization header."""

    def __init__(self, health: Health, registry: CollectorRegistry, token: SecretStr | None) -> None:
        self._health = health
        self._registry = registry
        self._token = token
        self._own = CollectorRegistry()
        self._ready = Gauge("radiolog_ready", "Whether the process can do its work.", registry=self._own)

    def to(self, path: str, authorization: str) -> Answer:
        """The answer; without the token, if there is one, it says nothing, not even which paths there are."""
        if not self._lets_in(authorization):
            return _text(HTTPStatus.UNAUTHORIZED, "show the token of RADIOLOG_PROBE_TOKEN: Authorization: Bearer ...")
        match path:
            case "/live":
                return _state(None if self._health.is_alive else "the loop has not gone round for minutes")
            case "/ready":
                return _state(self._health.obstacle)
            case "/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_LATEST, self._metrics()
        return _text(HTTPStatus.NOT_FOUND, "there are /live, /ready and /metrics")

    def _metrics(self) -> bytes:
        self._ready.set(self._health.obstacle is None)
        return generate_latest(self._registry) + generate_latest(self._own)

    def _lets_in(self, authorization: str) -> bool:
        if self._token is None:
            return True
        wanted = f"Bearer {self._token.get_secret_value()}"
        return hmac.compare_digest(wanted.encode(), authorization.encode(errors="replace"))


def address_of(host: str, port: int) -> str:
    """The URL at which this machine reaches what listens on `host`."""
    host = EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def ask(address: str, path: str, token: SecretStr | None = None, seconds: float = ASK_SECONDS) -> tuple[int, str]:
    """Asks the probes of another process.

    Returns:
        The status, and the body; status 0 and the kind of error if nothing answers.
    """
    url = urlsplit(address)
    connection = HTTPConnection(str(url.hostname), url.port, timeout=seconds)
    headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace").strip()
    except (OSError, HTTPException) as error:
        return 0, type(error).__name__
    finally:
        connection.close()


def _state(obstacle: str | None) -> Answer:
    return _text(HTTPStatus.OK, "ok") if obstacle is None else _text(HTTPStatus.SERVICE_UNAVAILABLE, obstacle)


def _text(status: HTTPStatus, line: str) -> Answer:
    return status, PLAIN, f"{line}\n".encode()


class _Server(ThreadingTCPServer):
    """A few threads at most; whoever comes when all are taken is turned away."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], answers: Answers) -> None:
        self.answers = answers
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, _Handler)

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    @override
    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Mostly a client that went away; its request is not told, whatever it held."""


class _Handler(BaseHTTPRequestHandler):
    """One request and its answer, HTTP/1.0: the connection ends with it."""

    timeout = REQUEST_SECONDS
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = PLAIN

    @override
    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = io.BytesIO(_head(self.connection))

    @override
    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.command != "GET":
            self._send(*_text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET"))
        return self.command == "GET"

    def do_GET(self) -> None:
        """Answers."""
        answers = cast(_Server, self.server).answers
        self._send(*answers.to(urlsplit(self.path).path, self.headers.get("Authorization", "")))

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status is HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    @override
    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        super().send_error(code)  # the message would quote the request

    @override
    def version_string(self) -> str:
        return "radiolog"

    @override
    def log_message(self, format: str, *args: object) -> None:
        """Requests are not logged."""


def _head(connection: socket.socket) -> bytes:
    """A request up to its empty line; nothing of one that is too long or takes too long."""
    head, deadline = b"", time.monotonic() + REQUEST_SECONDS
    while b"\r\n\r\n" not in head and b"\n\n" not in head:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        received = connection.recv(REQUEST_BYTES)
        head += received
        if not received or len(head) > REQUEST_BYTES:
            return b""
    connection.settimeout(REQUEST_SECONDS)
    return head
