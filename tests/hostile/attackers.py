"""Who sends what is hostile, over real connections, and tells what became of each."""

import hashlib
import http.client
import socket
from collections.abc import Iterator
from contextlib import suppress
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
from tests.hostile.wire import RJ, RQ, Closed, Wire, pdu, request, storage_contexts

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
        headers = {"Content-Type": "application/dicom", "Authorization": f"Bearer {TOKEN}"}
        source = (self._source, 0)
        connection = http.client.HTTPConnection("127.0.0.1", self._stow_port, PATIENCE_SECONDS, source_address=source)
        try:
            connection.request("POST", "/studies", content, headers)
            answer = connection.getresponse()
            answer.read()
            status, note = answer.status, answer.headers.get("Warning", "")
        except TimeoutError:
            return Outcome("STOW-RS", thing.kind, Fate.SILENT)
        except OSError:
            return Outcome("STOW-RS", thing.kind, Fate.REFUSED, note="connection ended")
        finally:
            connection.close()
        if status == 200:
            digest = hashlib.sha256(part10.parse(content).dataset).digest()
            return Outcome("STOW-RS", thing.kind, Fate.ACCEPTED, image_event_id(digest))
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


def _refusal(note: str) -> Fate:
    return Fate.INTERNAL if "internal error" in note else Fate.REFUSED


def _sop_class(thing: Thing) -> str:
    """Of the data set where it can be told, so that it is not refused for that alone."""
    try:
        return str(dicom_object.split(thing.dataset, thing.syntax, 1 << 20).header.SOPClassUID)[:64]
    except Exception:  # pydicom raises whatever the bytes lead it to
        return ComputedRadiographyImageStorage


class Holders:
    """Who holds connections to both ports and lets bytes trickle, and who holds associations and says nothing."""

    def __init__(self, dicom_port: int, stow_port: int) -> None:
        self._ports = {"DICOM": dicom_port, "HTTP": stow_port}
        self._held: list[tuple[str, Iterator[bytes], socket.socket]] = []
        self.tried: dict[str, int] = {}
        self.ended: dict[str, int] = {}

    def fill(self, each: int) -> None:
        """Brings the number of connections of each kind up to `each`."""
        for kind in ("slow DICOM", "slow HTTP head", "slow HTTP body", "endless association"):
            missing = each - sum(one[0] == kind for one in self._held)
            for _ in range(missing):
                self._open(kind)

    def trickle(self) -> None:
        """One more byte on each; those that were ended are counted."""
        still = []
        for kind, content, connection in self._held:
            try:
                if (byte := next(content, None)) is not None:
                    connection.send(byte)
                with suppress(BlockingIOError):
                    if not connection.recv(4096):
                        raise ConnectionError
                still.append((kind, content, connection))
            except OSError:
                connection.close()
                self.ended[kind] = self.ended.get(kind, 0) + 1
        self._held = still

    def close(self) -> None:
        for _, _, connection in self._held:
            connection.close()

    def _open(self, kind: str) -> None:
        self.tried[kind] = self.tried.get(kind, 0) + 1
        source = {"slow DICOM": "127.0.0.3", "endless association": "127.0.0.4"}.get(kind, "127.0.0.5")
        port = self._ports["HTTP" if "HTTP" in kind else "DICOM"]
        wanted = pdu(RQ, request(pdus.CONTEXT))
        head = requests.head(Content_Length="1000000", token=TOKEN)
        try:
            connection = socket.create_connection(("127.0.0.1", port), 5, (source, 0))
            if kind == "endless association":
                connection.sendall(wanted)
            if kind == "slow HTTP body":
                connection.sendall(head)
        except OSError:
            self.ended[kind] = self.ended.get(kind, 0) + 1
            return
        connection.setblocking(False)
        body = requests.part(bytes(100_000))
        content = {"slow DICOM": wanted, "slow HTTP head": head, "slow HTTP body": body}.get(kind, b"")
        self._held.append((kind, (content[at : at + 1] for at in range(len(content))), connection))
