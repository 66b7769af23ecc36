import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.transport import AssociationSocket
from structlog.testing import capture_logs

from producers import upper_layer
from producers.association import MAX_PDU_BYTES
from producers.device import Device
from producers.dicom_scp import DicomAdapter
from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from producers.statuses import StoreStatus
from producers.upper_layer import MAX_READ_BYTES
from radiolog.log.publisher import Fact, MemoryPublisher
from radiolog.settings import Settings
from tests.hostile.pdus import CONTEXT
from tests.hostile.wire import ABORT, COMMAND, DATA, RQ, Closed, Wire, fragments, pdu, with_length


def test_of_an_object_that_is_too_large_only_the_limit_is_held(
    make_settings: Callable[..., Settings],
    publisher: MemoryPublisher,
    pseudonyms: Pseudonyms,
    new_object: Callable[..., Dataset],
    written: Callable[..., bytes],
    sample: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    settings = make_settings(inline_max_bytes=100_000, object_max_bytes=100_000)
    intake = Intake(publisher, pseudonyms, settings)
    (tmp_path / "large.dcm").write_bytes(written(new_object(PixelData=bytes(2 * intake.max_received_bytes))))
    with DicomAdapter(settings, intake) as adapter, capture_logs() as logs:
        large, small = Device("127.0.0.1", adapter.port).send([tmp_path / "large.dcm", sample("CT_small.dcm")])
    assert large.status is StoreStatus.TOO_LARGE
    assert str(intake.max_received_bytes) in large.comment
    assert small.status is StoreStatus.SUCCESS, "the association goes on"
    (held,) = [entry["received_bytes"] for entry in logs if entry["event"] == "object refused"]
    assert intake.max_received_bytes < held <= intake.max_received_bytes + 2 * MAX_PDU_BYTES


def test_what_devices_send_at_once_is_bounded(
    make_settings: Callable[..., Settings],
    pseudonyms: Pseudonyms,
    new_object: Callable[..., Dataset],
    written: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    """While one object is being stored, a second does not fit; once the first is dealt with, it does."""

    class Stuck(MemoryPublisher):
        entered, release = threading.Event(), threading.Event()

        def publish(self, facts: Sequence[Fact]) -> None:
            self.entered.set()
            assert self.release.wait(30)
            super().publish(facts)

    publisher, settings = Stuck(), make_settings(receive_max_bytes=3_000_000)
    for name in ("first", "second"):
        (tmp_path / name).write_bytes(written(new_object(PixelData=bytes(2_000_000), Rows=1000, Columns=2000)))
    with DicomAdapter(settings, Intake(publisher, pseudonyms, settings)) as adapter, capture_logs() as logs:
        device, answers = Device("127.0.0.1", adapter.port), []
        sending = threading.Thread(target=lambda: answers.extend(device.send([tmp_path / "first"])))
        sending.start()
        assert publisher.entered.wait(30)
        (second,) = device.send([tmp_path / "second"])
        assert second.status is StoreStatus.OUT_OF_RESOURCES
        assert "at once" in second.comment
        publisher.release.set()
        sending.join(30)
        again = list(device.send([tmp_path / "second", tmp_path / "first"]))
    assert [answer.status for answer in [*answers, *again]] == [StoreStatus.SUCCESS] * 3
    (held,) = [entry["received_bytes"] for entry in logs if entry["event"] == "object refused"]
    assert held <= 2 * MAX_PDU_BYTES


def test_a_device_that_breaks_off_leaves_room_for_others(
    make_settings: Callable[..., Settings],
    publisher: MemoryPublisher,
    pseudonyms: Pseudonyms,
    new_object: Callable[..., Dataset],
    written: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    settings = make_settings(receive_max_bytes=3_000_000)
    whole = written(new_object(PixelData=bytes(2_000_000), Rows=1000, Columns=2000))
    (tmp_path / "whole").write_bytes(whole)
    with DicomAdapter(settings, Intake(publisher, pseudonyms, settings)) as adapter:
        association, context_id = _talker(adapter)
        message = C_STORE_RQ()
        message.primitive_to_message(request_of(1, whole))
        *most, _ = message.encode_msg(context_id, MAX_PDU_BYTES)
        for part in most:
            association.dul.send_pdu(part)
        device = Device("127.0.0.1", adapter.port)
        send_until(device, tmp_path / "whole", StoreStatus.OUT_OF_RESOURCES)
        association.abort()
        send_until(device, tmp_path / "whole", StoreStatus.SUCCESS)


def test_a_pdu_that_announces_too_much_is_not_read(settings: Settings, intake: Intake) -> None:
    adapter = DicomAdapter(settings, intake)
    adapter.start()
    with socket.create_connection(("127.0.0.1", adapter.port), timeout=10) as peer:
        peer.sendall(struct.pack(">BBL", 1, 0, MAX_READ_BYTES + 1))
        assert peer.recv(16) == b""
    adapter.stop(seconds=0)  # pynetdicom waits for a request for some time yet


def test_nor_within_an_association(adapter: DicomAdapter) -> None:
    association, _ = _talker(adapter)
    _socket_of(association).send(struct.pack(">BBL", 4, 0, MAX_READ_BYTES + 1))
    association.join(10)
    assert association.is_aborted


def test_who_does_not_wait_for_answers_is_no_device(
    settings: Settings, pseudonyms: Pseudonyms, new_object: Callable[..., Dataset], written: Callable[..., bytes]
) -> None:
    class Stuck(MemoryPublisher):
        release = threading.Event()

        def publish(self, facts: Sequence[Fact]) -> None:
            assert self.release.wait(10)

    publisher = Stuck()
    with DicomAdapter(settings, Intake(publisher, pseudonyms, settings)) as adapter:
        association, context_id = _talker(adapter)
        for number in range(1, 20):
            association.dimse.send_msg(request_of(number, written(new_object())), context_id)
        association.join(10)
        assert association.is_aborted
        publisher.release.set()


def send_until(device: Device, path: Path, status: StoreStatus) -> None:
    poll = threading.Event()
    for _ in range(200):
        (answer,) = device.send([path])
        if answer.status is status:
            return
        poll.wait(0.05)
    raise AssertionError(f"the answer stays {answer.status!r}")


def request_of(number: int, content: bytes) -> C_STORE:
    request = C_STORE()
    request.MessageID = number
    request.AffectedSOPClassUID = ComputedRadiographyImageStorage
    request.AffectedSOPInstanceUID = "1.2.3"
    request.Priority = 0
    request.DataSet = BytesIO(content)
    return request


def test_an_endless_command_is_cut_off(adapter: DicomAdapter) -> None:
    association, context_id = _talker(adapter)
    fragment = bytes([context_id, 1]) + bytes(30_000)  # a command, and not its end
    item = struct.pack(">L", len(fragment)) + fragment
    for _ in range(6):
        _socket_of(association).send(struct.pack(">BBL", 4, 0, len(item)) + item)
    association.join(10)
    assert association.is_aborted


def _talker(adapter: DicomAdapter) -> tuple[Association, int]:
    """An established association, and the ID of its presentation context."""
    context = build_context(ComputedRadiographyImageStorage, ExplicitVRLittleEndian)
    association = AE("TALKER").associate("127.0.0.1", adapter.port, [context], ae_title="RADIOLOG")
    assert association.is_established
    (accepted,) = association.accepted_contexts
    assert accepted.context_id is not None
    return association, accepted.context_id


def _socket_of(association: Association) -> AssociationSocket:
    assert association.dul.socket is not None
    return association.dul.socket


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(struct.pack("<HH", 1, 1), id="two command fields"),
        pytest.param(struct.pack("<H", 0x7777), id="an unknown command"),
        pytest.param(b"", id="no command"),
    ],
)
def test_a_command_set_that_lies_ends_its_association(adapter: DicomAdapter, values: bytes) -> None:
    """The peer is told, and does not hang; that no thread fails is what pytest looks after."""
    with Wire(adapter.port) as wire, capture_logs() as logs:
        assert wire.associate(CONTEXT)
        wire.send(b"".join(fragments(1, with_length(COMMAND.element(0x00000100, "US", values)), 1)))
        assert wire.read()[0] == ABORT
        with pytest.raises(Closed):
            wire.read()
    assert [entry["event"] for entry in logs] == ["association broken off"]


@pytest.mark.parametrize("associated", [False, True])
def test_a_pdu_that_trickles(associated: bool, adapter: DicomAdapter, monkeypatch: pytest.MonkeyPatch) -> None:
    """However steadily: what counts is the whole of it."""
    for name in ("ACSE_SECONDS", "NETWORK_SECONDS"):
        monkeypatch.setattr(upper_layer, name, 1.0)
    with Wire(adapter.port) as wire:
        if associated:
            assert wire.associate(CONTEXT)
        began = time.monotonic()
        wire.connection.settimeout(0.05)
        for byte in pdu(DATA if associated else RQ, bytes(1000)):
            try:
                wire.send(bytes([byte]))
                wire.read()
            except TimeoutError:
                continue
            except Closed:
                break
        assert time.monotonic() - began < 15, "the connection is ended long before the PDU has come"
