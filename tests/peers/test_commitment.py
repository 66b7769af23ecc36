"""Storage commitment by the adapter as a hospital runs it, for a device that asks and listens (pynetdicom's)."""

import os
import signal
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from pydicom import dcmread
from pydicom.uid import CTImageStorage, generate_uid

from producers.commitment.journal import Journal
from producers.commitment.statuses import ActionStatus, EventType, FailureReason
from producers.device import Device
from producers.statuses import StoreStatus
from radiolog.instances import instances
from radiolog.probes import ask
from radiolog.settings import Settings
from radiolog.stack.kafka import KafkaServer
from tests.conftest import free_port
from tests.faults.servers import OwnServers, until
from tests.peers.objects import write_object
from tests.peers.ward import HOST, Adapter, adapter
from tests.producers.commitment_scu import Reference, Scu

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]

SECONDS = 60.0


@dataclass
class Room:
    """A device, and the adapter that it sends to, which may be killed and started again."""

    settings: Settings
    folder: Path
    scu: Scu

    def adapter(self, acceptors: int = 2) -> AbstractContextManager[Adapter]:
        peers = f"{self.scu.title}={HOST}:{self.scu.port}"
        return adapter(self.settings, self.folder, free_port(), dicom_peers=peers, dicom_acceptors=str(acceptors))

    def kill(self, adapter: Adapter) -> None:
        """All of its processes at once, without a word, and starts it again."""
        family = psutil.Process(adapter.process.pid).children(recursive=True)
        adapter.process.kill()
        for member in family:
            with suppress(ProcessLookupError):
                os.kill(member.pid, signal.SIGKILL)
        psutil.wait_procs(family, SECONDS)
        adapter.process.start()
        assert adapter.process.await_ready(), adapter.log[-2000:]

    def stored(self, port: int, count: int = 3) -> list[Reference]:
        paths = [self.folder / f"{generate_uid()}.dcm" for _ in range(count)]
        for path in paths:
            write_object(path)
        sent = Device(HOST, port, self.scu.title).send(paths)
        assert {answer.status for answer in sent} == {StoreStatus.SUCCESS}
        headers = [dcmread(path, stop_before_pixels=True) for path in paths]
        return [(header.SOPClassUID, header.SOPInstanceUID) for header in headers]

    @property
    def waiting(self) -> int:
        return Journal(self.settings.state_dir).waiting()


def room_of(site: Settings, folder: Path) -> Room:
    return Room(site.model_copy(update={"state_dir": folder / "state"}), folder, Scu(port=free_port()))


def test_objects_are_committed_and_the_index_is_a_cache(peers_site: Settings, tmp_path: Path) -> None:
    room = room_of(peers_site, tmp_path)
    with room.scu.listening():
        with room.adapter() as scp:
            stored, unknown = room.stored(scp.port), (CTImageStorage, generate_uid())
            assert room.scu.ask(scp.port, stored)[:2] == (ActionStatus.SUCCESS, "")
            report = room.scu.report()
            assert (report.event_type, report.committed) == (EventType.SUCCESSFUL, stored)
            room.scu.ask(scp.port, [*stored, unknown])
            report = room.scu.report()
            assert (report.event_type, report.committed) == (EventType.FAILURES_EXIST, stored)
            assert report.failed == {unknown: FailureReason.NO_SUCH_OBJECT_INSTANCE}
            (parent,) = [one for one in instances(room.settings.state_dir) if one.service == "adapter"]
            until(lambda: 'reports_total{outcome="delivered"} 2' in ask(parent.probe, "/metrics")[1], SECONDS)
            until(lambda: "commitment_waiting 0" in ask(parent.probe, "/metrics")[1], SECONDS)
        (room.settings.state_dir / "commitment" / "index.sqlite").unlink()
        with room.adapter(acceptors=1) as scp:
            room.scu.ask(scp.port, stored)
            assert room.scu.report().committed == stored
    assert all(uid not in scp.log for _, uid in (*stored, unknown))


def test_a_report_comes_though_the_adapter_was_killed(peers_site: Settings, tmp_path: Path) -> None:
    room = room_of(peers_site, tmp_path)
    with room.adapter() as scp:
        stored = room.stored(scp.port)
        status, _, transaction = room.scu.ask(scp.port, stored)
        assert status == ActionStatus.SUCCESS
        room.kill(scp)
        assert room.waiting == 1, "nobody has listened, so it can't have reported"
        with room.scu.listening():
            report = room.scu.report()
            assert (report.transaction, report.committed) == (transaction, stored)
            until(lambda: room.waiting == 0, SECONDS)


def test_a_report_comes_though_the_broker_was_down(own_servers: OwnServers, own_site: Settings, tmp_path: Path) -> None:
    room = room_of(own_site, tmp_path)
    with room.scu.listening(), room.adapter() as scp:
        stored = room.stored(scp.port)
        own_servers.kill(KafkaServer)
        status, _, transaction = room.scu.ask(scp.port, stored)
        assert status == ActionStatus.SUCCESS, "what is promised is a report"
        assert room.waiting == 1
        own_servers.up()
        report = room.scu.report(120.0)
        assert (report.transaction, report.committed) == (transaction, stored)
