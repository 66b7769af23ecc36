"""Storage commitment: real associations on loopback, the log's twin behind the adapter."""

import logging
import queue
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from pydicom import Dataset
from pydicom.uid import CTImageStorage, MRImageStorage, generate_uid
from pynetdicom import AE, build_context
from pynetdicom.dsutils import decode, encode
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from producers import transport_security
from producers.commitment import journal as journals
from producers.commitment import request as requests
from producers.commitment import rounds, service
from producers.commitment.clerk import Clerk
from producers.commitment.index import Index
from producers.commitment.journal import Entry, Journal
from producers.commitment.report import CommitmentReport
from producers.commitment.reporter import GIVE_UP_SECONDS, Reporter
from producers.commitment.request import CommitmentRequest, Declined, ObjectReference
from producers.commitment.service import commitment
from producers.commitment.statuses import ActionStatus, EventType, FailureReason
from producers.device import Device
from producers.dicom_scp import DicomAdapter
from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from producers.statuses import StoreStatus
from radiolog.log.memory import MemoryLog
from radiolog.log.metrics import CommitmentMetrics
from radiolog.log.publisher import KafkaPublisher
from radiolog.log.tail import End, Tail
from radiolog.settings import Settings, SettingsError, addresses
from schemas.codec import Codec
from schemas.events import ImageEvent
from schemas.registry import MemoryRegistry
from schemas.topics import IMAGES, TOPICS
from tests.certificates import Authority
from tests.conftest import World
from tests.producers.commitment_scu import Reference, Scu, information_of, references

FOLDER = "commitment"


@dataclass
class Site:
    """An adapter, and what answers requests behind it."""

    settings: Settings
    log: MemoryLog
    codec: Codec
    scu: Scu
    tmp_path: Path
    written: Callable[..., bytes]

    @contextmanager
    def adapter(self) -> Iterator[DicomAdapter]:
        secret = None if self.settings.keep_identity else Pseudonyms(self.settings.require_site_secret())
        with (
            KafkaPublisher(self.settings, self.codec, self.log) as publisher,
            DicomAdapter(self.settings, Intake(publisher, secret, self.settings)) as adapter,
        ):
            yield adapter

    @contextmanager
    def answers(self, registry: CollectorRegistry | None = None) -> Iterator[CollectorRegistry]:
        registry = registry or CollectorRegistry()
        with commitment(self.settings, threading.Event(), registry, self.log, self.codec):
            yield registry

    @contextmanager
    def running(self) -> Iterator[DicomAdapter]:
        with self.adapter() as adapter, self.answers():
            yield adapter

    def store(self, adapter: DicomAdapter, *datasets: Dataset) -> list[Reference]:
        paths = [self.tmp_path / f"{generate_uid()}.dcm" for _ in datasets]
        for path, dataset in zip(paths, datasets, strict=True):
            path.write_bytes(self.written(dataset))
        sent = Device("127.0.0.1", adapter.port, self.scu.title).send(paths)
        assert {answer.status for answer in sent} == {StoreStatus.SUCCESS}
        return references(datasets)

    @property
    def journal(self) -> Journal:
        return Journal(self.settings.state_dir)


