"""`radiolog demo` as a person runs it: twice, and interrupted at any moment."""

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

SECONDS = 150
INTERRUPTED = (130, -signal.SIGINT)
"""To a shell both are 130; CPython ends by the signal itself where it met an `exec`, as of dataclasses at import."""


@pytest.fixture(scope="module")
def state_dir() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="radiolog-test-"))
    folder.chmod(0o755)
    yield folder / "state"
    subprocess.run([sys.executable, "-m", "radiolog", "stack", "down"], env=environment(folder / "state"), check=True)
    shutil.rmtree(folder)


def environment(state_dir: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RADIOLOG_")}
    return kept | {"RADIOLOG_STATE_DIR": str(state_dir)}


def radiolog(state_dir: Path, *arguments: str, **site: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "radiolog", *arguments]
    return subprocess.run(
        command, env=environment(state_dir) | site, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def processes(state_dir: Path) -> list[str]:
    """Processes, of any parent, that belong to this state folder."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.environ().get("RADIOLOG_STATE_DIR", "")]
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if any(str(state_dir) in word for word in words):
            found.append(" ".join(words)[:200])
    return found


@pytest.mark.timeout(400)
def test_twice_in_a_row(state_dir):
    first = radiolog(state_dir, "demo", "--json", "--keep-running")
    assert first.returncode == 0, first.stderr
    assert processes(state_dir), "the servers are kept running"
    # Samples are for the embedded servers, also where the environment names those of a real site.
    site = {"RADIOLOG_BOOTSTRAP_SERVERS": "127.0.0.1:1", "RADIOLOG_TOPIC_PREFIX": "site.", "RADIOLOG_DICOM_PORT": "1"}
    second = radiolog(state_dir, "demo", "--json", "--keep-running", **site)
    assert second.returncode == 0, second.stderr
    one, other = json.loads(first.stdout), json.loads(second.stdout)
    assert one["counts"] == other["counts"] == {"sent": 12, "rows": 10, "dead letters": 1, "refused": 1}
    assert one["rows_in_database"] == other["rows_in_database"] == {"diagnosis": 10, "dead_letter": 1}
    assert all(Path(image["picture"]).is_file() for image in one["images"] if image["picture"])

    original = str(dcmread(get_testdata_file("RG1_UNCR.dcm", download=False)).SOPInstanceUID)
    (instance,) = json.loads(radiolog(state_dir, "identify", original, "--json").stdout)
    assert (instance["kind"], instance["attributes"]["SOPInstanceUID"]) == ("INSTANCE", original)
    assert json.loads(radiolog(state_dir, "identify", instance["pseudonym"], "--json").stdout) == [instance]

    status = radiolog(state_dir, "stack", "status", "--json")
    assert [server["ready"] for server in json.loads(status.stdout)] == [True] * 3
    assert radiolog(state_dir, "stack", "down").returncode == 0
    assert processes(state_dir) == []
    assert radiolog(state_dir, "stack", "status").returncode == 1


@pytest.mark.timeout(200)
@pytest.mark.parametrize("moment", ["starting kafka", "starting the DICOM", "inference  is ready"])
def test_ctrl_c_leaves_nothing_behind(state_dir, moment):
    command = [sys.executable, "-m", "radiolog", "demo"]
    with subprocess.Popen(
        command, env=environment(state_dir), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    ) as demo:
        await_line(demo, moment)
        for _ in range(2):  # people press it twice; a terminal signals every process of the foreground group
            os.killpg(demo.pid, signal.SIGINT)
        assert demo.stderr is not None
        rest = demo.stderr.read().decode()
        assert demo.wait(SECONDS) in INTERRUPTED, rest
    assert "Traceback" not in rest
    assert processes(state_dir) == []


def await_line(process: subprocess.Popen[bytes], words: str) -> None:
    """Reads the process's standard error until a line holds `words`."""
    assert process.stderr is not None
    seen, deadline = b"", time.monotonic() + SECONDS
    while words.encode() not in seen:
        assert select.select([process.stderr], [], [], deadline - time.monotonic())[0], seen.decode()
        chunk = os.read(process.stderr.fileno(), 4096)
        assert chunk, f"it ended before {words!r}: {seen.decode()}"
        seen += chunk
