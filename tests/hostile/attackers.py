"""Who sends what is hostile, over real connections, and tells what became of each."""

import hashlib
import http.client
import socket
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from uuid import UUID

from pydicom import Dataset
from pydicom.uid import ComputedRadiographyImageStorage, generate_uid

from producers import dicom_object, part10
from schemas.events import image_event_id
from tests.hostile import objects, pdus, requests
from tests.hostile.objects import SYNTAXES, Thing
from tests.hostile.victims import TOKEN
from tests.hostile.wire import RJ, Closed, Wire, storage_contexts

ANSWER_SECONDS = 0.4
"""How long an attacker waits for an answer to bytes that may well need none."""
PATIENCE_SECONDS = 90.0


class Fate(Enum):
    """What became of something hostile."""

    REFUSED = "refused"  # by a status, A-ASSOCIATE-RJ, A-ABORT, 4xx, 503, or the end of the connection
    ACCEPTED = "accepted"  # the log has it
    ANSWERED = "answered"  # it did no harm, and was none
    LEFT = "left"  # the attacker went away first
    INTERNAL = "internal"  # a fault of ours
    SILENT = "silent"  # an answer was due and did not come


@dataclass(frozen=True)
class Outcome:
    """One thing that was sent."""

    way: str
    kind: str
    fate: Fate
    event_id: UUID | None = None
    note: str = ""


class Attacker:
    """One sender of hostile things, from an address of its own."""

    def __init__(self, dicom_port: int, stow_port: int, source: str) -> None:
        self._dicom_port, self._stow_port, self._source = dicom_port, stow_port, source
        self._wire: Wire | None = None

    def close(self) -> None:
        if self._wire is not None:
            self._wire.release()

    def act(self, number: int) -> Outcome:
        """Sends the hostile thing of this number: of ten, five objects over C-STORE, two over STOW-RS."""
        turn, number_of_way = number % 10, number // 10
        if turn < 5:
            return self.store(objects.made(5 * number_of_way + turn))
        if turn < 7:
            return self.post(objects.made(2 * number_of_way + turn + 1_000_000))
        return self.attack(number_of_way) if turn < 9 else self.ask(number_of_way)

    def store(self, thing: Thing) -> Outcome:
        """An object over C-STORE, in an association that lives until somebody ends it."""
        context_id = 2 * SYNTAXES.index(thing.syntax) + 1 if thing.syntax in SYNTAXES else 1
        event_id = image_event_id(hashlib.sha256(thing.dataset).digest())
        try:
            status, note = self._associated().store(context_id, thing.dataset, _sop_class(thing))
        except Closed:
            self._wire = None
            return Outcome("C-STORE", thing.kind, Fate.REFUSED, note="association ended")
        except TimeoutError:
            self._wire = None
            return Outcome("C-STORE", thing.kind, Fate.SILENT)
        if status == 0:
            return Outcome("C-STORE", thing.kind, Fate.ACCEPTED, event_id)
        return Outcome("C-STORE", thing.kind, _refusal(note), note=note)

    def _associated(self) -> Wire:
        if self._wire is None:
            self._wire = Wire(self._dicom_port, self._source, PATIENCE_SECONDS)
            if not self._wire.associate(storage_contexts(SYNTAXES)):
                self._wire.close()
                raise Closed
        return self._wire

    def post(self, thing: Thing) -> Outcome:
        """An object over STOW-RS."""
        meta = Dataset()
        meta.SOPClassUID, meta.SOPInstanceUID = ComputedRadiographyImageStorage, generate_uid()
        content = dicom_object.part10_head(meta, thing.syntax) + thing.dataset
        try:
            status, note = posted(self._stow_port, content, self._source)
        except TimeoutError:
            return Outcome("STOW-RS", thing.kind, Fate.SILENT)
        except OSError:
            return Outcome("STOW-RS", thing.kind, Fate.REFUSED, note="connection ended")
        if status == 200:
            return Outcome("STOW-RS", thing.kind, Fate.ACCEPTED, event_id_of(content))
        return Outcome("STOW-RS", thing.kind, Fate.INTERNAL if status == 500 else _refusal(note), note=note)

    def attack(self, number: int) -> Outcome:
        """Hostile PDUs, on a connection of their own."""
        attack = pdus.made(number)
        try:
            with Wire(self._dicom_port, self._source, PATIENCE_SECONDS) as wire:
                if attack.associated and not wire.associate(pdus.CONTEXT):
                    return Outcome("PDU", attack.kind, Fate.REFUSED, note="association rejected")
                return Outcome("PDU", attack.kind, *_fate(wire, attack))
        except Closed:
            return Outcome("PDU", attack.kind, Fate.REFUSED, note="connection ended")
        except TimeoutError:
            return Outcome("PDU", attack.kind, Fate.SILENT)

    def ask(self, number: int) -> Outcome:
        """A hostile HTTP request."""
        request_ = requests.made(number, TOKEN)
        status = b""
        try:
            with socket.create_connection(("127.0.0.1", self._stow_port), 10, (self._source, 0)) as connection:
                connection.sendall(request_.content)
                if request_.ending == "close":
                    connection.shutdown(socket.SHUT_WR)
                status = connection.recv(64)
        except TimeoutError:
            return Outcome("HTTP", request_.kind, Fate.LEFT)
        except OSError:
            return Outcome("HTTP", request_.kind, Fate.REFUSED, note="connection ended")
        code = int(status[9:12]) if status[:5] == b"HTTP/" else 0
        fates = {0: Fate.REFUSED, 2: Fate.ANSWERED, 4: Fate.REFUSED}
        fate = Fate.REFUSED if code in (501, 503) else fates.get(code // 100, Fate.INTERNAL)
        return Outcome("HTTP", request_.kind, fate, note=str(code))


def posted(port: int, content: bytes, source: str) -> tuple[int, str]:
    """Status and warning of the answer to one instance over STOW-RS; raises OSError."""
    headers = {"Content-Type": "application/dicom", "Authorization": f"Bearer {TOKEN}"}
    with closing(http.client.HTTPConnection("127.0.0.1", port, PATIENCE_SECONDS, source_address=(source, 0))) as client:
        client.request("POST", "/studies", content, headers)
        answer = client.getresponse()
        answer.read()
        return answer.status, answer.headers.get("Warning", "")


def _fate(wire: Wire, attack: pdus.Attack) -> tuple[Fate, None, str]:
    wire.send(attack.content)
    if attack.ending != "wait":
        wire.close(hard=attack.ending == "reset")
        return Fate.LEFT, None, ""
    wire.connection.settimeout(ANSWER_SECONDS)
    answers = 0
    try:
        while True:
            kind, _ = wire.read()
            if kind == RJ:
                raise Closed
            answers += 1
    except Closed:
        return Fate.REFUSED, None, ""
    except TimeoutError:
        return Fate.ANSWERED if answers else Fate.LEFT, None, ""


def event_id_of(content: bytes) -> UUID:
    """Of the image event that a file becomes."""
    return image_event_id(hashlib.sha256(part10.parse(content).dataset).digest())


def _refusal(note: str) -> Fate:
    return Fate.INTERNAL if "internal error" in note else Fate.REFUSED


def _sop_class(thing: Thing) -> str:
    """Of the data set where it can be told, so that it is not refused for that alone."""
    try:
        return str(dicom_object.split(thing.dataset, thing.syntax, 1 << 20).header.SOPClassUID)[:64]
    except Exception:  # pydicom raises whatever the bytes lead it to
        return ComputedRadiographyImageStorage
