"""Real associations over loopback, against an in-memory log."""

import hashlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from io import StringIO
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGLosslessSV1
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.sop_class import CTImageStorage, Verification

from producers import part10
from producers.association import ACSE_SECONDS
from producers.device import Device, DeviceError
from producers.dicom_scp import DicomAdapter
from producers.intake import Intake
from producers.occupancy import SPARE_CONNECTIONS
from producers.pseudonyms import Pseudonyms
from producers.statuses import StoreStatus
from radiolog.log.errors import LogRefused, LogUnavailable
from radiolog.log.publisher import Fact, MemoryPublisher
from radiolog.settings import Settings, SettingsError
from schemas.events import ImageEvent, SourceKind, image_event_id
from tests.hostile.elements import Elements

CHEST = ("RG1_UNCR.dcm", "RG1_UNCI.dcm", "RG1_J2KR.dcm", "RG1_J2KI.dcm")


@pytest.fixture
def device(adapter: DicomAdapter) -> Device:
    return Device("127.0.0.1", adapter.port, "CT_1")


def test_echo(device: Device) -> None:
    assert device.echo() is StoreStatus.SUCCESS


def test_stored_objects_are_on_the_log_as_they_stand_in_their_files(
    device: Device, sample: Callable[[str], Path], images: Callable[[], list[ImageEvent]]
) -> None:
    paths = [sample(name) for name in (*CHEST, "CT_small.dcm", "reportsi.dcm", "waveform_ecg.dcm")]
    sent = list(device.send(paths))
    assert {answer.status for answer in sent} == {StoreStatus.SUCCESS}
    assert [answer.event_id for answer in sent] == [event.event_id for event in images()]
    for path, event in zip(paths, images(), strict=True):
        file = part10.parse(path.read_bytes())
        assert event.received_sha256 == hashlib.sha256(file.dataset).digest()
        assert event.event_id == image_event_id(event.received_sha256)
        assert event.transfer_syntax_uid == file.transfer_syntax
        assert (event.source.kind, event.source.peer, event.source.adapter) == (SourceKind.C_STORE, "CT_1", "RADIOLOG")


def test_every_file_of_the_corpus_in_its_own_transfer_syntax(
    device: Device, corpus: list[Path], images: Callable[[], list[ImageEvent]]
) -> None:
    answers = list(device.send(corpus))
    assert {answer.path.name: answer.status for answer in answers if answer.status} == {}
    assert [answer.event_id for answer in answers] == [event.event_id for event in images()]
    assert len({event.transfer_syntax_uid for event in images()}) >= 10


@pytest.mark.parametrize(
    ("failure", "status"),
    [(LogUnavailable("no broker"), 0xA700), (LogRefused("denied"), 0xA700), (RuntimeError("Doe^Jane"), 0xC000)],
)
def test_nothing_is_acknowledged_that_the_log_has_not(
    failure: Exception, status: int, device: Device, publisher: MemoryPublisher, sample: Callable[[str], Path]
) -> None:
    publisher.failure = failure
    (answer,) = device.send([sample("CT_small.dcm")])
    assert answer.status == status
    assert answer.comment
    assert "Doe" not in answer.comment
    publisher.failure = None
    (answer,) = device.send([sample("CT_small.dcm")])
    assert answer.status is StoreStatus.SUCCESS


def test_success_waits_for_the_log(settings: Settings, pseudonyms: Pseudonyms, sample: Callable[[str], Path]) -> None:
    class Slow(MemoryPublisher):
        entered, release = threading.Event(), threading.Event()

        def publish(self, facts: Sequence[Fact]) -> None:
            self.entered.set()
            assert self.release.wait(10)
            super().publish(facts)

    publisher, answers = Slow(), []
    with DicomAdapter(settings, Intake(publisher, pseudonyms, settings)) as adapter:
        device = Device("127.0.0.1", adapter.port)
        sending = threading.Thread(target=lambda: answers.extend(device.send([sample("CT_small.dcm")])))
        sending.start()
        assert publisher.entered.wait(10)
        assert not answers
        publisher.release.set()
        sending.join(10)
    assert [answer.status for answer in answers] == [StoreStatus.SUCCESS]


