"""Processes that are started, awaited, revived and stopped, and that never outlive their supervisor."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from radiolog.supervisor import Service, ServiceFailed, Supervisor

STEADY = """
from radiolog.service import serve
from radiolog.settings import load_settings
def work(stop, health):
    health.ready()
    stop.wait()
serve("steady", work, load_settings())
"""


@pytest.fixture(autouse=True)
def state_dir(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("RADIOLOG_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def service(tmp_path: Path, code: str, name: str = "service") -> Service:
    return Service(name, (sys.executable, "-c", code), tmp_path / f"{name}.log")


def gone(pid: int) -> bool:
    try:
        psutil.Process(pid).wait(30)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def until(condition, seconds: float = 30) -> None:
    poll = threading.Event()
    for _ in range(int(seconds * 20)):
        if condition():
            return
        poll.wait(0.05)
    pytest.fail("the condition never came true")


def test_services_are_ready_when_start_returns_and_gone_after_the_context(tmp_path):
    services = [service(tmp_path, STEADY, "one"), service(tmp_path, STEADY, "two")]
    with Supervisor(services) as supervisor:
        supervisor.start(threading.Event())
        pids = supervisor.pids()
        assert all(psutil.pid_exists(pid) for pid in pids.values())
        assert all('"event": "ready"' in item.log_file.read_text() for item in services)
    assert all(gone(pid) for pid in pids.values())
    assert all('"event": "stopped"' in item.log_file.read_text() for item in services), "SIGTERM is an orderly end"


def test_a_service_that_cannot_start_is_reported_with_its_log(tmp_path):
    broken = service(tmp_path, "import sys; sys.exit('the port is taken')")
    with pytest.raises(ServiceFailed, match="the port is taken"), Supervisor([broken]) as supervisor:
        supervisor.start(threading.Event())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_service_that_is_started_while_an_interrupt_comes_is_stopped(tmp_path, monkeypatch, number):
    started = []

    class Interrupting(subprocess.Popen):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            started.append(self.pid)
            signal.raise_signal(number)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        monkeypatch.setattr(subprocess, "Popen", Interrupting)
        with Supervisor([service(tmp_path, STEADY)]) as supervisor, pytest.raises(KeyboardInterrupt):
            supervisor.start(threading.Event())
    finally:
        signal.signal(signal.SIGTERM, before)
    (pid,) = started
    assert not psutil.pid_exists(pid), "the process would be lost"


def test_a_service_that_dies_is_started_again(tmp_path):
    stop = threading.Event()
    with Supervisor([service(tmp_path, STEADY)]) as supervisor:
        supervisor.start(stop)
        first = supervisor.pids()["service"]
        watch = threading.Thread(target=supervisor.watch, args=(stop,))
        watch.start()
        os.kill(first, signal.SIGKILL)
        until(lambda: supervisor.pids()["service"] not in (0, first))
        until(lambda: (tmp_path / "service.log").read_text().count('"event": "ready"') == 2)
        stop.set()
        watch.join()


def test_a_service_may_die_and_come_back_any_number_of_times(tmp_path, monkeypatch):
    """Each restart tells that it is ready; nobody listens any more, and that must not stop it."""
    monkeypatch.setattr("radiolog.supervisor.LONGEST_PAUSE_SECONDS", 0.01)
    stop = threading.Event()
    log = tmp_path / "service.log"
    with Supervisor([service(tmp_path, STEADY)]) as supervisor:
        supervisor.start(stop)
        watch = threading.Thread(target=supervisor.watch, args=(stop,))
        watch.start()
        for number in range(2, 16):
            os.kill(supervisor.pids()["service"], signal.SIGKILL)
            until(lambda number=number: log.read_text().count('"event": "ready"') == number)
        stop.set()
        watch.join()
    assert '"event": "stopped"' in log.read_text()


def test_a_patient_start_waits_for_what_comes_later(tmp_path):
    flag = tmp_path / "the server is up"
    late = f"""
import pathlib, sys
if not pathlib.Path({str(flag)!r}).exists():
    sys.exit("no server yet")
{STEADY}"""
    with Supervisor([service(tmp_path, late)]) as supervisor:
        threading.Timer(2.0, flag.touch).start()
        supervisor.start(threading.Event(), patient=True)
        assert flag.exists()


def test_it_tells_that_it_looks_after_them(tmp_path):
    stop, rounds = threading.Event(), threading.Semaphore(0)
    with Supervisor([service(tmp_path, STEADY)], rounds.release) as supervisor:
        supervisor.start(stop)
        assert rounds.acquire(timeout=10), "while it waits for them to be ready"
        while rounds.acquire(blocking=False):
            pass
        watch = threading.Thread(target=supervisor.watch, args=(stop,))
        watch.start()
        assert rounds.acquire(timeout=10), "while they run"
        stop.set()
        watch.join()


def test_a_probe_port_is_left_to_the_supervisor(tmp_path):
    """Its services would otherwise inherit it, and all but one could not start."""
    from radiolog.services import services
    from radiolog.settings import Settings

    assert {s.environment["RADIOLOG_PROBE_PORT"] for s in services(Settings(state_dir=tmp_path, probe_port=9))} == {"0"}


def test_only_one_set_of_services_runs_on_a_folder(tmp_path):
    from radiolog.services import AlreadyRunning, alone
    from radiolog.settings import Settings

    settings = Settings(state_dir=tmp_path)
    with alone(settings), pytest.raises(AlreadyRunning, match="running already"), alone(settings):
        pytest.fail("both hold the lock")
    with alone(settings):
        pass


def test_stop_ends_a_start_that_is_never_ready(tmp_path):
    stop = threading.Event()
    never = service(tmp_path, "import signal; signal.pause()")
    with Supervisor([never]) as supervisor:
        threading.Timer(0.5, stop.set).start()
        supervisor.start(stop)
    assert stop.is_set()


def test_services_end_with_a_supervisor_that_is_killed(tmp_path):
    code = f"""
import threading
from pathlib import Path
from radiolog.supervisor import Service, Supervisor
with Supervisor([Service("child", ({sys.executable!r}, "-c", {STEADY!r}), Path({str(tmp_path / "child.log")!r}))]) as s:
    s.start(threading.Event())
    print(s.pids()["child"], flush=True)
    threading.Event().wait()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
        assert gone(child)


def test_signals_end_a_service_that_runs_alone(tmp_path):
    for number in (signal.SIGINT, signal.SIGTERM):
        with subprocess.Popen([sys.executable, "-c", STEADY], stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            while '"event": "ready"' not in process.stderr.readline():
                pass
            process.send_signal(number)
            assert process.wait(30) == 0
