"""The receiving end of an association: pynetdicom's upper layer (PS3.8 section 9), made to wait instead of to poll.

pynetdicom looks for work a thousand times a second, in two threads an association, reads 4 KiB at a time and copies
each fragment five times over; a few associations at once then take all of the interpreter's time. Here both threads
sleep until there is something to do, a PDU is read into one buffer, and its fragments are slices of that.
"""

import queue
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, cast

import structlog
from pynetdicom import AE, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ABORT_RQ, P_DATA_TF
from pynetdicom.pdu_items import PresentationDataValueItem
from pynetdicom.transport import AssociationSocket

from producers.association import ACSE_SECONDS, MAX_PDU_BYTES, NETWORK_SECONDS

#: Some devices write somewhat larger PDUs than the acceptor asks for; a request for 128 contexts is far smaller, too.
MAX_READ_BYTES: Final = 4 * MAX_PDU_BYTES
#: How long a thread sleeps when nobody wakes it: then it looks at timers.
LOOK_SECONDS: Final = 0.25

_QUICK_ACK: Final = getattr(socket, "TCP_QUICKACK", None)
"""Linux has it."""
_P_DATA_TF: Final = 0x04
_SERVICE_PROVIDER, _INVALID_PARAMETER = 0x02, 0x06
_AWAITING_REQUEST, _CLOSING = "Sta2", "Sta13"
"""States of PS3.8 section 9.2.1."""


log = structlog.get_logger()


class OversizedPdu(OSError):
    """A peer announced a PDU that is not worth reading; to pynetdicom the connection is as good as lost."""


def bound_waits(connection: socket.socket) -> None:
    """Has the system end each wait after a time, where Python's own timeout would have it poll."""
    for option, seconds in ((socket.SO_RCVTIMEO, ACSE_SECONDS), (socket.SO_SNDTIMEO, NETWORK_SECONDS)):
        connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(seconds), 0))
    connection.settimeout(None)


class ReceivingSocket(AssociationSocket):
    """Reads a PDU at once, if it is of a size and a pace that a device's may be."""

    def recv(self, nr_bytes: int) -> bytearray:
        """So many bytes, or fewer where the peer closes the connection.

        Raises:
            OversizedPdu: more than `MAX_READ_BYTES` were announced; the connection is closed.
            TimeoutError: they do not come in time, however steadily they trickle.
        """
        if nr_bytes > MAX_READ_BYTES:
            self.close()
            raise OversizedPdu(f"a PDU of {nr_bytes} bytes was announced, {MAX_PDU_BYTES} are allowed")
        self._acknowledge_at_once()
        buffer, filled = bytearray(nr_bytes), 0
        deadline = time.monotonic() + self._patience
        with memoryview(buffer) as view:
            while filled < nr_bytes and (read := self._read(view[filled:])):
                filled += max(0, read)
                if filled < nr_bytes and time.monotonic() > deadline:
                    raise TimeoutError("the PDU does not come in time")
        return buffer if filled == nr_bytes else buffer[:filled]

    def _acknowledge_at_once(self) -> None:
        """Has the system send the next acknowledgement now, which it would put off by 40 ms (RFC 1122, 4.2.3.2).

        Many devices wait for it with the end of what they send, as RFC 896 asks; Linux forgets it after a while.
        """
        if _QUICK_ACK is not None:
            cast(socket.socket, self.socket).setsockopt(socket.IPPROTO_TCP, _QUICK_ACK, 1)

    def _read(self, into: memoryview) -> int:
        """How many bytes have come, 0 at the end of the connection, -1 if there are none yet."""
        connection = cast(socket.socket, self.socket)
        if isinstance(connection, ssl.SSLSocket):
            return connection.recv_into(into)
        try:
            # The system puts the bytes together: each call would be a wait for the interpreter's lock.
            return connection.recv_into(into, 0, socket.MSG_WAITALL)
        except BlockingIOError:
            return -1

    @property
    def _patience(self) -> float:
        """Seconds for one PDU."""
        waiting = self.assoc.dul.state_machine.current_state == _AWAITING_REQUEST
        return ACSE_SECONDS if waiting else NETWORK_SECONDS