def test_half_of_the_pixels_is_refused_in_words(
    device: Device, sample: Callable[[str], Path], tmp_path: Path, publisher: MemoryPublisher
) -> None:
    content = sample("RG1_UNCR.dcm").read_bytes()
    (tmp_path / "half.dcm").write_bytes(content[: len(content) // 2])
    (answer,) = device.send([tmp_path / "half.dcm"])
    assert answer.status is StoreStatus.CANNOT_UNDERSTAND
    assert answer.comment.startswith("Pixel Data declares")
    assert not publisher.facts


def test_random_bytes_are_refused_in_words(device: Device, tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(bytes(range(7, 256)) * 40)
    (answer,) = device.send([tmp_path / "noise"])
    assert answer.status is StoreStatus.CANNOT_UNDERSTAND
    assert "not DICOM" in answer.comment


def test_a_file_whose_class_is_no_text_is_sent_all_the_same(device: Device, tmp_path: Path) -> None:
    wrong = Elements().element(0x00080016, "FD", b"1.2.840.10008.5.1.4.1.1.1")
    (tmp_path / "wrong").write_bytes(Elements().image({0x00080016: wrong}))
    (answer,) = device.send([tmp_path / "wrong"])
    assert answer.status is StoreStatus.CANNOT_UNDERSTAND


def test_an_object_of_another_class_than_announced(
    device: Device, new_object: Callable[..., Dataset], written: Callable[..., bytes], tmp_path: Path
) -> None:
    content = written(new_object())
    (tmp_path / "a.dcm").write_bytes(content.replace(b"1.2.840.10008.5.1.4.1.1.1\0", b"1.2.840.10008.5.1.4.1.1.2\0", 1))
    (answer,) = device.send([tmp_path / "a.dcm"])
    assert answer.status is StoreStatus.SOP_CLASS_MISMATCH


def test_too_large(
    make_settings: Callable[..., Settings],
    publisher: MemoryPublisher,
    pseudonyms: Pseudonyms,
    sample: Callable[[str], Path],
) -> None:
    settings = make_settings(inline_max_bytes=10_000, object_max_bytes=10_000)
    with DicomAdapter(settings, Intake(publisher, pseudonyms, settings)) as adapter:
        (answer,) = Device("127.0.0.1", adapter.port).send([sample("CT_small.dcm")])
    assert answer.status is StoreStatus.TOO_LARGE
    assert "exceed" in answer.comment
    assert not publisher.facts


def test_while_the_object_store_takes_nothing_the_device_keeps_its_object(
    make_settings: Callable[..., Settings],
    publisher: MemoryPublisher,
    pseudonyms: Pseudonyms,
    sample: Callable[[str], Path],
) -> None:
    settings = make_settings(inline_max_bytes=10_000)
    place = settings.state_dir / "objects"
    place.write_text("no folder")
    with DicomAdapter(settings, Intake(publisher, pseudonyms, settings)) as adapter:
        device = Device("127.0.0.1", adapter.port)
        (answer,) = device.send([sample("CT_small.dcm")])
        assert answer.status is StoreStatus.OUT_OF_RESOURCES
        assert answer.comment == "the object store takes nothing now; keep the object"
        assert not publisher.facts
        place.unlink()
        (answer,) = device.send([sample("CT_small.dcm")])
    assert answer.status is StoreStatus.SUCCESS
    assert publisher.facts


def test_private_storage_classes_are_taken(
    device: Device, new_object: Callable[..., Dataset], written: Callable[..., bytes], tmp_path: Path
) -> None:
    (tmp_path / "csa.dcm").write_bytes(written(new_object(SOPClassUID="1.3.12.2.1107.5.9.1")))
    (answer,) = device.send([tmp_path / "csa.dcm"])
    assert answer.status is StoreStatus.SUCCESS


def test_private_transfer_syntaxes_are_taken(
    device: Device,
    new_object: Callable[..., Dataset],
    written: Callable[..., bytes],
    tmp_path: Path,
    images: Callable[[], list[ImageEvent]],
) -> None:
    content = written(new_object()).replace(b"UI\x14\x001.2.840.10008.1.2.1\0", b"UI\x14\x001.3.12.2.1107.5.9.7\0")
    (tmp_path / "private.dcm").write_bytes(content)
    (answer,) = device.send([tmp_path / "private.dcm"])
    assert answer.status is StoreStatus.SUCCESS
    assert [event.transfer_syntax_uid for event in images()] == ["1.3.12.2.1107.5.9.7"]


def test_a_transfer_syntax_that_is_known_goes_before_one_that_is_not(adapter: DicomAdapter) -> None:
    proposed = ["1.3.12.2.1107.5.9.7", JPEGLosslessSV1, ExplicitVRLittleEndian]
    association = AE().associate(
        "127.0.0.1", adapter.port, [build_context(CTImageStorage, proposed)], ae_title="RADIOLOG"
    )
    (accepted,) = association.accepted_contexts
    association.release()
    assert accepted.transfer_syntax == [JPEGLosslessSV1]


def test_more_contexts_than_one_association_has(
    device: Device, new_object: Callable[..., Dataset], written: Callable[..., bytes], tmp_path: Path
) -> None:
    paths = [tmp_path / f"{number}.dcm" for number in range(130)]
    for number, path in enumerate(paths):
        path.write_bytes(written(new_object(SOPClassUID=f"1.3.12.2.1107.5.9.1.{number}")))
    answers = list(device.send(paths))
    assert [answer.path for answer in answers] == paths
    assert {answer.status for answer in answers} == {StoreStatus.SUCCESS}


def test_several_devices_at_once(
    adapter: DicomAdapter, sample: Callable[[str], Path], images: Callable[[], list[ImageEvent]]
) -> None:
    paths, answers = [sample(name) for name in ("CT_small.dcm", "MR_small.dcm", "RG1_J2KI.dcm")], []

    def send(number: int) -> None:
        answers.extend(Device("127.0.0.1", adapter.port, f"CT_{number}").send(paths))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answer.status for answer in answers] == [StoreStatus.SUCCESS] * 18
    assert len(images()) == 18
    assert len({event.event_id for event in images()}) == 3
    assert {event.source.peer for event in images()} == {f"CT_{number}" for number in range(6)}


def test_a_wrong_called_ae_title_is_rejected(adapter: DicomAdapter) -> None:
    with pytest.raises(DeviceError, match=r"[Cc]alled AE title not recognised"):
        Device("127.0.0.1", adapter.port, called="SOMEONE").echo()


def test_only_allowed_callers_get_in(make_settings: Callable[..., Settings], intake: Intake) -> None:
    with DicomAdapter(make_settings(dicom_allowed_callers={"CT_1", "MR_1"}), intake) as adapter:
        assert Device("127.0.0.1", adapter.port, "MR_1").echo() is StoreStatus.SUCCESS
        with pytest.raises(DeviceError, match=r"[Cc]alling AE title not recognised"):
            Device("127.0.0.1", adapter.port, "CT_2").echo()


def _talkers(port: int, titles: Sequence[str]) -> list[Association]:
    context = build_context(Verification)
    return [AE(title).associate("127.0.0.1", port, [context], ae_title="RADIOLOG") for title in titles]


@pytest.mark.parametrize(
    ("limits", "titles"),
    [
        ({"dicom_associations": 3, "dicom_peer_associations": 3}, ["A", "B", "C", "D"]),
        ({"dicom_associations": 9, "dicom_peer_associations": 3}, ["A", "A", "A", "A"]),
    ],
)
def test_who_finds_all_places_taken_is_told_so(
    make_settings: Callable[..., Settings], intake: Intake, limits: dict[str, int], titles: list[str]
) -> None:
    adapter = DicomAdapter(make_settings(**limits), intake)
    adapter.start()
    *talking, last = _talkers(adapter.port, titles)
    assert [one.is_established for one in talking] == [True] * 3
    assert last.is_rejected
    answer = last.acceptor.primitive
    assert answer is not None
    assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)  # transient, local-limit-exceeded
    (stranger,) = _stranger(adapter.port)
    assert (stranger.result, stranger.result_source, stranger.diagnostic) == (1, 1, 7), "no place is a stranger's"
    talking[0].release()
    _until(lambda: _talkers(adapter.port, ["A"])[0].is_established)
    adapter.stop(seconds=0)


def _stranger(port: int) -> list[A_ASSOCIATE]:
    context = build_context(Verification)
    association = AE("A").associate("127.0.0.1", port, [context], ae_title="SOMEONE")
    assert association.is_rejected
    assert association.acceptor.primitive is not None
    return [association.acceptor.primitive]


def _until(condition: Callable[[], bool]) -> None:
    poll, deadline = threading.Event(), time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        poll.wait(0.02)


def test_connections_that_say_nothing_do_not_pile_up(make_settings: Callable[..., Settings], intake: Intake) -> None:
    settings = make_settings(dicom_associations=2, dicom_peer_associations=1)
    adapter = DicomAdapter(settings, intake)
    port = adapter.start()
    room = settings.dicom_peer_associations + SPARE_CONNECTIONS
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(room)]
        with socket.create_connection(("127.0.0.1", port), timeout=10) as one_too_many:
            assert one_too_many.recv(1) == b""
        silent[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            silent[0].recv(1)
    _until(lambda: _talkers(port, ["A"])[0].is_established)
    adapter.stop(seconds=0)


def test_who_hangs_up_without_a_word_keeps_nobody_waiting(settings: Settings, intake: Intake) -> None:
    adapter = DicomAdapter(settings, intake)
    with socket.create_connection(("127.0.0.1", adapter.start())):
        pass
    began = time.monotonic()
    adapter.stop()
    assert time.monotonic() - began < ACSE_SECONDS / 2


def test_nobody_listens(settings: Settings, intake: Intake) -> None:
    with DicomAdapter(settings, intake) as adapter:
        port = adapter.port
    with pytest.raises(DeviceError, match="is the adapter running"):
        Device("127.0.0.1", port).echo()


def test_a_port_that_is_taken(make_settings: Callable[..., Settings], intake: Intake) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = make_settings(dicom_port=taken.getsockname()[1])
        with pytest.raises(SettingsError, match="RADIOLOG_DICOM_PORT"):
            DicomAdapter(settings, intake).start()


def test_stop_lets_a_running_association_end(
    settings: Settings, intake: Intake, images: Callable[[], list[ImageEvent]], sample: Callable[[str], Path]
) -> None:
    adapter = DicomAdapter(settings, intake)
    adapter.start()
    sending = Device("127.0.0.1", adapter.port).send([sample("CT_small.dcm"), sample("MR_small.dcm")])
    assert next(sending).status is StoreStatus.SUCCESS
    stopping = threading.Thread(target=adapter.stop)
    stopping.start()
    assert [answer.status for answer in sending] == [StoreStatus.SUCCESS]
    stopping.join(10)
    assert not stopping.is_alive()
    assert len(images()) == 2


def test_stop_aborts_who_does_not_end(settings: Settings, intake: Intake) -> None:
    adapter = DicomAdapter(settings, intake)
    port = adapter.start()
    idle = AE("IDLE").associate("127.0.0.1", port, [build_context(Verification)], ae_title="RADIOLOG")
    assert idle.is_established
    adapter.stop(seconds=0.1)
    idle.join(10)
    assert idle.is_aborted
    adapter.stop()  # a second time changes nothing


def test_no_identifier_is_logged(
    adapter: DicomAdapter,
    sample: Callable[[str], Path],
    new_object: Callable[..., Dataset],
    written: Callable[..., bytes],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    """Everything that any logger says at DEBUG, what is printed, and every warning."""
    planted = new_object(
        PatientName="Kowalska^Ewa", PatientID="MRN-90210", AccessionNumber="ACC-778899", StudyTime="Kowalska"
    )
    bad_date = written(planted)
    (tmp_path / "Kowalska.dcm").write_bytes(bad_date)
    (tmp_path / "Kowalska cut.dcm").write_bytes(bad_date[:-4])
    files = [tmp_path / "Kowalska.dcm", tmp_path / "Kowalska cut.dcm", sample("RG1_UNCR.dcm")]
    said, root = StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(said), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        list(Device("127.0.0.1", adapter.port, "CT_1").send(files))
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    printed = capsys.readouterr()
    everything = said.getvalue() + printed.out + printed.err + "".join(str(warning.message) for warning in recwarn)
    assert "CT_1" in everything
    real = dcmread(files[2], stop_before_pixels=True)
    identifiers = [str(real.PatientName), real.PatientID, real.StudyInstanceUID, real.SOPInstanceUID]
    for secret in [*identifiers, "Kowalska", "MRN-90210", "ACC-778899", planted.SOPInstanceUID]:
        assert secret
        assert str(secret) not in everything


def test_the_file_is_sent_untouched(
    device: Device, tmp_path: Path, new_object: Callable[..., Dataset], written: Callable[..., bytes]
) -> None:
    content = written(new_object(), ExplicitVRLittleEndian)
    (tmp_path / "bare.dcm").write_bytes(part10.parse(content).dataset)
    (tmp_path / "whole.dcm").write_bytes(content)
    bare, whole = device.send([tmp_path / "bare.dcm", tmp_path / "whole.dcm"])
    assert bare.status is whole.status is StoreStatus.SUCCESS
    assert bare.event_id == whole.event_id


def test_it_tells_that_it_accepts_for_as_long_as_it_does(settings: Settings, intake: Intake) -> None:
    rounds = threading.Semaphore(0)
    adapter = DicomAdapter(settings, intake, rounds.release)
    with adapter:
        assert all(rounds.acquire(timeout=10) for _ in range(3))
    while rounds.acquire(blocking=False):
        pass
    assert not rounds.acquire(timeout=0.5)
