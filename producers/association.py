"""What both ends of an association share: limits, timeouts, and how pynetdicom is set up in this process."""

from typing import Final

from pynetdicom import AE, _config

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
