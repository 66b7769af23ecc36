"""The DICOM adapter: a Storage SCP (PS3.4 Annex B) and Verification SCP (Annex A) in front of the log.

Success (0x0000) is answered only after the broker has acknowledged the object. Until then, and whenever it does not,
the sending device keeps its copy.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import cast

import structlog
from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import VerificationPresentationContexts, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext

from producers import receive_limits, transport_security
from producers.association import application_entity
from producers.commitment.acceptance import Acceptance, context
from producers.dicom_server import DicomServer
from producers.errors import BrokenObject
from producers.intake import Intake, ReceivedObject
from producers.occupancy import Limits
from producers.post import Post
from producers.refusal import TooMuchAtOnce, refusal
from producers.statuses import StoreStatus
from producers.upper_layer import AcceptedAssociation
from producers.values import plain
from radiolog.settings import Settings
from schemas.events import ImageSource, SourceKind

STOP_SECONDS = 20.0
POLL_SECONDS = 0.1
#: Rejected-transient, by the presentation related function of the service-provider, local-limit-exceeded.
LOCAL_LIMIT_EXCEEDED = (0x02, 0x03, 0x02)

log = structlog.get_logger()


class DicomAdapter:
    """Listens for devices and puts what they send on the log."""

    def __init__(
        self,
        settings: Settings,
        intake: Intake,
        on_round: Callable[[], None] = lambda: None,
        post: Post | None = None,
    ) -> None:
        """Prepares the adapter; nothing is accepted before `start`.

        Args:
            settings: Where to listen, and for whom.
            intake: What becomes of an object.
            on_round: Called several times a second for as long as new associations can be accepted.
            post: Which of several acceptors this is; None for the only one, which listens by itself.

        Raises:
            SettingsError: the port would be open to a network that nothing protects.
        """
        self._settings = settings
        self._intake = intake
        self._on_round = on_round
        self._post = post
        self._security = transport_security.server_context(settings)
        self._entity = application_entity(settings.dicom_ae_title)
        self._entity.require_called_aet = True
        self._entity.require_calling_aet = sorted(settings.dicom_allowed_callers)
        # Storage needs no list: every class is taken, in the first transfer syntax that the device proposes for it.
        self._entity.supported_contexts = VerificationPresentationContexts + self._commitment_contexts
        # `_on_requested` counts, for pynetdicom knows of one process alone.
        self._entity.maximum_associations = Limits.of(settings).connections
        self._server: DicomServer | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Begin to listen; returns the port, which the system chose if the settings say 0.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        post = self._post or Post.alone(self._settings)
        memory = receive_limits.Memory(self._settings.receive_max_bytes, post.occupancy)
        server = DicomServer(
            post.listener,
            post.occupancy,
            self._entity,
            self._security,
            [
                (evt.EVT_REQUESTED, self._on_requested),
                (evt.EVT_PDU_RECV, receive_limits.bound_message, [self._intake.max_received_bytes]),
                (evt.EVT_PDU_RECV, memory.hold),
                (evt.EVT_CONN_CLOSE, memory.forget),
                (evt.EVT_C_STORE, self._on_store, [memory]),
                (evt.EVT_C_ECHO, _on_echo),
                *self._commitment_handlers(memory),
            ],
            self._on_round,
        )
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever, args=(POLL_SECONDS,), name="dicom-server", daemon=True
        )
        self._thread.start()
        port = self.port
        log.info("listening", ae_title=self._settings.dicom_ae_title, port=port, tls=self._security is not None)
        return port

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """Accept nobody new, let running associations end within `seconds`, then abort what is left."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        deadline = time.monotonic() + seconds
        while (running := self._server.active_associations) and time.monotonic() < deadline:
            for association in running:
                if association.ident is not None:  # not before its thread has begun
                    association.join(max(0.0, deadline - time.monotonic()))
        for association in self._server.active_associations:
            association.abort()
        self._server = self._thread = None

    def __enter__(self) -> "DicomAdapter":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The port listened on; 0 before `start` and after `stop`."""
        return int(self._server.server_address[1]) if self._server is not None else 0

    @property
    def _commitment_contexts(self) -> list[PresentationContext]:
        """Storage commitment is there for who can be told of it (`producers.commitment`)."""
        return [context()] if self._settings.dicom_peers else []

    def _commitment_handlers(self, memory: receive_limits.Memory) -> list[evt.EventHandlerType]:
        if not self._settings.dicom_peers:
            return []
        return [(evt.EVT_N_ACTION, Acceptance(self._settings, memory.is_refused, memory.release).on_action)]

    def _on_requested(self, event: evt.Event) -> None:
        """Turns away who finds all places taken (PS3.8 section 9.3.4); strangers are left to pynetdicom's answer."""
        association = cast(AcceptedAssociation, event.assoc)
        request = cast(A_ASSOCIATE, association.requestor.primitive)
        called, calling = request.called_ae_title.strip(), request.calling_ae_title.strip()
        allowed = self._settings.dicom_allowed_callers
        if called != self._settings.dicom_ae_title.strip() or (allowed and calling not in allowed):
            return
        if not association.admit(calling):
            log.warning("association rejected", peer=plain(calling), cause="the limit of associations is reached")
            association.acse.send_reject(*LOCAL_LIMIT_EXCEEDED)
            association.kill()
            return
        for proposed in request.presentation_context_definition_list:
            # The first one is accepted: not one that no decoder knows, if another is proposed.
            proposed.transfer_syntax = sorted(proposed.transfer_syntax, key=_is_unknown)

    def _on_store(self, event: evt.Event, memory: receive_limits.Memory) -> Dataset:
        peer = plain(str(event.assoc.requestor.ae_title))
        dataset = _dataset(event)
        try:
            if memory.is_refused(event.assoc):
                raise TooMuchAtOnce
            self._store(event, dataset, peer)
        except Exception as error:
            status, comment = refusal(error)
            size = len(dataset)
            log.warning("object refused", peer=peer, status=f"0x{status:04X}", reason=comment, received_bytes=size)
            return status.response(comment)
        finally:
            memory.release(event.assoc)
        return StoreStatus.SUCCESS.response()

    def _store(self, event: evt.Event, dataset: bytes, peer: str) -> None:
        if not dataset:
            raise BrokenObject("the request carries no data set")
        received = ReceivedObject(
            dataset=dataset,
            transfer_syntax=str(event.context.transfer_syntax),
            source=ImageSource(kind=SourceKind.C_STORE, peer=peer, adapter=self._settings.dicom_ae_title),
            received_at=datetime.now(UTC),
            sop_class=str(cast(C_STORE, event.request).AffectedSOPClassUID),
        )
        self._intake.accept(received)


def _dataset(event: evt.Event) -> bytes:
    """The data set as it came in: the very buffer that its fragments were written to, not a copy."""
    stream = cast(C_STORE, event.request).DataSet
    return stream.getvalue() if stream is not None else b""


def _is_unknown(transfer_syntax: str | bytes) -> bool:
    return not UID(str(transfer_syntax)).is_transfer_syntax


def _on_echo(_event: evt.Event) -> int:
    return StoreStatus.SUCCESS
