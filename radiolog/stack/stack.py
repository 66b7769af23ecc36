"""The three servers together: up, down, status."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from radiolog.interrupts import interrupts_deferred
from radiolog.settings import ENVIRONMENT_PREFIX
from radiolog.stack.account import unprivileged_account
from radiolog.stack.errors import ServerError, ServerStartError
from radiolog.stack.kafka import KafkaServer
from radiolog.stack.ports import Ports, choose_ports, remembered_ports
from radiolog.stack.postgres import PostgresServer
from radiolog.stack.process import ServerProcess
from radiolog.stack.registry import RegistryServer
from radiolog.stack.server import Server
from radiolog.stack.state import StateFolder

READY_SECONDS = 120.0
POLL_SECONDS = 0.1


@dataclass(frozen=True)
class StackAddresses:
    """What a client needs to know; `database_url` holds the password, so it is left out of the representation."""

    bootstrap_servers: str
    schema_registry_url: str
    database_url: str = field(repr=False)


@dataclass(frozen=True)
class ServerStatus:
    """One server now. `address` is None before the first `up`, and holds no secret."""

    name: str
    pid: int | None
    address: str | None
    ready: bool
    log_file: Path


@dataclass(frozen=True)
class _Servers:
    """In the order in which they start: PostgreSQL while Kafka warms up, the registry once Kafka answers."""

    kafka: KafkaServer
    postgres: PostgresServer
    registry: RegistryServer

    def __iter__(self) -> Iterator[Server]:
        yield from (self.kafka, self.postgres, self.registry)

    @property
    def addresses(self) -> StackAddresses:
        return StackAddresses(self.kafka.bootstrap_servers, self.registry.url, self.postgres.url)


class Stack:
    """The embedded servers of one state folder; as long as the folder stays, so do their data and addresses.

    Args:
        state_dir: Everything is kept here: data, logs, process ids, ports, secrets, `stack.env`.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state = StateFolder(state_dir)

    def up(self, progress: Callable[[str], None] = lambda message: None) -> StackAddresses:
        """Start what is not running and wait until every server answers. Idempotent.

        If one server fails, or the user interrupts, what this call started is stopped again. A second `up` or `down`
        on the same folder waits until the first is done. Afterwards `STATE/stack.env` names the addresses.

        Raises:
            ArtifactError: a server's files are missing and cannot be fetched, or are not the pinned ones.
            StateFolderError: the state folder cannot be used.
            PortTakenError: another program has a port of this stack.
            ServerStartError: a server did not start; the message ends with the last lines of its log.
        """
        self._state.create()
        if account := unprivileged_account():
            account.require_way_to(self._state.path)
        with self._state.lock(progress), self._undone_on_failure(progress):
            servers = self._servers(remembered_ports(self._state) or choose_ports(self._state))
            self._start(servers, progress)
            self._write_environment(servers.addresses)
            return servers.addresses

    def down(self) -> None:
        """Stop what `up` started, now or in an earlier process, and wait until it is gone. Idempotent.

        Raises:
            StateFolderError: the state folder belongs to another user.
            ServerStopError: a server outlived SIGKILL.
        """
        if self._state.exists():
            with self._state.lock(lambda message: None):
                _stop(self._processes())

    def status(self) -> tuple[ServerStatus, ...]:
        """How each server is now; changes nothing.

        Raises:
            StateFolderError: the state folder belongs to another user.
        """
        ports = remembered_ports(self._state) if self._state.exists() else None
        if ports is None:
            return tuple(ServerStatus(p.name, None, None, False, p.log_file) for p in self._processes())
        return tuple(_status(server) for server in self._servers(ports))

    def _servers(self, ports: Ports) -> _Servers:
        broker = KafkaServer(self._state, ports)
        database = PostgresServer(self._state, unprivileged_account())
        return _Servers(broker, database, RegistryServer(self._state, ports, broker))

    def _processes(self) -> tuple[ServerProcess, ...]:
        """In the order in which they stop: the registry's journal is on the broker, so the broker goes last."""
        return tuple(kind.process_in(self._state) for kind in (RegistryServer, PostgresServer, KafkaServer))

    def _start(self, servers: _Servers, progress: Callable[[str], None]) -> None:
        for server in servers:
            if server.process.find() is None:
                for needed in server.needs:
                    _await_ready(needed)
                progress(f"starting {server.process.name}")
                server.launch(progress)
        for server in servers:
            _await_ready(server)
            progress(f"{server.process.name} is ready: {server.address}")

    def _write_environment(self, addresses: StackAddresses) -> None:
        values = {
            "BOOTSTRAP_SERVERS": addresses.bootstrap_servers,
            "SCHEMA_REGISTRY_URL": addresses.schema_registry_url,
            "DATABASE_URL": addresses.database_url,
            "SITE_SECRET": self._state.secret("site.secret"),
        }
        lines = (f"{ENVIRONMENT_PREFIX}{name}={value}\n" for name, value in values.items())
        self._state.write_private(self._state.path / "stack.env", "".join(lines))

    @contextmanager
    def _undone_on_failure(self, progress: Callable[[str], None]) -> Iterator[None]:
        idle = [process for process in self._processes() if process.find() is None]
        try:
            yield
        except BaseException:
            with interrupts_deferred():
                progress("stopping what was started")
                _stop(idle)
            raise


def _await_ready(server: Server) -> None:
    name, log_file = server.process.name, server.process.log_file
    deadline = time.monotonic() + READY_SECONDS
    while not server.is_ready():
        if server.process.ends_within(POLL_SECONDS):
            raise ServerStartError(f"{name} ended while it was starting", log_file, server.process.log_tail())
        if time.monotonic() > deadline:
            reason = f"{name} did not answer within {READY_SECONDS:.0f} seconds"
            raise ServerStartError(reason, log_file, server.process.log_tail())


def _stop(processes: Iterable[ServerProcess]) -> None:
    """Stop each; one that cannot be stopped does not keep the others."""
    failures = []
    for process in processes:
        try:
            process.stop()
        except ServerError as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


def _status(server: Server) -> ServerStatus:
    process = server.process.find()
    return ServerStatus(
        name=server.process.name,
        pid=process.pid if process else None,
        address=server.address,
        ready=process is not None and server.is_ready(),
        log_file=server.process.log_file,
    )
