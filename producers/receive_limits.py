"""How much is held in memory of a message (PS3.7 section 9.3), and of all; a PDU is bounded by `producers.upper_layer`.

pynetdicom puts the fragments of a message together however many there are.
"""

import threading
from io import BytesIO
from typing import Final, cast
from weakref import WeakKeyDictionary, WeakSet

from pynetdicom import evt
from pynetdicom.association import Association

from producers.occupancy import Occupancy

#: A command holds a few UIDs.
MAX_COMMAND_BYTES: Final = 64 * 1024
#: A device waits for each answer (PS3.7 section 9.1.1.3 has it negotiate otherwise, which is not offered).
MAX_WAITING_MESSAGES: Final = 2


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


class Memory:
    """What all associations together hold of their data sets, from the first fragment until `release`.

    Those of other processes count too: `occupancy` knows.
    """

    def __init__(self, max_bytes: int, occupancy: Occupancy) -> None:
        self._max_bytes = max_bytes
        self._occupancy = occupancy
        self._lock = threading.Lock()
        self._held = WeakKeyDictionary[Association, int]()
        self._refused = WeakSet[Association]()

    def hold(self, event: evt.Event) -> None:
        """Counts what has come; drops, and goes on dropping, a data set that would be too much; for EVT_PDU_RECV."""
        message = event.assoc.dimse.message
        if message is None:
            return
        data_set = cast(BytesIO, message.data_set)
        with self._lock:
            self._held[event.assoc] = data_set.tell()
            if self._tell() > self._max_bytes:
                self._refused.add(event.assoc)
            if event.assoc in self._refused:
                self._held[event.assoc] = 0
                self._tell()
                data_set.seek(0)
                data_set.truncate()

    def is_refused(self, association: Association) -> bool:
        """Whether the association's last data set was dropped."""
        with self._lock:
            return association in self._refused

    def forget(self, event: evt.Event) -> None:
        """Nothing more comes from the association; for EVT_CONN_CLOSE."""
        self.release(event.assoc)

    def release(self, association: Association) -> None:
        """Its data set has been dealt with."""
        with self._lock:
            self._held.pop(association, None)
            self._refused.discard(association)
            self._tell()

    def _tell(self) -> int:
        """What all processes hold."""
        return self._occupancy.hold(sum(self._held.values()))
