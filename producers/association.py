"""What both ends of an association share: limits, timeouts, and how pynetdicom is set up in this process."""

import threading
from typing import Final

from pynetdicom import AE, _config
from pynetdicom.association import Association

from producers.implementation import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION

MAX_PDU_BYTES: Final = 256 * 1024
ACSE_SECONDS: Final = 15.0
DIMSE_SECONDS: Final = 60.0
NETWORK_SECONDS: Final = 60.0

# pynetdicom's standard event log prints data sets and UIDs of requests; it stays off.
_config.LOG_HANDLER_LEVEL = "none"
_config.LOG_REQUEST_IDENTIFIERS = False
_config.LOG_RESPONSE_IDENTIFIERS = False
# Private and future storage classes are taken too: whether there is an image in them is decided downstream.
_config.UNRESTRICTED_STORAGE_SERVICE = True
# Files are sent as they stand, without being decoded and encoded again.
_config.STORE_SEND_CHUNKED_DATASET = True


def application_entity(ae_title: str) -> AE:
    """An application entity with this process's limits."""
    entity = AE(ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION
    entity.maximum_pdu_size = MAX_PDU_BYTES
    entity.acse_timeout = ACSE_SECONDS
    entity.dimse_timeout = DIMSE_SECONDS
    entity.network_timeout = NETWORK_SECONDS
    return entity


class Checkpoint(threading.Event):
    """Where the thread of an association stands still while somebody waits for an answer in its place.

    pynetdicom's own lets the thread past in the moment between being opened and saying so: whoever closes it just then
    believes that the thread stands still, and it takes the answer off the queue ("unexpected C-STORE service message").
    """

    def __init__(self, association: Association) -> None:
        super().__init__()
        self._association = association
        self.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Comes back once it is open, and is known to have come back."""
        while True:
            super().wait(timeout)
            self._association._is_paused = False
            if self.is_set():
                return True
            self._association._is_paused = True
