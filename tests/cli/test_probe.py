"""`radiolog probe`, as a container's health check calls it."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICE = """
import sys
from radiolog.service import serve
from radiolog.settings import load_settings
def work(stop, health):
    if sys.argv[1] == "ready":
        health.ready()
    print("works", flush=True)
    stop.wait()
serve("steady", work, load_settings())
"""


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RADIOLOG_")}
    return kept | {"RADIOLOG_STATE_DIR": str(tmp_path)}


@contextmanager
def service(state: str, environment: dict[str, str]):
    command = [sys.executable, "-c", SERVICE, state]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout.readline() == "works\n"
        yield
        process.terminate()


def probe(environment: dict[str, str], *arguments: str) -> tuple[int, list[dict]]:
    done = subprocess.run(
        [sys.executable, "-m", "radiolog", "probe", *arguments, "--json"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_the_processes_of_the_state_folder(environment):
    assert probe(environment) == (1, [])
    with service("ready", environment):
        assert probe(environment, "ready") == (0, [{"process": "steady-0", "status": 200, "says": "ok"}])
        with service("waiting", environment):
            code, answers = probe(environment, "ready")
            assert (code, [answer["says"] for answer in answers]) == (1, ["ok", "starting"])
            assert probe(environment, "live")[0] == 0
        assert probe(environment)[0] == 0


def test_one_at_a_port_that_the_settings_name(environment, free_port):
    mine = environment | {"RADIOLOG_PROBE_PORT": str(free_port), "RADIOLOG_PROBE_TOKEN": "t" * 32}
    assert [answer["status"] for answer in probe(mine)[1]] == [0]
    with service("ready", mine | {"RADIOLOG_PROBE_HOST": "0.0.0.0"}):
        assert probe(mine | {"RADIOLOG_PROBE_HOST": "0.0.0.0"}, "ready")[0] == 0
        code, (answer,) = probe(mine | {"RADIOLOG_PROBE_TOKEN": "u" * 32})
        assert (code, answer["status"]) == (1, 401)


def test_it_is_what_the_containers_are_checked_by():
    text = (ROOT / "docker-compose.yml").read_text()
    assert "test: [CMD, radiolog, probe, ready]" in text
    assert "RADIOLOG_PROBE_PORT: 8090" in text
