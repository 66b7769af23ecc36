"""The adapter as several real processes on a real log, with real devices: DCMTK's where it is installed."""

import asyncio
import hashlib
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.sop_class import Verification

from producers import association, part10
from producers.association import MAX_PDU_BYTES
from producers.device import Device
from producers.statuses import StoreStatus
from radiolog.instances import instances
from radiolog.log.clients import KafkaClients
from radiolog.probes import ask
from radiolog.settings import Settings
from radiolog.supervisor import Service, Supervisor
from schemas.events import image_event_id
from schemas.registry import codec
from schemas.topics import IMAGES
from tests.conftest import World, free_port
from tests.producers.test_receive_limits import request_of
from tests.sites import bare, drop_database, environment_of, equipped

ACCEPTORS = 3


class Adapter:
    """`radiolog adapter dicom` with several acceptors."""

    def __init__(self, settings: Settings, port: int, supervisor: Supervisor) -> None:
        self.settings = settings
        self.port = port
        self.parent = supervisor.pids()["adapter"]

    def acceptors(self) -> dict[str, int]:
        """The process of each that says that it is there."""
        return {one.name: one.pid for one in instances(self.settings.state_dir) if one.service == "dicom"}

    def connected(self) -> dict[str, int]:
        """How many connections each has."""
        return {name: len(_peers(pid, self.port)) for name, pid in self.acceptors().items()}

    def associate(self, title: str = "CT_1") -> Association:
        contexts = [build_context(Verification), build_context(ComputedRadiographyImageStorage, ExplicitVRLittleEndian)]
        return AE(title).associate("127.0.0.1", self.port, contexts, ae_title=self.settings.dicom_ae_title)

    def device(self, title: str = "CT_1") -> Device:
        return Device("127.0.0.1", self.port, title, self.settings.dicom_ae_title)


@pytest.fixture(scope="module")
def adapter(servers: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adapter]:
    """One for all tests here, since it takes its time to start; the last of them ends it."""
    folder, port = tmp_path_factory.mktemp("adapter"), free_port()
    settings = equipped(bare(servers, state_dir=folder / "state"))
    limits = {"dicom_associations": 8, "receive_max_bytes": 3_000_000}
    environment = environment_of(settings, dicom_port=port, dicom_acceptors=ACCEPTORS, **limits)
    service = Service("adapter", (sys.executable, "-m", "radiolog", "adapter", "dicom"), folder / "log", environment)
    with Supervisor([service]) as supervisor:
        supervisor.start(threading.Event())
        yield Adapter(settings, port, supervisor)
    asyncio.run(drop_database(servers, settings.app))


@pytest.fixture
def kafka(adapter: Adapter) -> World:
    return World(adapter.settings, codec(adapter.settings), KafkaClients(adapter.settings))


def test_overlapping_associations_are_spread_and_bounded(adapter: Adapter, kafka: World) -> None:
    """Ready means that all are; each new one goes to who has the fewest; limits are the whole adapter's."""
    assert set(adapter.acceptors()) == {"dicom-0", "dicom-1", "dicom-2"}
    talking = [adapter.associate(f"CT_{number}") for number in range(6)]
    assert all(one.is_established for one in talking)
    assert sorted(adapter.connected().values()) == [2, 2, 2]
    (idle, pid), *_ = adapter.acceptors().items()
    leaving = [one for one in talking if _local_port(one) in _peers(pid, adapter.port)]
    for one in leaving:
        one.release()
    kafka.until(lambda: adapter.connected()[idle] == 0)
    talking += [adapter.associate("CT_7"), adapter.associate("CT_8")]
    assert adapter.connected()[idle] == 2, "the idle one takes the next"
    talking += [adapter.associate("CT_9"), adapter.associate("CT_10")]
    refused = adapter.associate("CT_11")
    assert refused.is_rejected
    for one in talking:
        if one.is_established:
            one.release()


