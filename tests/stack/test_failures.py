"""An `up` that cannot succeed, or is interrupted, stops what it started and says why."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from radiolog.stack import stack as stack_module
from radiolog.stack.account import unprivileged_account
from radiolog.stack.errors import PortTakenError, ServerStartError, StateFolderError
from radiolog.stack.kafka import FORMATTED_BY, version
from radiolog.stack.ports import choose_ports
from radiolog.stack.postgres import PostgresServer
from radiolog.stack.stack import Stack
from radiolog.stack.state import StateFolder

pytestmark = pytest.mark.servers

ProcessesOf = Callable[[Path], list[psutil.Process]]

UP = """
import sys
from pathlib import Path
from radiolog.stack.stack import Stack
Stack(Path(sys.argv[1])).up(lambda message: print(message, flush=True))
"""


@pytest.fixture
def state(reachable_folder: Path) -> StateFolder:
    state = StateFolder(reachable_folder / "state")
    state.create()
    return state


@contextmanager
def _occupied(port: int) -> Iterator[None]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        yield


def _spoil_kafka_storage(state: StateFolder) -> None:
    """Storage that another broker formatted: Kafka refuses it as soon as it looks."""
    data = state.subfolder("kafka") / "data"
    data.mkdir()
    (data.parent / FORMATTED_BY).write_text(version())
    (data / "meta.properties").write_text("version=1\nnode.id=77\ncluster.id=AAAAAAAAAAAAAAAAAAAAAA\n")


@pytest.mark.parametrize("theirs", ["4.10.0", "5.0.0", None])
def test_a_log_that_only_a_newer_kafka_reads_is_left_alone(
    state: StateFolder, processes_of: ProcessesOf, theirs: str | None
) -> None:
    _spoil_kafka_storage(state)
    mark = state.path / "kafka" / FORMATTED_BY
    if theirs is None:
        mark.unlink()
    else:
        mark.write_text(theirs + "\n")
    before = _files_of(state.path / "kafka" / "data")
    with pytest.raises(StateFolderError, match=rf"made by Kafka {theirs or '4.3'}, .* RADIOLOG_STATE_DIR"):
        Stack(state.path).up()
    assert _files_of(state.path / "kafka" / "data") == before
    assert processes_of(state.path) == []


def _files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("name", ["kafka_controller", "registry_management"])
def test_an_occupied_port_is_named(
    state: StateFolder, processes_of: ProcessesOf, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without the wait for Kafka, so that the registry's turn comes at once.
    monkeypatch.setattr(stack_module, "_await_ready", lambda server: None)
    port = getattr(choose_ports(state), name)
    with _occupied(port), pytest.raises(PortTakenError, match=rf"{port} .* delete .*ports\.json"):
        Stack(state.path).up()
    assert processes_of(state.path) == []


def test_a_server_that_dies_takes_the_others_along_and_shows_its_log(
    state: StateFolder, processes_of: ProcessesOf
) -> None:
    _spoil_kafka_storage(state)
    with pytest.raises(ServerStartError) as failure:
        Stack(state.path).up()
    log_file = state.path / "log" / "kafka.log"
    assert failure.value.log_file == log_file
    assert str(log_file) in str(failure.value)
    assert "meta.properties" in failure.value.log_tail
    assert failure.value.log_tail.splitlines()[-1] == log_file.read_text().splitlines()[-1]
    assert (state.path / "log" / "postgres.log").exists(), "PostgreSQL was not even started"
    assert processes_of(state.path) == []
    assert not (state.path / "stack.env").exists()


def test_what_ran_before_a_failed_up_keeps_running(state: StateFolder, processes_of: ProcessesOf) -> None:
    postgres = PostgresServer(state, unprivileged_account())
    postgres.launch(lambda message: None)
    before = postgres.process.find()
    _spoil_kafka_storage(state)
    try:
        with pytest.raises(ServerStartError):
            Stack(state.path).up()
        assert before is not None
        assert postgres.process.find() == before
    finally:
        Stack(state.path).down()
    assert processes_of(state.path) == []


@pytest.mark.parametrize("moment", ["starting kafka", "starting postgres", "starting registry"])
def test_an_interrupt_leaves_no_process(state: StateFolder, processes_of: ProcessesOf, moment: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", UP, state.path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        said = next(line.strip() for line in command.stdout if line.strip() == moment)
        started = {file.stem for file in (state.path / "run").glob("*.pid")}
        command.send_signal(signal.SIGINT)
        _, error = command.communicate(timeout=60)
    assert said == moment
    assert started == {"starting kafka": set(), "starting postgres": {"kafka"}}.get(moment, {"kafka", "postgres"})
    assert "KeyboardInterrupt" in error
    assert command.returncode == -signal.SIGINT
    assert list((state.path / "run").glob("*.pid")) == []
    assert processes_of(state.path) == []


def test_down_and_status_of_a_folder_that_never_was(reachable_folder: Path) -> None:
    stack = Stack(reachable_folder / "nothing")
    stack.down()
    assert [(server.pid, server.address, server.ready) for server in stack.status()] == [(None, None, False)] * 3
    assert not (reachable_folder / "nothing").exists()


def test_a_state_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    with pytest.raises(StateFolderError, match="RADIOLOG_STATE_DIR"):
        Stack(tmp_path / "state").up()


@pytest.mark.skipif(os.geteuid() != 0, reason="only as root does PostgreSQL run under another account")
def test_a_state_folder_inside_a_private_one_is_refused(tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(StateFolderError, match="RADIOLOG_STATE_DIR"):
        Stack(private / "state").up()
    assert private.stat().st_mode & 0o777 == 0o700


def test_unreadable_ports_are_named(state: StateFolder) -> None:
    (state.path / "ports.json").write_text(json.dumps({"kafka": 1}))
    with pytest.raises(PortTakenError, match=r"ports\.json"):
        Stack(state.path).status()
