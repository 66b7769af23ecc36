"""Server processes by small real ones: found again, never confused, stopped for certain."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from radiolog.stack import process as process_module
from radiolog.stack.command import Command
from radiolog.stack.errors import ServerStartError
from radiolog.stack.process import ServerProcess
from radiolog.stack.state import StateFolder

IDLE = "import signal; print('up', flush=True); signal.pause()"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {IDLE}"
PARENT = (
    "import signal, subprocess, sys; "
    f"child = subprocess.Popen([sys.executable, '-c', {DEAF!r}], stdout=subprocess.PIPE); "
    f"child.stdout.readline(); signal.signal(signal.SIGTERM, signal.SIG_IGN); {IDLE}"
)


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


@pytest.fixture
def server(state: StateFolder) -> Iterator[ServerProcess]:
    server = ServerProcess("small", state)
    yield server
    server.stop()


def _python(server: ServerProcess, code: str) -> Command:
    return Command([sys.executable, "-c", code], server.pid_file.parents[1])


def _start(server: ServerProcess, code: str) -> psutil.Process:
    """Start, and wait for the first line in the log: only then are the signal handlers in place."""
    server.start(_python(server, code))
    while not server.log_tail():
        assert not server.ends_within(0.02), "it ended before it printed anything"
    process = server.find()
    assert process is not None
    return process


def test_a_later_object_finds_and_stops_it(server: ServerProcess, state: StateFolder) -> None:
    process = _start(server, IDLE)
    later = ServerProcess("small", state)
    assert later.find() == process
    later.stop()
    assert not process.is_running()
    assert server.find() is None
    assert not server.pid_file.exists()


def test_stop_is_idempotent(server: ServerProcess) -> None:
    _start(server, IDLE)
    server.stop()
    server.stop()
    assert server.find() is None


def test_it_runs_in_a_session_of_its_own(server: ServerProcess) -> None:
    process = _start(server, IDLE)
    assert os.getsid(process.pid) == process.pid
    assert os.getsid(process.pid) != os.getsid(0)


def test_a_process_that_ignores_the_signal_is_killed_with_its_children(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "STOP_SECONDS", 0.3)
    process = _start(server, PARENT)
    family = [process, *process.children(recursive=True)]
    assert len(family) == 2
    server.stop()
    # The child was handed to init, which may take its time to reap it.
    alive = [member for member in family if member.is_running() and member.status() != psutil.STATUS_ZOMBIE]
    assert alive == []


def test_the_stop_signal_is_the_given_one(state: StateFolder) -> None:
    server = ServerProcess("small", state, stop_signal=signal.SIGINT)
    _start(
        server, "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    )
    server.stop()
    assert "KeyboardInterrupt" in server.log_tail()


@pytest.fixture
def foreign() -> Iterator[psutil.Process]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        yield psutil.Process(child.pid)
        child.kill()


@pytest.mark.parametrize("shift", [-3600.0, -2.5, 2.5, 3600.0])
def test_a_recycled_process_id_is_left_alone(
    server: ServerProcess, state: StateFolder, foreign: psutil.Process, shift: float
) -> None:
    state.subfolder("run")
    record = {"pid": foreign.pid, "create_time": foreign.create_time() + shift}
    server.pid_file.write_text(json.dumps(record))
    assert server.find() is None
    server.stop()
    assert foreign.is_running()
    assert foreign.status() != psutil.STATUS_ZOMBIE
    assert not server.pid_file.exists()


def test_the_same_record_with_the_right_time_is_found(
    server: ServerProcess, state: StateFolder, foreign: psutil.Process
) -> None:
    state.subfolder("run")
    server.pid_file.write_text(json.dumps({"pid": foreign.pid, "create_time": foreign.create_time()}))
    assert server.find() == foreign


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(text=st.one_of(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_a_damaged_pid_file_names_nobody(server: ServerProcess, state: StateFolder, text: str) -> None:
    state.subfolder("run")
    server.pid_file.write_text(text, encoding="utf-8")
    assert server.find() is None


def test_the_log_keeps_its_output_and_the_run_before(server: ServerProcess) -> None:
    for word in ("first", "second"):
        server.start(_python(server, f"import sys; print({word!r}, flush=True); sys.exit({word!r} + ' error')"))
        assert server.ends_within(20)
    assert server.log_tail().splitlines() == ["second", "second error"]
    assert "first error" in server.log_file.with_suffix(".log.1").read_text()


def test_files_are_private(server: ServerProcess) -> None:
    _start(server, IDLE)
    assert [file.stat().st_mode & 0o777 for file in (server.pid_file, server.log_file)] == [0o600, 0o600]
    assert [file.parent.stat().st_mode & 0o777 for file in (server.pid_file, server.log_file)] == [0o700, 0o700]


def test_its_environment_is_not_the_shells(server: ServerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARKUS_HTTP_PORT", "1")
    monkeypatch.setenv("TZ", "UTC")
    server.start(_python(server, "import os; print(sorted(os.environ))"))
    assert server.ends_within(20)
    assert "'TZ'" in server.log_tail()
    assert "QUARKUS" not in server.log_tail()


def test_a_missing_program_is_named(server: ServerProcess, state: StateFolder) -> None:
    with pytest.raises(ServerStartError, match="no-such-program"):
        server.start(Command(["/no-such-program"], state.path))
    assert not server.pid_file.exists()


def test_a_failed_preparation_shows_what_it_printed(server: ServerProcess) -> None:
    with pytest.raises(ServerStartError, match="small could not format its storage") as failure:
        server.prepare("format its storage", _python(server, "raise SystemExit('disk on fire')"))
    assert failure.value.log_tail == "disk on fire"


def test_a_preparation_reads_its_input(server: ServerProcess) -> None:
    server.prepare("copy", _python(server, "print(input()[::-1])"), "abc\n")
    assert server.log_tail() == "cba"


def _interrupted_by_its_child(server: ServerProcess, spawn: Callable[[Command, int], int]) -> Callable[..., int]:
    def execute(command: Command, output: int) -> int:
        pid = spawn(command, output)
        signal.raise_signal(signal.SIGINT)
        return pid

    return execute


def test_an_interrupt_between_start_and_pid_file_is_held_back(
    server: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Command, "spawn", _interrupted_by_its_child(server, Command.spawn))
    with pytest.raises(KeyboardInterrupt):
        server.start(_python(server, IDLE))
    assert server.find() is not None, "the process would be lost"
