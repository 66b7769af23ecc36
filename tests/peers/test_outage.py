"""The broker is down, slow, hangs, and is back, while DCMTK, Orthanc and a fleet send: nothing acknowledged is lost.

The servers are the test's own, since it stops them. Where Orthanc may not run, the others send alone.
"""

import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.device import Device
from producers.simulator import Simulator
from producers.simulator_archive import Archive
from producers.simulator_objects import Objects
from producers.simulator_plan import BROKEN, Kind, Load
from producers.simulator_report import Fate, Report
from producers.statuses import StoreStatus
from radiolog.settings import Settings
from radiolog.stack.kafka import KafkaServer
from tests.conftest import free_port
from tests.faults.servers import OwnServers, until
from tests.peers import dcmtk as tools
from tests.peers.objects import write_object
from tests.peers.orthanc import EXAMPLE, Orthanc, may_run
from tests.peers.ward import HOST, Adapter, Ward, adapter

pytestmark = [pytest.mark.servers, pytest.mark.usefixtures("dcmtk"), pytest.mark.timeout(600)]

SECONDS = 120.0
SLOW_SECONDS = 4.0
"""Well under what the adapter waits for the broker."""
LOAD = Load(count=150, devices=3, rate=5.0, burst=3, duplicates=0.1, broken=0.1, seed=11)
FILES = 2
"""Of each sender: one that is refused waits 15 s for the broker first, and then comes the next."""
REFUSED = "Refused: OutOfResources"
NOTHING, ALL = [(0, True)] * 2, [(FILES, False)] * 2


class Fleet:
    """A simulated fleet that sends in the background."""

    def __init__(self, port: int, folder: Path) -> None:
        for number in range(5):
            pixels = np.random.default_rng(number).integers(0, 255, (32, 32), np.uint8)
            cv2.imwrite(str(folder / f"{number}.png"), pixels)
        devices = [Device(HOST, port, f"FLEET-{number}") for number in range(LOAD.devices)]
        self._simulator = Simulator(devices, Objects(Archive(folder), LOAD.seed), LOAD, patience=600.0)
        self._reports: list[Report] = []
        self._thread = threading.Thread(target=lambda: self._reports.append(self._simulator.run()))
        self._thread.start()

    def report(self) -> Report:
        self._thread.join(SECONDS)
        assert self._reports, "the fleet has not come to its end"
        return self._reports[0]


class Senders:
    """storescu and dcmsend, each with files of its own, at the same time."""

    def __init__(self, adapter: Adapter, folder: Path) -> None:
        self._adapter = adapter
        self.uids: list[str] = []
        self._files: dict[str, list[Path]] = {}
        for tool in ("storescu", "dcmsend"):
            self._files[tool] = [folder / f"{tool}-{number}.dcm" for number in range(FILES)]
            self.uids += [write_object(path) for path in self._files[tool]]

    @contextmanager
    def sending(self, count: int = FILES) -> Iterator[list["subprocess.Popen[bytes]"]]:
        processes = [tools.begin(tool, self._adapter, *files[:count]) for tool, files in self._files.items()]
        try:
            yield processes
        finally:
            for process in processes:
                process.kill()
                process.wait()

    def outcomes(self, count: int = FILES) -> list[tuple[int, bool]]:
        """Sends so many: how many objects each tool is told are stored, and whether one was answered with 0xA700."""
        with self.sending(count) as processes:
            return [_outcome(process) for process in processes]


def _outcome(process: "subprocess.Popen[bytes]") -> tuple[int, bool]:
    text = process.communicate(timeout=SECONDS)[0].decode(errors="replace")
    return text.count("Response (Success)"), REFUSED in text


class Forwarder:
    """Orthanc, which forwards what it is given; nothing where it may not run."""

    def __init__(self, orthanc: Orthanc | None, folder: Path) -> None:
        self._orthanc = orthanc
        self._files = [folder / f"orthanc-{number}.dcm" for number in range(FILES)] if orthanc is not None else []
        self.uids = [write_object(path) for path in self._files]

    def upload(self) -> None:
        for path in self._files:
            assert self._orthanc is not None
            self._orthanc.upload(path)

    def is_told_to_wait(self) -> bool:
        return self._orthanc is None or "0xa700" in self._orthanc.log().lower()


@pytest.fixture
def make_forwarder(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Adapter], Forwarder]:
    if not may_run():
        return lambda _: Forwarder(None, tmp_path)
    make: Callable[..., Orthanc] = request.getfixturevalue("make_orthanc")
    return lambda scp: Forwarder(make(scp, LuaScripts=[str(EXAMPLE / "forward.lua")]), tmp_path)


def test_senders_keep_what_is_refused_and_nothing_acknowledged_is_missing(
    own_servers: OwnServers,
    own_site: Settings,
    peers_folder: Path,
    make_forwarder: Callable[[Adapter], Forwarder],
    tmp_path: Path,
) -> None:
    ward, archive = Ward(own_site), tmp_path / "archive"
    archive.mkdir()
    with adapter(own_site, tmp_path, free_port()) as scp, ward.stages(peers_folder):
        senders, fleet = Senders(scp, tmp_path), Fleet(scp.port, archive)
        forwarder = make_forwarder(scp)

        own_servers.kill(KafkaServer)
        forwarder.upload()
        assert senders.outcomes() == NOTHING, "down"
        until(forwarder.is_told_to_wait, SECONDS, "Orthanc is told 0xA700")
        own_servers.up()
        until(lambda: senders.outcomes() == ALL, SECONDS, "the broker is back")

        own_servers.pause(KafkaServer)
        with senders.sending() as processes:
            with pytest.raises(subprocess.TimeoutExpired):
                processes[0].wait(SLOW_SECONDS)  # nobody is told anything meanwhile
            own_servers.resume(KafkaServer)
            assert [_outcome(process) for process in processes] == ALL, "slow"

        own_servers.pause(KafkaServer)
        try:
            assert senders.outcomes(1) == NOTHING, "hung"  # that the next one comes after it was seen above
        finally:
            own_servers.resume(KafkaServer)
        until(lambda: senders.outcomes() == ALL, SECONDS, "the broker goes on")

        report = fleet.report()
        forwarded = set(map(ward.pseudonym, forwarder.uids))
        until(lambda: forwarded <= _on_log(ward).keys(), SECONDS, "Orthanc sends again by itself")
        assert set(map(ward.pseudonym, senders.uids)) <= _on_log(ward).keys()
        _assert_report_is_true(report, ward)
        ward.assert_each_has_one_row()


def _on_log(ward: Ward) -> Counter[str]:
    return Counter(event.sop_instance_uid for event in ward.images())


def _assert_report_is_true(report: Report, ward: Ward) -> None:
    """Each acknowledged object is on the log once or more, none that was refused is."""
    on_log = Counter(event.event_id for event in ward.images() if event.source.peer.startswith("FLEET"))
    acknowledged = Counter(o.event_id for o in report.outcomes if o.fate is Fate.ACKNOWLEDGED)
    assert report.is_complete
    assert report.answers[StoreStatus.OUT_OF_RESOURCES] > 0
    assert report.count(Fate.ACKNOWLEDGED, Kind.DUPLICATE) > 0
    assert acknowledged.keys() == on_log.keys()
    assert all(on_log[event_id] >= count for event_id, count in acknowledged.items())
    refused = [outcome for outcome in report.outcomes if outcome.fate is Fate.REFUSED]
    assert refused
    assert {outcome.shot.kind for outcome in refused} <= set(BROKEN)
    assert not on_log.keys() & {outcome.event_id for outcome in refused}
