"""The command line as people meet it: help, speed, honest exit codes, errors that say what to do."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import typer.main
from pydicom.data import get_testdata_file

from radiolog.cli import app

ROOT = Path(__file__).parents[2]
CT = str(get_testdata_file("CT_small.dcm", download=False))


def commands(group=None, path=()):
    """Every command, as the words that call it."""
    group = group or typer.main.get_command(app)
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())


def with_settings(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a command that has these settings and no others."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RADIOLOG_")} | settings


def radiolog(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "radiolog", *arguments],
        env=with_settings(settings),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(words):
    command = COMMANDS[words]
    text = f"{command.help} {command.epilog or ''}"
    assert "Example" in text
    assert f"radiolog {' '.join(words)}" in text


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_is_in_the_readme(words):
    assert f"radiolog {' '.join(words)}" in (ROOT / "README.md").read_text()


def test_help_is_quick():
    took = []
    for _ in range(3):
        began = time.monotonic()
        assert radiolog("--help").returncode == 0
        took.append(time.monotonic() - began)
    assert min(took) < 1.5, "a tenth of that on an idle machine"


def test_version():
    assert radiolog("--version").stdout.startswith("radiolog 0.")


#: What each of these says where no server is.
WITHOUT_SERVERS = {
    ("topics", "apply"): "radiolog stack up",
    ("database", "migrate"): "radiolog stack up",
    ("identify", "P-1"): "radiolog stack up",
    ("dlq", "list"): "radiolog stack up",
    ("dlq", "retry", "--yes"): "radiolog stack up",
    ("publish", CT): "radiolog stack up",
    ("objects", "gc"): "Nothing was removed",
}


@pytest.fixture(scope="module")
def without_servers(tmp_path_factory) -> Iterator[Mapping[Sequence[str], "subprocess.Popen[str]"]]:
    """All these commands at once, since each waits a while for servers."""
    settings = {
        "RADIOLOG_STATE_DIR": str(tmp_path_factory.mktemp("state")),
        "RADIOLOG_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "RADIOLOG_SCHEMA_REGISTRY_URL": "http://127.0.0.1:1",
        "RADIOLOG_DATABASE_URL": "postgresql://radiolog:hunter2@127.0.0.1:1/radiolog",
        "RADIOLOG_SITE_SECRET": "0" * 64,
    }
    running = {
        arguments: subprocess.Popen(
            [sys.executable, "-m", "radiolog", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=with_settings(settings),
            text=True,
        )
        for arguments in WITHOUT_SERVERS
    }
    yield running
    for process in running.values():
        process.kill()
        process.wait()


@pytest.mark.parametrize("arguments", WITHOUT_SERVERS, ids=" ".join)
@pytest.mark.timeout(120)
def test_without_servers_one_line_says_what_to_do(without_servers, arguments):
    stdout, stderr = without_servers[arguments].communicate()
    assert without_servers[arguments].returncode == 1
    assert WITHOUT_SERVERS[arguments] in stderr + stdout
    assert "Traceback" not in stderr
    assert "hunter2" not in stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RADIOLOG_DICOM_PORT", "99999"),
        ("RADIOLOG_SITE_SECRET", "hunter2"),
        ("RADIOLOG_SECURITY_PROTOCOL", "TRUST-ME"),
    ],
)
def test_a_wrong_setting_is_named_and_its_value_is_not(tmp_path, name, value):
    result = radiolog("topics", "apply", RADIOLOG_STATE_DIR=str(tmp_path), **{name: value})
    assert result.returncode == 1
    assert name in result.stderr
    assert value not in result.stderr


def test_an_adapter_without_a_secret_does_not_start(tmp_path):
    result = radiolog("adapter", "dicom", RADIOLOG_STATE_DIR=str(tmp_path))
    assert result.returncode == 1
    assert "RADIOLOG_SITE_SECRET" in result.stderr


def test_predict_needs_no_server(tmp_path):
    files = [get_testdata_file(name, download=False) for name in ("RG1_UNCR.dcm", "CT_small.dcm", "reportsi.dcm")]
    result = radiolog("predict", *files, "--json", RADIOLOG_STATE_DIR=str(tmp_path))
    assert result.returncode == 0, result.stderr
    chest, ct, report = json.loads(result.stdout)
    assert chest["status"] in ("DIAGNOSED", "OUT_OF_SCOPE")
    assert (ct["status"], report["status"]) == ("OUT_OF_SCOPE", "NOT_AN_IMAGE")


def test_predict_reads_a_picture_and_counts_what_it_cannot_read(tmp_path):
    import cv2
    import numpy as np

    picture = tmp_path / "chest.png"
    cv2.imwrite(str(picture), np.random.default_rng(1).integers(0, 255, (300, 200), np.uint8))
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    result = radiolog("predict", str(picture), str(broken), "--json")
    assert result.returncode == 1
    first, second = json.loads(result.stdout)
    assert first["status"] in ("DIAGNOSED", "OUT_OF_SCOPE")
    assert (second["status"], "not the picture" in second["reason"]) == ("UNREADABLE", True)


@pytest.mark.parametrize(
    ("imports", "absent"),
    [
        ("radiolog.cli", {"jax", "cv2", "pydicom", "confluent_kafka", "asyncpg", "numpy", "rich.table"}),
        ("producers.dicom_scp, producers.intake, radiolog.log.publisher", {"jax", "cv2", "asyncpg"}),
        ("stream_processors.preprocess, stream_processors.decoding", {"jax", "flax", "asyncpg", "pynetdicom"}),
        ("sinks.postgres, radiolog.log.sink", {"jax", "cv2", "pydicom", "pynetdicom"}),
        ("stream_processors.inference, models.engine", {"asyncpg", "pynetdicom"}),
    ],
)
def test_no_process_imports_what_it_does_not_use(imports, absent):
    code = f"import {imports}, sys; print(sorted(set(sys.modules) & {absent!r}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"
