"""PostgreSQL's account, its programs and its socket where the usual place will not do."""

import asyncio
import os
import shutil
import subprocess
from pathlib import Path

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiolog.stack import postgres_binaries
from radiolog.stack.account import READ, SEARCH, Account, unprivileged_account
from radiolog.stack.command import Command
from radiolog.stack.postgres import PostgresServer
from radiolog.stack.postgres_binaries import PACKAGE, PostgresBinaries
from radiolog.stack.socket_folder import SUITABLE, SocketFolder
from radiolog.stack.state import StateFolder

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only as root does PostgreSQL run under another account")


@pytest.fixture
def state(reachable_folder: Path) -> StateFolder:
    state = StateFolder(reachable_folder)
    state.subfolder("postgres", passable=True)
    return state


@pytest.fixture
def account() -> Account:
    account = unprivileged_account()
    assert account is not None
    return account


@as_root
@pytest.mark.parametrize("mode", [0o000, 0o004, 0o040, 0o400, 0o644, 0o600, 0o777])
@pytest.mark.parametrize("owned", [False, True])
def test_the_account_reads_what_the_kernel_lets_it_read(
    reachable_folder: Path, account: Account, mode: int, owned: bool
) -> None:
    file = reachable_folder / "file"
    file.touch()
    file.chmod(mode)
    if owned:
        os.chown(file, account.uid, account.gid)
    allowed = Command(["test", "-r", file], Path("/"), account).run(subprocess.DEVNULL)
    assert account.may(file, READ) is allowed


@as_root
def test_the_topmost_closed_folder_is_named(reachable_folder: Path, account: Account) -> None:
    closed = reachable_folder / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    assert account.blocking_folder(closed / "inner") == closed
    assert account.blocking_folder(reachable_folder) is None
    assert account.may(reachable_folder, SEARCH)


@as_root
@pytest.mark.servers
def test_programs_in_a_private_place_are_copied_once(
    state: StateFolder, tmp_path: Path, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = postgres_binaries._site_packages()
    for package in site.glob(f"{PACKAGE}*"):
        shutil.copytree(site / package.name, tmp_path / package.name)
    tmp_path.chmod(0o700)
    monkeypatch.setattr(postgres_binaries, "_site_packages", lambda: tmp_path)
    binaries = PostgresBinaries(state, account)
    folder = binaries.usable()
    assert folder.is_relative_to(state.path)
    assert Command([folder / "initdb", "--version"], Path("/"), account).run(subprocess.DEVNULL)
    made = folder.stat().st_ino
    assert binaries.usable().stat().st_ino == made
    assert tmp_path.stat().st_mode & 0o777 == 0o700


def test_an_ordinary_user_takes_the_package_as_it_is(state: StateFolder) -> None:
    binaries = PostgresBinaries(state, None)
    assert binaries.usable() == binaries.own


def test_a_short_path_holds_the_socket_itself(state: StateFolder) -> None:
    socket = SocketFolder(state, None)
    socket.ensure()
    assert socket.path == state.path / "postgres" / "socket"
    assert socket.path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("name", ["x" * 80, "a,b", "two words", "é"])
def test_an_unsuitable_path_gets_a_temporary_folder_and_remembers_it(reachable_folder: Path, name: str) -> None:
    state = StateFolder(reachable_folder / name)
    state.create()
    state.subfolder("postgres", passable=True)
    socket = SocketFolder(state, None)
    socket.ensure()
    first = socket.path
    socket.ensure()
    assert socket.path == first == SocketFolder(state, None).path
    assert first.stat().st_mode & 0o777 == 0o700
    first.rmdir()
    socket.ensure()
    assert socket.path != first
    socket.path.rmdir()


@given(st.from_regex(SUITABLE, fullmatch=True) | st.text())
def test_a_suitable_path_fits_a_socket_address_and_needs_no_quoting(path: str) -> None:
    if SUITABLE.fullmatch(path):
        assert len(os.fsencode(f"{path}/.s.PGSQL.5432.lock")) <= 107
        assert not set(path) & set(",'\" %?&=")


@pytest.mark.servers
def test_a_long_path_serves_a_database(reachable_folder: Path) -> None:
    state = StateFolder(reachable_folder / ("long" * 30))
    state.create()
    server = PostgresServer(state, unprivileged_account())
    server.launch(lambda message: None)
    try:
        while not server.is_ready():
            assert not server.process.ends_within(0.05), server.process.log_tail()
        assert asyncio.run(_database(server.url)) == "radiolog"
    finally:
        server.process.stop()
        shutil.rmtree(SocketFolder(state, None).path)


async def _database(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        return str(await connection.fetchval("SELECT current_database()"))
    finally:
        await connection.close()
