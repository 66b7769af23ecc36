"""Probes: what they say, to whom, and how little a bad client can do."""

import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, suppress
from http.client import HTTPConnection
from urllib.parse import urlsplit

import psutil
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from radiolog import probes
from radiolog.health import STALLED_SECONDS, Health
from radiolog.probes import CONNECTIONS, Probes, ask
from radiolog.settings import Settings, SettingsError, load_settings

TOKEN = "an-entirely-secret-token-of-a-site-0123456789"


@pytest.fixture
def now() -> list[float]:
    return [0.0]


@pytest.fixture
def health(now) -> Health:
    return Health(clock=lambda: now[0])


@pytest.fixture
def start(tmp_path, health):
    """Starts probes with settings of the test's own, and gives their address."""
    registry = CollectorRegistry()
    Counter("radiolog_tests", "Of this test.", registry=registry).inc(3)
    with ExitStack() as stack:
        yield (
            lambda **values: (
                stack.enter_context(Probes(health, Settings(state_dir=tmp_path, **values), registry)).address
            )
        )


def request(address: str, method: str, path: str, **headers: str):
    url = urlsplit(address)
    connection = HTTPConnection(url.hostname, url.port, timeout=10)
    connection.request(method, path, headers=headers)
    return connection.getresponse()


def connected(address: str) -> socket.socket:
    url = urlsplit(address)
    return socket.create_connection((url.hostname, url.port), timeout=20)


def test_ready_says_what_is_missing(start, health):
    address = start()
    assert ask(address, "/ready") == (503, "starting")
    health.ready()
    assert ask(address, "/ready") == (200, "ok")
    health.unready("the log does not answer")
    assert ask(address, "/ready") == (503, "the log does not answer")
    assert ask(address, "/live") == (200, "ok"), "it waits, so it lives"


def test_a_loop_that_is_stuck_is_not_alive(start, health, now):
    address = start()
    health.ready()
    now[0] += STALLED_SECONDS + 1
    assert ask(address, "/live")[0] == 503
    health.beat()
    assert ask(address, "/live")[0] == 200


def test_metrics_are_prometheus_text(start, health):
    address = start()
    answer = request(address, "GET", "/metrics")
    assert answer.getheader("Content-Type").startswith("text/plain; version=")
    text = answer.read().decode()
    samples = {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}
    assert samples == {"radiolog_tests_total": 3.0, "radiolog_ready": 0.0}
    health.ready()
    assert "radiolog_ready 1.0" in ask(address, "/metrics")[1]


@pytest.mark.parametrize("path", ["/", "/metric", "/live/", "/../etc/passwd", "/ready2"])
def test_a_wrong_path(start, path):
    answer = request(start(), "GET", path)
    assert (answer.status, b"/live" in answer.read()) == (404, True)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS", "BREW"])
def test_a_wrong_method(start, method):
    answer = request(start(), method, "/ready")
    assert (answer.status, answer.getheader("Allow")) == (405, "GET")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "scanner.example"])
def test_off_loopback_it_does_not_start_without_a_token(start, host):
    with pytest.raises(SettingsError, match="RADIOLOG_PROBE_TOKEN"):
        start(probe_host=host)