class UpperLayer(DULServiceProvider):
    """The thread between the connection and the association's own."""

    def __init__(self, assoc: Association) -> None:
        super().__init__(assoc)
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)

    def run(self) -> None:
        """The thread; pynetdicom trusts what it decodes, and would leave who lies with a connection that hangs."""
        try:
            super().run()
        except Exception as error:  # its message may quote what came
            log.warning("association broken off", cause=f"a PDU or a command set is malformed ({type(error).__name__})")
            self._break_off()
        finally:
            self._woken.close()
            self._waker.close()

    def _break_off(self) -> None:
        """Aborts past the state machine, which has failed (PS3.8 section 9.3.8)."""
        self.assoc.is_aborted, self.assoc.is_established = True, False
        evt.trigger(self.assoc, evt.EVT_CONN_CLOSE, {"address": self.assoc.requestor.address_info})
        abort = A_ABORT_RQ()
        abort.source, abort.reason_diagnostic = _SERVICE_PROVIDER, _INVALID_PARAMETER
        with suppress(Exception):  # the connection may be gone already
            connection = cast(AssociationSocket, self.socket)
            connection.send(abort.encode())
            connection.close()

    def send_pdu(self, primitive: Any) -> None:
        """Has the thread send it."""
        super().send_pdu(primitive)
        self._wake()

    def kill_dul(self) -> None:
        """Has the thread end."""
        super().kill_dul()
        self._wake()

    def stop_dul(self) -> bool:
        """Ends the thread if the connection is closed; whether it has."""
        if self.state_machine.current_state != "Sta1":
            return False
        self.kill_dul()
        self.join()
        return True

    def _wake(self) -> None:
        with suppress(OSError):  # it has been woken already, or it has ended
            self._waker.send(b"!")

    def _is_transport_event(self) -> bool:
        connection = self.socket.socket if self.socket is not None else None
        if not self.event_queue.empty():  # what has come is dealt with before more is read
            return False
        if connection is None or self.state_machine.current_state == _CLOSING:
            return super()._is_transport_event()
        if self._await_data(connection):
            self._read_pdu_data()
            return True
        return self._process_recv_primitive()

    def _await_data(self, connection: socket.socket) -> bool:
        """Sleeps until there is something to read, or to send; whether there is something to read."""
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        poll = select.poll()
        try:
            poll.register(connection, select.POLLIN)
        except ValueError:  # another thread has closed it
            return False
        poll.register(self._woken, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(LOOK_SECONDS * 1000)}
        if self._woken.fileno() in ready:
            self._woken.recv(64)
            return False
        return bool(ready)

    def _decode_pdu(self, bytestream: bytearray) -> tuple[Any, str]:
        if bytestream[0] != _P_DATA_TF:
            return super()._decode_pdu(bytestream)
        pdu = P_DATA_TF()
        pdu.presentation_data_value_items = list(_items(memoryview(bytestream)))
        evt.trigger(self.assoc, evt.EVT_PDU_RECV, {"pdu": pdu})
        return pdu, "Evt10"


def _items(pdu: memoryview) -> Iterator[PresentationDataValueItem]:
    """The presentation data values of a P-DATA-TF PDU (PS3.8 section 9.3.5), each a slice of it.

    Raises:
        ValueError: they do not fill it.
    """
    at = 6
    while at < len(pdu):
        if at + 6 > len(pdu):
            raise ValueError("the PDU ends inside an item's head")
        length, context_id = struct.unpack_from(">LB", pdu, at)
        if length < 2 or at + 4 + length > len(pdu):
            raise ValueError(f"an item of {length} bytes does not fit its PDU")
        item = PresentationDataValueItem()
        item.presentation_context_id = context_id
        item.presentation_data_value = pdu[at + 5 : at + 4 + length]  # type: ignore[assignment]
        yield item
        at += 4 + length


class AcceptedAssociation(Association):
    """An association that a device asked for.

    Args:
        entity: Who accepts it.
        admit: Whether there is room for an association under this calling AE title.
        on_end: Called once it has ended, however.
    """

    def __init__(self, entity: AE, admit: Callable[[str], bool], on_end: Callable[[], None]) -> None:
        super().__init__(entity, MODE_ACCEPTOR)
        self.admit = admit
        self._on_end = on_end
        self.dul = UpperLayer(self)
        self.acse_timeout, self.network_timeout = entity.acse_timeout, entity.network_timeout  # of the new layer, too
        work = threading.Event()
        self.dul.to_user_queue = _Telling(work)
        self.dimse.msg_queue = _Telling(work)
        self._reactor_checkpoint = _Rest(work)
        self._reactor_checkpoint.set()
        self.bind(evt.EVT_CONN_CLOSE, _stop_waiting)

    def run(self) -> None:
        """The thread."""
        try:
            super().run()
        finally:
            self._on_end()


def _stop_waiting(event: evt.Event) -> None:
    """Ends the wait for a request, as a timeout does: the peer has closed the connection without one."""
    if event.assoc.requestor.primitive is None:
        cast(queue.Queue[Any], event.assoc.dul.to_user_queue).put(None)


class _Telling(queue.Queue[Any]):
    """A queue that says when something comes in."""

    def __init__(self, work: threading.Event) -> None:
        super().__init__()
        self._work = work

    def _put(self, item: Any) -> None:
        super()._put(item)
        self._work.set()


class _Rest(threading.Event):
    """Where pynetdicom's loop comes by on each round: it is let through when there is work, and to look at timers."""

    def __init__(self, work: threading.Event) -> None:
        super().__init__()
        self._work = work

    def set(self) -> None:
        """Whoever ends the association calls this, to have the loop go round."""
        super().set()
        self._work.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Waits for work; and, as before, for as long as the loop is to be paused."""
        while True:
            super().wait(timeout)
            self._work.wait(LOOK_SECONDS)
            self._work.clear()
            if self.is_set():
                return True
