import socket
import struct
import threading
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian
from pynetdicom import AE, build_context
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.transport import AssociationSocket
from structlog.testing import capture_logs

from producers.association import MAX_PDU_BYTES
from producers.device import Device
from producers.dicom_scp import DicomAdapter
from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from producers.receive_limits import MAX_READ_BYTES
from producers.statuses import StoreStatus
from radiolog.log.publisher import Fact, MemoryPublisher
from radiolog.settings import Settings


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
            association.dimse.send_msg(_request(number, written(new_object())), context_id)
        association.join(10)
        assert association.is_aborted
        publisher.release.set()


def _request(number: int, content: bytes) -> C_STORE:
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