def test_a_killed_acceptor_costs_only_its_own_associations(
    adapter: Adapter,
    kafka: World,
    new_object: Callable[..., Dataset],
    written: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # pynetdicom's sending end may miss that its connection is gone, and wait for an answer all the same.
    monkeypatch.setattr(association, "DIMSE_SECONDS", 10.0)
    paths = []
    for number in range(40):
        paths.append(tmp_path / f"{number}.dcm")
        paths[-1].write_bytes(written(new_object(InstanceNumber=number)))
    acknowledged, broken, begun = [], [], threading.Barrier(7)

    def send(number: int) -> None:
        sending = adapter.device(f"CT_{number}").send(paths)
        first = next(sending)
        begun.wait(30)
        answers = [first, *sending]
        acknowledged.extend(one.event_id for one in answers if one.status is StoreStatus.SUCCESS)
        broken.extend([number] if any(one.status is None for one in answers) else [])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    begun.wait(30)
    victim = adapter.acceptors()["dicom-1"]
    its_own = len(_peers(victim, adapter.port))
    os.kill(victim, signal.SIGKILL)
    for thread in threads:
        thread.join(60)
    assert len(broken) <= its_own < 6, "who had another acceptor noticed nothing"
    on_the_log = {event.event_id for event in kafka.events(IMAGES)}
    assert set(acknowledged) <= on_the_log
    assert len(acknowledged) >= (6 - its_own) * len(paths)
    kafka.until(lambda: adapter.acceptors().get("dicom-1") not in (None, victim))
    talking = [adapter.associate() for _ in range(ACCEPTORS)]
    assert sorted(adapter.connected().values()) == [1] * ACCEPTORS
    for one in talking:
        one.release()
    assert [one.status for one in adapter.device().send(paths)] == [StoreStatus.SUCCESS] * len(paths)


def test_one_answers_for_all_at_the_probes(adapter: Adapter, kafka: World, new_object, written, tmp_path) -> None:
    (tmp_path / "a.dcm").write_bytes(written(new_object()))
    (parent,) = [one for one in instances(adapter.settings.state_dir) if one.service == "adapter"]
    kafka.until(lambda: ask(parent.probe, "/ready") == (200, "ok"))
    before = _published(parent.probe)
    for _ in range(2):
        assert [one.status for one in adapter.device().send([tmp_path / "a.dcm"])] == [StoreStatus.SUCCESS]
    assert _published(parent.probe) == before + 2


def _published(probe: str) -> float:
    """Images that all acceptors have published, as the probe of their parent has it."""
    status, text = ask(probe, "/metrics")
    assert status == 200
    return sum(map(float, re.findall(r'radiolog_published_total{acceptor="dicom-\d",topic="images"} (\S+)', text)))


def test_an_aborted_association_leaves_what_it_was_told_is_stored(
    adapter: Adapter, kafka: World, new_object: Callable[..., Dataset], written: Callable[..., bytes], tmp_path: Path
) -> None:
    contents = [written(new_object(InstanceNumber=100 + number)) for number in range(3)]
    paths = [tmp_path / f"{number}.dcm" for number in range(3)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    talking = adapter.associate()
    assert talking.is_established
    assert talking.send_c_store(dcmread(paths[0])).Status == StoreStatus.SUCCESS
    context = next(c for c in talking.accepted_contexts if c.abstract_syntax == ComputedRadiographyImageStorage)
    assert context.context_id is not None
    # The second is sent in full and not waited for; the third is broken off in the middle.
    for number, whole in ((1, True), (2, False)):
        message = C_STORE_RQ()
        message.primitive_to_message(request_of(number, part10.parse(contents[number]).dataset))
        fragments = list(message.encode_msg(context.context_id, MAX_PDU_BYTES))
        for fragment in fragments if whole else fragments[:-1]:
            talking.dul.send_pdu(fragment)
    talking.abort()
    ids = [image_event_id(_sha256(content)) for content in contents]
    kafka.until(lambda: ids[0] in {event.event_id for event in kafka.events(IMAGES)})
    assert ids[2] not in {event.event_id for event in kafka.events(IMAGES)}
    answers = list(adapter.device().send(paths))
    assert [one.status for one in answers] == [StoreStatus.SUCCESS] * 3
    assert [one.event_id for one in answers] == ids
    assert sum(event.event_id == ids[0] for event in kafka.events(IMAGES)) == 2, "a resend is known by its id"


def test_sigterm_lets_associations_end(adapter: Adapter, new_object, written, tmp_path) -> None:
    paths = [tmp_path / "a.dcm", tmp_path / "b.dcm"]
    for path in paths:
        path.write_bytes(written(new_object()))
    sending = adapter.device().send(paths)
    assert next(sending).status is StoreStatus.SUCCESS
    os.kill(adapter.parent, signal.SIGTERM)
    processes = [psutil.Process(pid) for pid in adapter.acceptors().values()]
    assert next(sending).status is StoreStatus.SUCCESS
    assert next(sending, None) is None
    assert psutil.wait_procs(processes, 30)[1] == []


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(part10.parse(content).dataset).digest()


def _local_port(association: Association) -> int:
    connection = association.dul.socket
    assert connection is not None
    assert connection.socket is not None
    return int(connection.socket.getsockname()[1])


def _peers(pid: int, port: int) -> set[int]:
    return {c.raddr.port for c in psutil.Process(pid).net_connections("tcp") if c.raddr and c.laddr.port == port}
