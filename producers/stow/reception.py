"""All instances of one request: each goes to the log as soon as it is complete, while the next one comes in.

1. The bytes of an instance are held until the log has it, within a budget that all requests share, and held once: its
   data set is parsed and published in the buffer that it came into. What would exceed the budget, or is larger than the
   log takes, is let go of at once; the rest of it is read and dropped, so that the client gets a proper answer.
2. A complete instance is stored in a thread of a bounded pool, since `Intake.publish` blocks until the log has it.
3. While `IN_HAND` instances of a request are on their way to the log, no more of the request is read: the client waits.
4. Instances that were complete before the request failed are stored, and told of.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from io import BytesIO
from typing import Final

from producers.errors import TooLarge
from producers.intake import Intake
from producers.refusal import TooMuchAtOnce
from producers.statuses import StoreStatus
from producers.stow import media_types
from producers.stow.faults import RequestFault
from producers.stow.instance import (
    HEAD_BYTES,
    Outcome,
    Sender,
    SentUids,
    UnsupportedPart,
    refused,
    store,
    uids_in_head,
)
from producers.stow.multipart import Begin, Body, Data, End, Event
from producers.stow.report import Report

IN_HAND: Final = 4
THREADS: Final = 16
#: What is remembered of each is small, but something.
MAX_INSTANCES: Final = 20_000
_AS_IS: Final = frozenset({"", "binary", "8bit", "7bit", "identity"})


class Budget:
    """Bytes that all requests may hold together; for one event loop, so without a lock."""

    def __init__(self, max_bytes: int) -> None:
        self._free = max_bytes

    def take(self, count: int) -> bool:
        """Whether there is room for so many more; if so, they are taken."""
        if count > self._free:
            return False
        self._free -= count
        return True

    def give_back(self, count: int) -> None:
        """So many are no longer held."""
        self._free += count


class _Incoming:
    """An instance of which more is to come: its bytes, or why they are not held."""

    def __init__(self, budget: Budget, max_bytes: int, refusal: Exception | None) -> None:
        self._budget = budget
        self._max_bytes = max_bytes
        self._held = 0
        self.size = 0
        self.content = BytesIO()
        self.refusal = refusal
        self.uids: SentUids | None = None

    def add(self, piece: memoryview) -> None:
        self.size += len(piece)
        if self.refusal is not None:
            return
        if self.size > self._max_bytes:
            self._refuse(TooLarge(f"more than the {self._max_bytes} bytes that are received at most"), piece)
        elif not self._budget.take(len(piece)):
            self._refuse(TooMuchAtOnce(), piece)
        else:
            self._held += len(piece)
            self.content.write(piece)

    def let_go(self) -> None:
        self._budget.give_back(self._held)
        self._held = 0
        self.content.close()

    def _refuse(self, error: Exception, piece: memoryview) -> None:
        self.uids = uids_in_head(bytes(self.content.getbuffer()[:HEAD_BYTES]) + bytes(piece[:HEAD_BYTES]))
        self.refusal = error
        self.let_go()


class Storeroom:
    """Where requests bring their instances: the intake, the threads that wait for it, and the budget of all."""

    def __init__(self, intake: Intake, max_bytes: int) -> None:
        self.intake = intake
        self.budget = Budget(max_bytes)
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix="stow")

    def close(self) -> None:
        """Wait for what is on its way to the log."""
        self.pool.shutdown()


class Reception:
    """One request."""

    def __init__(self, room: Storeroom, body: Body, sender: Sender) -> None:
        self._room = room
        self._body = body
        self._sender = sender
        self._incoming: _Incoming | None = None
        self._outcomes: list[Outcome | asyncio.Future[Outcome]] = []
        self._places = asyncio.Semaphore(IN_HAND)

    async def receive(self, chunks: AsyncIterator[bytes]) -> Report:
        """Read the request to its end, or as far as it goes, and tell what became of its instances."""
        fault = None
        try:
            await self._read(chunks)
        except RequestFault as error:
            fault = error
        finally:
            if self._incoming is not None:
                self._incoming.let_go()
        return Report([await _settled(outcome) for outcome in self._outcomes], fault)

    async def _read(self, chunks: AsyncIterator[bytes]) -> None:
        async for chunk in chunks:
            for event in self._body.feed(chunk):
                await self._take(event)
        for event in self._body.finish():
            await self._take(event)

    async def _take(self, event: Event) -> None:
        match event:
            case Begin(headers):
                self._begin(headers)
            case Data(piece):
                if self._incoming is not None:
                    self._incoming.add(piece)
            case End():
                await self._end()

    def _begin(self, headers: dict[str, str]) -> None:
        if len(self._outcomes) >= MAX_INSTANCES:
            raise RequestFault(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"more than {MAX_INSTANCES} instances in one request: send the rest in another",
                StoreStatus.OUT_OF_RESOURCES,
            )
        self._incoming = _Incoming(self._room.budget, self._room.intake.max_received_bytes, _unsupported(headers))

    async def _end(self) -> None:
        incoming, self._incoming = self._incoming, None
        if incoming is None:
            return
        if incoming.refusal is not None:
            self._outcomes.append(refused(incoming.refusal, incoming.uids, self._sender, incoming.size))
            return
        try:
            await self._places.acquire()
        except BaseException:  # the server stops
            incoming.let_go()
            raise
        storing = asyncio.get_running_loop().run_in_executor(
            self._room.pool, store, incoming.content, self._sender, self._room.intake
        )
        storing.add_done_callback(lambda _: self._done(incoming))
        self._outcomes.append(storing)

    def _done(self, incoming: _Incoming) -> None:
        incoming.let_go()
        self._places.release()


async def _settled(outcome: Outcome | asyncio.Future[Outcome]) -> Outcome:
    return await outcome if isinstance(outcome, asyncio.Future) else outcome


def _unsupported(headers: dict[str, str]) -> UnsupportedPart | None:
    """Why a part with these headers is no instance; a part without Content-Type has that of the whole."""
    kind, _ = media_types.parsed(headers.get("content-type", ""))
    if kind not in {"", media_types.DICOM}:
        return UnsupportedPart(f"a part is not {media_types.DICOM} by its own Content-Type")
    encodings = {headers.get(name, "").lower() for name in ("content-transfer-encoding", "content-encoding")}
    if not encodings <= _AS_IS:
        return UnsupportedPart("a part is encoded: send its bytes as they are")
    return None