def test_a_short_token_is_refused_and_not_told(tmp_path):
    with pytest.raises(SettingsError, match=r"PROBE_TOKEN.*32 characters") as failure:
        load_settings(state_dir=tmp_path, probe_token="hunter2")
    assert "hunter2" not in str(failure.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_who_has_no_token_learns_nothing(start, health, host):
    address = start(probe_host=host, probe_token=TOKEN)
    health.ready()
    wrong = ("", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", TOKEN, f"Basic {TOKEN}", "Bearer ñ")
    for path in ("/ready", "/live", "/metrics", "/nothing"):
        for authorization in wrong:
            answer = request(address, "GET", path, Authorization=authorization)
            assert (answer.status, answer.getheader("WWW-Authenticate")) == (401, "Bearer")
            assert TOKEN.encode() not in answer.read()
    settings = Settings(state_dir="x", probe_token=TOKEN)
    assert ask(address, "/ready", settings.probe_token) == (200, "ok")


def test_a_taken_port_is_named(start, free_port):
    start(probe_port=free_port)
    with pytest.raises(SettingsError, match=f"{free_port}.*RADIOLOG_PROBE_PORT"):
        start(probe_port=free_port)


def test_a_slow_client_blocks_nobody_and_is_dropped(start, health, monkeypatch):
    monkeypatch.setattr(probes, "REQUEST_SECONDS", 1.0)
    address = start()
    health.ready()
    with connected(address) as silent, connected(address) as slow:
        slow.sendall(b"GET /ready HTTP/1.1\r\nX-Slow: ")
        assert ask(address, "/ready") == (200, "ok")
        began = time.monotonic()
        while time.monotonic() < began + 10:  # a byte now and then does not win it more time
            try:
                slow.sendall(b"x")
                slow.settimeout(0.1)
                if slow.recv(100) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() - began < 5
        assert silent.recv(100) == b""


def test_more_clients_than_places_are_turned_away_and_the_rest_is_served_again(start, health, monkeypatch):
    monkeypatch.setattr(probes, "REQUEST_SECONDS", 1.0)
    address = start()
    health.ready()
    with ExitStack() as stack:
        for _ in range(CONNECTIONS + 5):
            stack.enter_context(connected(address))
        threads = [thread for thread in threading.enumerate() if "process_request_thread" in thread.name]
        assert len(threads) <= CONNECTIONS
        deadline = time.monotonic() + 20
        while ask(address, "/ready") != (200, "ok"):
            assert time.monotonic() < deadline
            threading.Event().wait(0.05)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /ready HTTP/1.1\r\nX: " + b"x" * 20000 + b"\r\n\r\n",
        b"GET /" + b"y" * 20000,
        b"\x16\x03\x01\x02\x00" * 2000,
    ],
    ids=["long header", "long path", "no HTTP"],
)
def test_what_is_too_long_gets_no_answer(start, request_bytes):
    address = start()
    with connected(address) as client:
        client.sendall(request_bytes)
        with suppress(ConnectionResetError):
            assert client.recv(1000) == b""
    assert ask(address, "/live")[0] == 200


def test_a_broken_request_is_answered_without_quoting_it(start, capfd):
    address = start()
    with connected(address) as client:
        client.sendall(b"Wintermute^Neuromancer <script>\r\n\r\n")
        answer = client.recv(10000)
    assert b"400" in answer
    assert b"Wintermute" not in answer
    assert "Wintermute" not in "".join(capfd.readouterr())


def test_nobody_answers_after_the_end(tmp_path, health):
    with Probes(health, Settings(state_dir=tmp_path)) as running:
        address = running.address
        assert ask(address, "/live")[0] == 200
    assert ask(address, "/live") == (0, "ConnectionRefusedError")


SERVICE = """
from radiolog.service import serve
from radiolog.settings import load_settings
def work(stop, health):
    health.ready()
    stop.wait()
serve("steady", work, load_settings(), 3)
"""


def test_a_service_announces_itself_answers_and_withdraws(tmp_path, monkeypatch):
    from radiolog.instances import instances

    monkeypatch.setenv("RADIOLOG_STATE_DIR", str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", SERVICE], stderr=subprocess.PIPE, text=True) as process:
        while '"event": "ready"' not in process.stderr.readline():
            assert process.poll() is None
        (found,) = instances(tmp_path)
        assert (found.name, found.pid) == ("steady-3", process.pid)
        assert ask(found.probe, "/ready") == (200, "ok")
        assert "process_resident_memory_bytes" in ask(found.probe, "/metrics")[1]
        (listening,) = [c for c in psutil.Process(process.pid).net_connections() if c.status == "LISTEN"]
        assert listening.laddr.ip == "127.0.0.1"
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert not list((tmp_path / "instances").iterdir())


def test_a_service_works_where_the_state_folder_is_somebody_elses(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("RADIOLOG_STATE_DIR", str(tmp_path / "state"))
    code = SERVICE.replace(
        "load_settings()", f"load_settings().model_copy(update={{'state_dir': Path({str(tmp_path / 'file')!r})}})"
    )
    with subprocess.Popen(
        [sys.executable, "-c", "from pathlib import Path\n" + code], stderr=subprocess.PIPE, text=True
    ) as process:
        lines = ""
        while '"event": "ready"' not in lines:
            lines += process.stderr.readline()
            assert process.poll() is None
        process.terminate()
    assert "not announced" in lines


def test_a_service_off_loopback_without_a_token_does_not_start(tmp_path, monkeypatch):
    monkeypatch.setenv("RADIOLOG_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("RADIOLOG_PROBE_HOST", "0.0.0.0")
    done = subprocess.run([sys.executable, "-c", SERVICE], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "RADIOLOG_PROBE_TOKEN" in done.stderr
    assert '"ready"' not in done.stderr
