"""The sending side, a device: C-ECHO and C-STORE over real associations, with the bytes exactly as they stand in files.

It sends broken objects too, as devices do.
"""

import hashlib
import socket
import ssl
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from pydicom import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, ImplicitVRLittleEndian, generate_uid
from pynetdicom import VerificationPresentationContexts, build_context, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext

from producers import dicom_object, part10
from producers.association import Checkpoint, application_entity
from producers.errors import Refused
from producers.statuses import StoreStatus
from producers.values import text_of
from schemas.events import image_event_id

MAX_CONTEXTS = 128


class DeviceError(Exception):
    """No association could be made, or it broke off; the message says what to look at."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one file.

    Attributes:
        path: the file.
        status: the answer; None if the association broke off before one came, when the outcome is unknown.
        comment: Error Comment (0000,0902) of the answer.
        event_id: the id that the object has on the log, where it was stored.
        seconds: from the request to its answer, or to the end of the association.
    """

    path: Path
    status: StoreStatus | None
    comment: str
    event_id: UUID
    seconds: float


@dataclass(frozen=True, slots=True)
class _Parcel:
    """A file to send, and a Part 10 file with the same data set, which is what pynetdicom sends unread."""

    path: Path
    part10: Path
    sop_class: str
    transfer_syntax: str
    event_id: UUID


class Device:
    """A device that sends to one application entity."""

    def __init__(
        self,
        host: str,
        port: int,
        ae_title: str = "DEVICE",
        called: str = "RADIOLOG",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._called = called
        self._tls = tls
        self._entity = application_entity(ae_title)

    def echo(self) -> StoreStatus:
        """Verify the connection (C-ECHO, PS3.4 Annex A).

        Raises:
            DeviceError: no association, or no answer.
        """
        with self._association(VerificationPresentationContexts) as association:
            answer = association.send_c_echo()
            if "Status" not in answer:
                raise DeviceError(f"{self._peer} does not answer to C-ECHO")
            return StoreStatus(answer.Status)

    def send(self, paths: Iterable[Path]) -> Generator[Sent, None, None]:
        """Send files, and yield what became of each as soon as it is answered.

        A file that does not say what it is goes as a Computed Radiography image, its transfer syntax guessed.

        Raises:
            DeviceError: no association.
        """
        with TemporaryDirectory(prefix="radiolog-device-") as folder:
            parcels = [_parcel(path, Path(folder) / f"{number}.dcm") for number, path in enumerate(paths)]
            for batch in _batches(parcels):
                yield from self._send_batch(batch)

    def _send_batch(self, parcels: Sequence[_Parcel]) -> Iterator[Sent]:
        contexts = list(dict.fromkeys((parcel.sop_class, parcel.transfer_syntax) for parcel in parcels))
        with self._association([build_context(*context) for context in contexts]) as association:
            for parcel in parcels:
                began = time.monotonic()
                status, comment = _store(association, parcel)
                yield Sent(parcel.path, status, comment, parcel.event_id, time.monotonic() - began)

    @contextmanager
    def _association(self, contexts: Sequence[PresentationContext]) -> Iterator[Association]:
        association = self._entity.associate(
            self._host,
            self._port,
            contexts=list(contexts),
            ae_title=self._called,
            evt_handlers=[(evt.EVT_CONN_OPEN, _send_at_once)],
            tls_args=(self._tls, self._host) if self._tls is not None else None,
        )
        if not association.is_established:
            raise DeviceError(self._why_not(association))
        association._reactor_checkpoint = Checkpoint(association)
        try:
            yield association
        finally:
            if association.is_established:
                association.release()

    def _why_not(self, association: Association) -> str:
        answer = association.acceptor.primitive
        if association.is_rejected and answer is not None:
            return f"{self._peer} rejects the association: {answer.reason_str}"
        return f"{self._peer} cannot be reached, or breaks off: is the adapter running, and does it speak TLS or not?"

    @property
    def _peer(self) -> str:
        return f"{self._called} at {self._host}:{self._port}"


def _send_at_once(event: evt.Event) -> None:
    """Without this, the data set of each request waits about 40 ms for the acknowledgement of its command (RFC 896)."""
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _parcel(path: Path, spare: Path) -> _Parcel:
    """The file itself if it is complete, else a copy at `spare` with file meta information before the same bytes."""
    content = path.read_bytes()
    try:
        file = part10.parse(content)
    except Refused:
        file = part10.Part10(content, ImplicitVRLittleEndian, None, None, False)
    event_id = image_event_id(hashlib.sha256(file.dataset).digest())
    if file.has_preamble and file.sop_class and file.sop_instance:
        return _Parcel(path, path, file.sop_class, file.transfer_syntax, event_id)
    identity = _announced(file)
    spare.write_bytes(dicom_object.part10_head(identity, file.transfer_syntax) + file.dataset)
    return _Parcel(path, spare, identity.SOPClassUID, file.transfer_syntax, event_id)


def _announced(file: part10.Part10) -> Dataset:
    """The SOP Class and SOP Instance UID that the C-STORE request will name."""
    try:
        header = dicom_object.split(file.dataset, file.transfer_syntax, len(file.dataset)).header
    except Refused:
        header = Dataset()
    identity = Dataset()
    identity.SOPClassUID = text_of(header, "SOPClassUID") or file.sop_class or ComputedRadiographyImageStorage
    identity.SOPInstanceUID = text_of(header, "SOPInstanceUID") or file.sop_instance or generate_uid(prefix=None)
    return identity


def _batches(parcels: Sequence[_Parcel]) -> Iterator[list[_Parcel]]:
    """Parcels in order, split where an association would need more than 128 presentation contexts (PS3.8 9.3.2.2)."""
    batch: list[_Parcel] = []
    contexts: set[tuple[str, str]] = set()
    for parcel in parcels:
        context = (parcel.sop_class, parcel.transfer_syntax)
        if context not in contexts and len(contexts) == MAX_CONTEXTS:
            yield batch
            batch, contexts = [], set()
        batch.append(parcel)
        contexts.add(context)
    if batch:
        yield batch


def _store(association: Association, parcel: _Parcel) -> tuple[StoreStatus | None, str]:
    if not association.is_established:
        return None, "the association broke off"
    try:
        answer = association.send_c_store(parcel.part10)
    except ValueError:
        return StoreStatus.SOP_CLASS_NOT_SUPPORTED, "the peer takes no such object in this transfer syntax"
    if "Status" not in answer:
        return None, "the association broke off"
    return StoreStatus(answer.Status), str(answer.get("ErrorComment") or "")
