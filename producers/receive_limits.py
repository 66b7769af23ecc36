"""How much of what a peer sends is held in memory: one PDU, and one message (PS3.8 section 9.3.5, PS3.7 section 9.3).

pynetdicom reads a PDU of any declared length, and puts the fragments of a message together however many there are.
"""

from io import BytesIO
from typing import Final, cast

from pynetdicom import evt
from pynetdicom.transport import AssociationSocket

from producers.association import MAX_PDU_BYTES

#: Some devices write somewhat larger PDUs than the acceptor asks for; a request for 128 contexts is far smaller, too.
MAX_READ_BYTES: Final = 4 * MAX_PDU_BYTES
#: A command holds a few UIDs.
MAX_COMMAND_BYTES: Final = 64 * 1024
#: A device waits for each answer (PS3.7 section 9.1.1.3 has it negotiate otherwise, which is not offered).
MAX_WAITING_MESSAGES: Final = 2


class OversizedPdu(OSError):
    """A peer announced a PDU that is not worth reading; to pynetdicom the connection is as good as lost."""


def bound_pdu(event: evt.Event) -> None:
    """Close the connection before a PDU of more than `MAX_READ_BYTES` is read; for EVT_CONN_OPEN."""
    connection = cast(AssociationSocket, event.assoc.dul.socket)
    receive = connection.recv

    def bounded(nr_bytes: int) -> bytearray:
        if nr_bytes > MAX_READ_BYTES:
            connection.close()
            raise OversizedPdu(f"a PDU of {nr_bytes} bytes was announced, {MAX_PDU_BYTES} are allowed")
        return receive(nr_bytes)

    connection.recv = bounded  # type: ignore[method-assign]


def bound_message(event: evt.Event, max_bytes: int) -> None:
    """Hold at most `max_bytes` of a data set, and the PDU beyond that shows its excess; for EVT_PDU_RECV.

    The rest of the data set is read and dropped, so that the device gets a proper answer, that it is too large. A peer
    that sends endless commands, or does not wait for answers, is no device: its association is aborted.
    """
    dimse = event.assoc.dimse
    if dimse.msg_queue.qsize() > MAX_WAITING_MESSAGES:
        event.assoc.abort()
    message = dimse.message
    if message is None:
        return
    if message.encoded_command_set.tell() > MAX_COMMAND_BYTES:
        event.assoc.abort()
    data_set = cast(BytesIO, message.data_set)
    if data_set.tell() > max_bytes + 1:
        data_set.seek(max_bytes + 1)
        data_set.truncate()
