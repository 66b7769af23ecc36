"""Takes requests on: what an acceptor answers to N-ACTION (PS3.4 section J.3.2, PS3.7 section 10.1.4)."""

from collections.abc import Callable
from typing import Final, cast

import structlog
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import N_ACTION
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance  # type: ignore

from producers.commitment.journal import Journal
from producers.commitment.request import MAX_BYTES, CommitmentRequest, Declined
from producers.commitment.statuses import ActionStatus
from producers.values import plain
from radiolog.settings import Settings

REQUEST_STORAGE_COMMITMENT: Final = 1
"""The one Action Type ID (PS3.4 table J.3-1)."""

log = structlog.get_logger()


class Acceptance:
    """Writes the requests of devices that can be told into the journal.

    Args:
        settings: Who can be told.
        is_refused: Whether what an association sent was dropped, since too much was sent at once.
        release: Called when a request has been dealt with.
    """

    def __init__(
        self, settings: Settings, is_refused: Callable[[Association], bool], release: Callable[[Association], None]
    ) -> None:
        self._peers = settings.dicom_peers
        self._journal = Journal(settings.state_dir)
        self._is_refused = is_refused
        self._release = release

    def on_action(self, event: evt.Event) -> tuple[Dataset, None]:
        """Answers a request; for EVT_N_ACTION."""
        peer = str(event.assoc.requestor.ae_title).strip()
        try:
            if self._is_refused(event.assoc):
                raise Declined(ActionStatus.RESOURCE_LIMITATION, "too much is being sent at once; ask again")
            request = self._requested(event, peer)
            self._journal.add(request)
        except Declined as error:
            return self._declined(peer, error.status, str(error))
        except Exception as error:
            # A fault of the file, or of ours. Its message might quote the request, so only its kind is told.
            problem = f"the request could not be kept ({type(error).__name__}); ask again"
            return self._declined(peer, ActionStatus.PROCESSING_FAILURE, problem)
        finally:
            self._release(event.assoc)
        log.info("commitment requested", peer=plain(peer), objects=len(request.objects))
        return ActionStatus.SUCCESS.response(), None

    def _requested(self, event: evt.Event, peer: str) -> CommitmentRequest:
        action = cast(N_ACTION, event.request)
        if peer not in self._peers:
            raise Declined(ActionStatus.NOT_AUTHORISED, "no address to report to: add it to RADIOLOG_DICOM_PEERS")
        if action.RequestedSOPInstanceUID != StorageCommitmentPushModelInstance:
            raise Declined(ActionStatus.NO_SUCH_SOP_INSTANCE, "the SOP instance is not that of the Push Model")
        if action.ActionTypeID != REQUEST_STORAGE_COMMITMENT:
            raise Declined(ActionStatus.NO_SUCH_ACTION, "the one Action Type ID is 1")
        if action.ActionInformation is not None and len(action.ActionInformation.getbuffer()) > MAX_BYTES:
            raise Declined(ActionStatus.RESOURCE_LIMITATION, f"more than {MAX_BYTES} bytes: ask about fewer objects")
        return CommitmentRequest.of(peer, _information(event))

    def _declined(self, peer: str, status: ActionStatus, comment: str) -> tuple[Dataset, None]:
        log.warning("commitment declined", peer=plain(peer), status=f"0x{status:04X}", reason=comment)
        return status.response(comment), None


def context() -> PresentationContext:
    """What both ends negotiate; a new one each time, since pynetdicom writes the roles of an association into it.

    No deflated syntax: what comes in one would be inflated before anybody looks at its size.
    """
    return build_context(StorageCommitmentPushModel, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])


def _information(event: evt.Event) -> Dataset:
    """Action Information, parsed.

    Raises:
        Declined: it is none.
    """
    try:
        return event.action_information
    except Exception as error:  # pydicom raises whatever the bytes lead it to
        raise Declined(
            ActionStatus.INVALID_ARGUMENT_VALUE, f"the Action Information cannot be read ({type(error).__name__})"
        ) from None