@pytest.fixture
def site(
    make_settings: Callable[..., Settings],
    written: Callable[..., bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    monkeypatch.setattr(rounds, "FIRST_PAUSE_SECONDS", 0.2)
    monkeypatch.setattr(service, "LOOK_SECONDS", 0.05)
    with Scu().listening() as scu:
        settings = make_settings(
            dicom_peers={"CT_1": ("127.0.0.1", scu.port)}, topic_prefix="t.", state_dir=tmp_path / "s"
        )
        log = MemoryLog(patience=0.02)
        for topic in TOPICS:
            log.create(topic.full_name("t."), 2)
        yield Site(settings, log, Codec(MemoryRegistry(), "t."), scu, tmp_path, written)


def test_what_is_stored_is_committed(site: Site, new_object: Callable[..., Dataset]) -> None:
    with site.running() as adapter:
        stored = site.store(adapter, *(new_object(StudyInstanceUID=f"1.2.{n}") for n in range(5)))
        status, comment, transaction = site.scu.ask(adapter.port, stored)
        report = site.scu.report()
        assert (status, comment) == (ActionStatus.SUCCESS, "")
        assert (report.event_type, report.transaction) == (EventType.SUCCESSFUL, transaction)
        assert report.committed == stored
        assert report.failed == {}
        assert report.keys == {"TransactionUID", "ReferencedSOPSequence"}, "nothing can be retrieved"
        assert report.calling == "RADIOLOG"
        assert report.roles == {StorageCommitmentPushModel: (False, True)}
        World.until(lambda: site.journal.waiting() == 0)
        later = site.store(adapter, new_object())
        site.scu.ask(adapter.port, stored + later)
        assert site.scu.report().committed == stored + later


def test_what_is_not_on_the_log_is_not(site: Site, new_object: Callable[..., Dataset]) -> None:
    with site.running() as adapter:
        (stored,) = site.store(adapter, new_object())
        unknown = (CTImageStorage, generate_uid())
        conflicting = (MRImageStorage, stored[1])
        status, _, _ = site.scu.ask(adapter.port, [unknown, stored, conflicting])
        report = site.scu.report()
    assert status == ActionStatus.SUCCESS
    assert report.event_type == EventType.FAILURES_EXIST
    assert report.committed == [stored]
    assert report.failed == {unknown: 0x0112, conflicting: 0x0119}
    assert report.keys == {"TransactionUID", "ReferencedSOPSequence", "FailedSOPSequence"}


def test_the_pseudonym_is_no_name_to_ask_by(
    site: Site, new_object: Callable[..., Dataset], pseudonyms: Pseudonyms
) -> None:
    with site.running() as adapter:
        ((sop_class, sop_instance),) = site.store(adapter, new_object())
        site.scu.ask(adapter.port, [(sop_class, pseudonyms.uid(sop_instance))])
        assert site.scu.report().committed == []


def test_an_object_that_was_announced_under_another_uid(
    site: Site, new_object: Callable[..., Dataset], tmp_path: Path
) -> None:
    """File meta information of another object: the log has what the data set says, and no more is promised."""
    dataset, announced = new_object(SOPInstanceUID="1.2.3.4.5"), "1.2.3.4.6"
    (tmp_path / "a.dcm").write_bytes(site.written(dataset).replace(b"1.2.3.4.5", announced.encode(), 1))
    with site.running() as adapter:
        (answer,) = Device("127.0.0.1", adapter.port, "CT_1").send([tmp_path / "a.dcm"])
        assert answer.status is StoreStatus.SUCCESS
        asked = [(dataset.SOPClassUID, announced), (dataset.SOPClassUID, dataset.SOPInstanceUID)]
        site.scu.ask(adapter.port, asked)
        report = site.scu.report()
    assert report.failed == {asked[0]: 0x0112}
    assert report.committed == [asked[1]]


def test_where_identities_are_kept(site: Site, new_object: Callable[..., Dataset]) -> None:
    site.settings = site.settings.model_copy(update={"keep_identity": True})
    with site.running() as adapter:
        stored = site.store(adapter, new_object())
        site.scu.ask(adapter.port, stored)
        assert site.scu.report().committed == stored


def test_a_resend_is_one_object(site: Site, new_object: Callable[..., Dataset]) -> None:
    with site.running() as adapter:
        dataset = new_object()
        stored = site.store(adapter, dataset, dataset)
        site.scu.ask(adapter.port, stored)
        assert site.scu.report().committed == stored[:1]


def test_what_retention_has_deleted_is_not_committed_any_more(site: Site, new_object: Callable[..., Dataset]) -> None:
    with site.running() as adapter:
        old = site.store(adapter, new_object(), new_object())
        site.scu.ask(adapter.port, old)
        assert site.scu.report().committed == old
        new = site.store(adapter, new_object())
        topic = IMAGES.full_name("t.")
        (partition,) = {p for p in (0, 1) if site.log.partition((topic, p)).entries}
        site.log.delete_before((topic, partition), 2)
        site.scu.ask(adapter.port, old + new)
        report = site.scu.report()
    assert report.committed == new
    assert set(report.failed.values()) == {0x0112}


def test_the_index_is_rebuilt_when_its_file_is_gone(site: Site, new_object: Callable[..., Dataset]) -> None:
    with site.running() as adapter:
        stored = site.store(adapter, new_object(), new_object())
        site.scu.ask(adapter.port, stored)
        assert site.scu.report().committed == stored
    folder = site.settings.state_dir / FOLDER
    (folder / "index.sqlite").unlink()
    with site.running() as adapter:
        site.scu.ask(adapter.port, stored)
        assert site.scu.report().committed == stored


@pytest.mark.parametrize("content", [b"no database at all" * 100, b""])
def test_an_index_that_cannot_be_read_is_begun_anew(
    content: bytes, site: Site, new_object: Callable[..., Dataset]
) -> None:
    folder = site.settings.state_dir / FOLDER
    with site.running() as adapter:
        stored = site.store(adapter, new_object())
    (folder / "index.sqlite").write_bytes(content)
    with site.running() as adapter:
        site.scu.ask(adapter.port, stored)
        assert site.scu.report().committed == stored


def test_an_index_of_another_log_is_forgotten(site: Site, new_object: Callable[..., Dataset]) -> None:
    with site.running() as adapter:
        stored = site.store(adapter, new_object())
        site.scu.ask(adapter.port, stored)
        assert site.scu.report().committed == stored
    site.log = MemoryLog(patience=0.02)
    for topic in TOPICS:
        site.log.create(topic.full_name("t."), 2)
    with site.adapter() as adapter:
        other = site.store(adapter, new_object(), new_object())  # as long as the first one was, and longer
        site.scu.ask(adapter.port, stored + other)
        with site.answers():
            report = site.scu.report()
    assert report.committed == other
    assert report.failed == {stored[0]: 0x0112}


def test_a_request_outlives_the_process(site: Site, new_object: Callable[..., Dataset]) -> None:
    """Taken on, then nobody is there to answer it; whoever comes later does."""
    with site.adapter() as adapter:
        stored = site.store(adapter, new_object())
        status, _, transaction = site.scu.ask(adapter.port, stored)
    assert status == ActionStatus.SUCCESS
    assert site.journal.waiting() == 1
    with site.answers():
        assert site.scu.report().transaction == transaction
        World.until(lambda: site.journal.waiting() == 0)


def test_a_request_waits_for_the_log(site: Site, new_object: Callable[..., Dataset]) -> None:
    down = threading.Event()

    def interfere(call: str) -> None:
        if call == "list_topics" and not down.is_set():
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    with site.adapter() as adapter:
        stored = site.store(adapter, new_object())
        site.log.interfere = interfere
        with site.answers():
            assert site.scu.ask(adapter.port, stored)[0] == ActionStatus.SUCCESS
            with pytest.raises(queue.Empty):
                site.scu.report(1.0)
            down.set()
            assert site.scu.report().committed == stored


class LateTail(Tail[ImageEvent]):
    """While it asks for the end, another object is acknowledged, and then asked about."""

    def __init__(self, site: Site, meanwhile: Callable[[], None]) -> None:
        super().__init__(site.settings, IMAGES, site.codec, site.log)
        self._meanwhile = meanwhile

    def end(self) -> End:
        end = super().end()
        self._meanwhile()
        return end


@pytest.fixture
def clerk(site: Site) -> Iterator[Callable[[Tail[ImageEvent]], Clerk]]:
    with closing(Index(site.settings.state_dir, IMAGES.full_name("t."))) as index:
        metrics, pseudonyms = CommitmentMetrics(CollectorRegistry()), Pseudonyms(site.settings.require_site_secret())
        yield lambda tail: Clerk(site.journal, index, tail, pseudonyms.uid, metrics)


def test_a_request_is_not_decided_by_an_end_from_before_it(
    site: Site, clerk: Callable[[Tail[ImageEvent]], Clerk], new_object: Callable[..., Dataset]
) -> None:
    asked = iter(range(1))

    def meanwhile() -> None:
        for _ in asked:
            site.scu.ask(adapter.port, site.store(adapter, new_object()))

    with site.adapter() as adapter, closing(LateTail(site, meanwhile)) as tail:
        deciding = clerk(tail)
        assert deciding.round(threading.Event()) == 0
        assert deciding.round(threading.Event()) == 1
    entry = site.journal.entry(1)
    assert entry is not None
    assert entry.reasons == (None,)


def test_nothing_is_decided_by_half_of_the_log(
    site: Site, clerk: Callable[[Tail[ImageEvent]], Clerk], new_object: Callable[..., Dataset]
) -> None:
    stop = threading.Event()
    with site.adapter() as adapter, closing(LateTail(site, stop.set)) as tail:
        site.scu.ask(adapter.port, site.store(adapter, new_object()))
        assert clerk(tail).round(stop) == 0
    assert len(site.journal.undecided()) == 1


def test_a_device_that_is_not_there_is_told_later(
    site: Site, new_object: Callable[..., Dataset], free_port: int
) -> None:
    late = Scu(port=free_port)
    site.settings = site.settings.model_copy(update={"dicom_peers": {"CT_1": ("127.0.0.1", free_port)}})
    with site.adapter() as adapter, site.answers() as registry:
        stored = site.store(adapter, new_object())
        late.ask(adapter.port, stored)
        World.until(lambda: (registry.get_sample_value(REPORTS, {"outcome": "failed"}) or 0) >= 2)
        assert registry.get_sample_value("radiolog_commitment_waiting") == 1
        with late.listening():
            assert late.report().committed == stored
            World.until(lambda: registry.get_sample_value(REPORTS, {"outcome": "delivered"}) == 1)
            World.until(lambda: registry.get_sample_value("radiolog_commitment_waiting") == 0)
        assert registry.get_sample_value("radiolog_commitment_lag_records") == 0


REPORTS = "radiolog_commitment_reports_total"


@pytest.mark.parametrize(("status", "tried_again"), [(0x0110, True), (0x0213, True), (0x0112, False), (0x0115, False)])
def test_a_device_that_does_not_take_its_report(
    status: int, tried_again: bool, site: Site, new_object: Callable[..., Dataset]
) -> None:
    site.scu.status = status
    with site.running() as adapter:
        stored = site.store(adapter, new_object())
        site.scu.ask(adapter.port, stored)
        site.scu.report()
        if tried_again:
            site.scu.status = 0x0000
            assert site.scu.report().committed == stored
        World.until(lambda: site.journal.waiting() == 0)
    assert site.scu.reports.empty()


def test_one_device_that_hangs_keeps_no_other_waiting(
    site: Site, new_object: Callable[..., Dataset], free_port: int
) -> None:
    asked, release = threading.Event(), threading.Event()

    class Hanging(Scu):
        def _on_report(self, event):
            asked.set()
            release.wait(60)
            return super()._on_report(event)

    with Hanging("CT_2").listening() as hanging:
        peers = dict(site.settings.dicom_peers) | {"CT_2": ("127.0.0.1", hanging.port)}
        site.settings = site.settings.model_copy(update={"dicom_peers": peers})
        with site.running() as adapter:
            stored = site.store(adapter, new_object())
            hanging.ask(adapter.port, stored)
            assert asked.wait(60)
            site.scu.ask(adapter.port, stored)
            assert site.scu.report().committed == stored
            release.set()
            assert hanging.report().committed == stored


def test_a_report_is_given_up_in_the_end(site: Site, free_port: int) -> None:
    journal, registry, now = site.journal, CollectorRegistry(), [0.0]
    object_ = ObjectReference(CTImageStorage, "1.2.3")
    Journal(site.settings.state_dir, lambda: now[0]).add(CommitmentRequest("CT_1", "1.2", (object_,)))
    (number,) = journal.undecided()
    journal.decide(number, [None])
    metrics = CommitmentMetrics(registry)
    for address in (("127.0.0.1", free_port), None):
        reporter = Reporter("CT_1", address, "RADIOLOG", None, journal, metrics, lambda: now[0])
        assert not reporter.visit()
        assert journal.waiting() == 1
    now[0] = GIVE_UP_SECONDS + 1
    assert reporter.visit()
    assert journal.waiting() == 0
    assert registry.get_sample_value(REPORTS, {"outcome": "given_up"}) == 1


def test_who_cannot_be_told_is_told_so(site: Site, new_object: Callable[..., Dataset]) -> None:
    with site.running() as adapter:
        status, comment, _ = Scu("CT_9").ask(adapter.port, [(CTImageStorage, "1.2.3")])
    assert status == ActionStatus.NOT_AUTHORISED
    assert "RADIOLOG_DICOM_PEERS" in comment
    assert site.journal.waiting() == 0


def test_without_peers_there_is_no_storage_commitment(make_settings: Callable[..., Settings], intake: Intake) -> None:
    settings = make_settings()
    contexts = [build_context(StorageCommitmentPushModel), build_context(Verification)]
    with commitment(settings, threading.Event()), DicomAdapter(settings, intake) as adapter:
        association = AE("CT_1").associate("127.0.0.1", adapter.port, contexts, ae_title="RADIOLOG")
        assert [cx.abstract_syntax for cx in association.accepted_contexts] == [Verification]
        association.release()
    assert not (settings.state_dir / FOLDER).exists()


def _without(keyword: str) -> Dataset:
    information = information_of("1.2.3", [(CTImageStorage, "1.2.4")])
    del information[keyword]
    return information


@pytest.mark.parametrize(
    ("information", "words"),
    [
        (Dataset(), "TransactionUID"),
        (_without("TransactionUID"), "TransactionUID (0008,1195) is missing"),
        (_without("ReferencedSOPSequence"), "ReferencedSOPSequence (0008,1199) is missing"),
        (information_of("1.2.3", []), "ReferencedSOPSequence (0008,1199) is missing"),
        (information_of("1" * 65, [(CTImageStorage, "1.2.4")]), "TransactionUID"),
        (information_of("1.2\\1.3", [(CTImageStorage, "1.2.4")]), "TransactionUID"),
        (information_of("1.2.3", [(CTImageStorage, "1.2.4"), ("", "1.2.5")]), "ReferencedSOPClassUID"),
        (information_of("1.2.3", [(CTImageStorage, "")]), "ReferencedSOPInstanceUID"),
        (information_of("1.2.3", [(CTImageStorage, "1.2\x014")]), "ReferencedSOPInstanceUID"),
    ],
)
def test_a_request_that_lacks_something(information: Dataset, words: str) -> None:
    with pytest.raises(Declined, match=re.escape(words)) as declined:
        CommitmentRequest.of("CT_1", information)
    assert declined.value.status is ActionStatus.INVALID_ARGUMENT_VALUE


def test_a_request_without_information(site: Site) -> None:
    with site.adapter() as adapter:
        status, comment = site.scu.act(adapter.port, None)
    assert status == ActionStatus.INVALID_ARGUMENT_VALUE
    assert comment == "TransactionUID (0008,1195) is missing or no UID"
    assert site.journal.waiting() == 0


def test_another_action_and_another_instance(site: Site) -> None:
    information = information_of("1.2.3", [(CTImageStorage, "1.2.4")])
    with site.adapter() as adapter:
        assert site.scu.act(adapter.port, information, action=2)[0] == ActionStatus.NO_SUCH_ACTION
        assert site.scu.act(adapter.port, information, instance="1.2.3")[0] == ActionStatus.NO_SUCH_SOP_INSTANCE
    assert site.journal.waiting() == 0


def test_too_many_objects(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "MAX_OBJECTS", 3)
    objects = [(CTImageStorage, f"1.2.{n}") for n in range(4)]
    with site.adapter() as adapter:
        status, comment, _ = site.scu.ask(adapter.port, objects)
        assert status == ActionStatus.RESOURCE_LIMITATION
        assert "more than 3 objects" in comment
        assert site.scu.ask(adapter.port, objects[:3])[0] == ActionStatus.SUCCESS


def test_too_many_bytes(site: Site) -> None:
    information = information_of("1.2.3", [(CTImageStorage, "1.2.4")])
    information.TextValue = "x" * (requests.MAX_BYTES + 1)
    with site.adapter() as adapter:
        status, comment = site.scu.act(adapter.port, information)
    assert status == ActionStatus.RESOURCE_LIMITATION
    assert "bytes" in comment


def test_too_many_requests(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journals, "MAX_WAITING", 2)
    with site.adapter() as adapter:
        answers = [site.scu.ask(adapter.port, [(CTImageStorage, f"1.2.{n}")])[0] for n in range(3)]
    assert answers == [ActionStatus.SUCCESS, ActionStatus.SUCCESS, ActionStatus.RESOURCE_LIMITATION]


def test_a_request_that_comes_again(site: Site) -> None:
    """As from a device whose answer was lost; under the same UID nothing else can be asked until it is reported."""
    with site.adapter() as adapter:
        asked = [(CTImageStorage, "1.2.4"), (CTImageStorage, "1.2.4")]
        for _ in range(2):
            assert site.scu.ask(adapter.port, asked, "1.2.3")[0] == ActionStatus.SUCCESS
        status, comment, _ = site.scu.ask(adapter.port, [(CTImageStorage, "1.2.5")], "1.2.3")
        assert status == ActionStatus.INVALID_ARGUMENT_VALUE
        assert "in use" in comment
        with Scu("CT_2").listening() as other:
            peers = dict(site.settings.dicom_peers) | {"CT_2": ("127.0.0.1", other.port)}
            adapter.stop()
            site.settings = site.settings.model_copy(update={"dicom_peers": peers})
            with site.adapter() as again:
                assert other.ask(again.port, asked, "1.2.3")[0] == ActionStatus.SUCCESS, "its own UIDs are its own"
    entry = site.journal.entry(1)
    assert entry is not None
    assert entry.request.objects == (ObjectReference(CTImageStorage, "1.2.4"),)
    assert site.journal.waiting() == 2


def test_a_journal_that_cannot_be_written_promises_nothing(site: Site) -> None:
    with site.adapter() as adapter:
        (site.settings.state_dir / FOLDER / "journal.sqlite").write_bytes(b"no database" * 100)
        status, comment, _ = site.scu.ask(adapter.port, [(CTImageStorage, "1.2.4")])
    assert status == ActionStatus.PROCESSING_FAILURE
    assert comment == "the request could not be kept (DatabaseError); ask again"


def test_nobody_else_reads_the_files(site: Site, new_object: Callable[..., Dataset]) -> None:
    with site.running() as adapter:
        site.scu.ask(adapter.port, site.store(adapter, new_object()))
        site.scu.report()
        folder = site.settings.state_dir / FOLDER
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes.pop(FOLDER) == 0o700
    assert set(modes) >= {"index.sqlite", "index.sqlite-wal", "journal.sqlite"}
    assert set(modes.values()) == {0o600}


def test_no_uid_outlives_its_request_or_is_logged(
    site: Site, new_object: Callable[..., Dataset], capsys: pytest.CaptureFixture[str]
) -> None:
    said, root = StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(said), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        with site.running() as adapter:
            stored = site.store(adapter, new_object())
            transaction = site.scu.ask(adapter.port, [*stored, (CTImageStorage, "1.2.77.88.99")])[2]
            site.scu.act(adapter.port, information_of("1.2.77.88.9", [("", "1.2.77.88.99")]))
            site.scu.report()
            World.until(lambda: site.journal.waiting() == 0)
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    printed = capsys.readouterr()
    folder = site.settings.state_dir / FOLDER
    everything = said.getvalue() + printed.out + printed.err
    everything += "".join(path.read_bytes().decode("latin-1") for path in folder.iterdir())
    assert "CT_1" in everything
    for uid in (stored[0][1], transaction, "1.2.77.88.9"):
        assert uid not in everything


def test_the_report_over_mutual_tls(site: Site, new_object: Callable[..., Dataset], tmp_path: Path) -> None:
    authority = Authority(tmp_path, "hospital")
    certificate, key = authority.issue("adapter")
    files = {"dicom_tls_certificate": certificate, "dicom_tls_key": key, "dicom_tls_ca": authority.path}
    security = transport_security.TlsFiles("", *authority.issue("ct"), authority.path).context()
    with site.adapter() as adapter, Scu(title="CT_1").listening(ssl_context=security) as secured:
        stored = site.store(adapter, new_object())
        peers = {"CT_1": ("127.0.0.1", secured.port)}
        site.settings = site.settings.model_copy(update={"dicom_peers": peers, **files})
        with site.answers():
            secured.ask(adapter.port, stored)
            assert secured.report().committed == stored


def test_nobody_is_told_in_the_clear_on_another_machine(make_settings: Callable[..., Settings]) -> None:
    far = make_settings(dicom_peers="CT_1=192.0.2.7:104,CT_2=127.0.0.1:104")
    with pytest.raises(SettingsError, match=r"RADIOLOG_DICOM_PEERS: CT_1 .*TLS"), commitment(far, threading.Event()):
        pass
    assert transport_security.peer_context(make_settings(dicom_peers="CT_2=127.0.0.1:104")) is None


def test_addresses() -> None:
    text = "CR1=127.0.0.2:11112, ORTHANC=localhost:4242,,MY AE=[::1]:104 "
    assert addresses(text) == {"CR1": ("127.0.0.2", 11112), "ORTHANC": ("localhost", 4242), "MY AE": ("::1", 104)}
    assert addresses("") == {}


@pytest.mark.parametrize(
    "text",
    ["CR1", "CR1=host", "CR1=:104", "=h:104", "CR1=h:0", "CR1=h:65536", "A" * 17 + "=h:1", "C\\1=h:1", "CR1=h:1:2"],
)
def test_addresses_that_are_none(text: str, make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match=r"RADIOLOG_DICOM_PEERS.*AETITLE=HOST:PORT"):
        make_settings(dicom_peers=text)


def test_a_title_with_two_addresses(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(SettingsError, match=r"RADIOLOG_DICOM_PEERS.*twice"):
        make_settings(dicom_peers="CR1=h:1,CR1=h:2")


UIDS = st.from_regex(r"[0-9]{1,5}(\.[0-9]{1,5}){1,8}", fullmatch=True)
REASONS = st.none() | st.sampled_from(list(FailureReason))


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.tuples(UIDS, UIDS), REASONS, min_size=1, max_size=20), UIDS)
def test_a_report_names_each_object_once(decided: dict[Reference, FailureReason | None], transaction: str) -> None:
    objects = tuple(ObjectReference(*pair) for pair in decided)
    entry = Entry(1, CommitmentRequest("CT_1", transaction, objects), 0.0, tuple(decided.values()))
    report = CommitmentReport.of(entry)
    committed, failed = (
        [(item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) for item in report.information.get(name, [])]
        for name in ("ReferencedSOPSequence", "FailedSOPSequence")
    )
    assert sorted(committed + failed) == sorted(decided)
    assert {decided[pair] for pair in committed} <= {None}
    assert [decided[pair] for pair in failed] == [
        item.FailureReason for item in report.information.get("FailedSOPSequence", [])
    ]
    assert report.event_type == (EventType.FAILURES_EXIST if failed else EventType.SUCCESSFUL)
    assert report.information.TransactionUID == transaction


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(UIDS, UIDS), min_size=1, max_size=20), UIDS)
def test_a_request_keeps_order_and_drops_repetitions(objects: list[Reference], transaction: str) -> None:
    request = CommitmentRequest.of("CT_1", information_of(transaction, objects))
    assert [(each.sop_class, each.sop_instance) for each in request.objects] == list(dict.fromkeys(objects))
    assert request.transaction == transaction


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_whatever_comes_is_a_request_or_declined(content: bytes, whole: bool) -> None:
    good = encode(information_of("1.2.3", [(CTImageStorage, "1.2.4")]), True, True)
    assert good is not None
    content = content if whole else good[: len(content)] + content + good[2 * len(content) :]
    try:
        information = decode(BytesIO(content), True, True)
    except Exception:  # as `acceptance` expects it
        return
    with suppress(Declined):
        assert CommitmentRequest.of("CT_1", information).objects


@pytest.mark.parametrize(
    "garbage", [b"\x08\x00\x95\x11SQ" + b"\xff" * 99, b"\x08\x00\x99\x11SQ\0\0\x08\0\0\0no items", b"?"]
)
def test_bytes_that_are_no_information(garbage: bytes, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pynetdicom.association.encode", lambda *_: garbage)
    with site.adapter() as adapter:
        information = information_of("1.2.3", [(CTImageStorage, "1.2.4")])
        assert site.scu.act(adapter.port, information)[0] == ActionStatus.INVALID_ARGUMENT_VALUE
    assert site.journal.waiting() == 0
