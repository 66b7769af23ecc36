"""The requests that are not answered yet, in a file: STATE/commitment/journal.sqlite.

It holds UIDs as devices know them, which identify studies: the file is private, a row is removed once it is reported
or given up, and overwritten in the file. It is on disk before a device is told that its request is taken on.

The acceptors add, in processes of their own; the clerk decides, and the reporters strike off.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from producers.commitment import private_database
from producers.commitment.request import CommitmentRequest, Declined, ObjectReference
from producers.commitment.statuses import ActionStatus, FailureReason

FILE: Final = "journal.sqlite"
#: Of one device. More than these it would ask only if it never got a report.
MAX_WAITING: Final = 1000

_SCHEMA: Final = """
create table if not exists request (
    id integer primary key autoincrement,
    peer text not null,
    transaction_uid text not null,
    received_at real not null,
    objects text not null,
    reasons text,
    unique (peer, transaction_uid)
)
"""

Reasons = Sequence[FailureReason | None]
"""Of each object of a request why it is not committed; None if it is."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A request as the journal has it.

    Attributes:
        id: its number; later ones have greater numbers.
        request: what was asked.
        received_at: when, in seconds since 1970.
        reasons: what was decided, see `Reasons`; empty before.
    """

    id: int
    request: CommitmentRequest
    received_at: float
    reasons: tuple[FailureReason | None, ...]


class Journal:
    """The file; any number of threads and processes may use it.

    Every method raises `sqlite3.Error` or `OSError` if the file can't be read or written.
    """

    def __init__(self, state_dir: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = private_database.folder(state_dir) / FILE
        self._clock = clock

    def add(self, request: CommitmentRequest) -> None:
        """Keeps the request, for good once this returns.

        One that is there already stays as it is: a device whose answer was lost asks again.

        Raises:
            Declined: the device has another request under this Transaction UID, or too many.
        """
        objects = json.dumps([(each.sop_class, each.sop_instance) for each in request.objects])
        key = request.peer, request.transaction
        with self._transaction() as database:
            same = database.execute("select objects from request where peer = ? and transaction_uid = ?", key)
            if (found := same.fetchone()) is not None:
                if found[0] != objects:
                    raise Declined(
                        ActionStatus.INVALID_ARGUMENT_VALUE, "TransactionUID (0008,1195) is in use for other objects"
                    )
                return
            (waiting,) = database.execute("select count(*) from request where peer = ?", key[:1]).fetchone()
            if waiting >= MAX_WAITING:
                raise Declined(ActionStatus.RESOURCE_LIMITATION, f"{MAX_WAITING} requests of yours wait: ask later")
            database.execute(
                "insert into request (peer, transaction_uid, received_at, objects) values (?, ?, ?, ?)",
                (*key, self._clock(), objects),
            )

    def undecided(self) -> list[int]:
        """The numbers of those that nothing was decided about, oldest first."""
        with self._transaction() as database:
            return [row[0] for row in database.execute("select id from request where reasons is null order by id")]

    def decided(self, peer: str) -> list[int]:
        """The numbers of a device's requests that can be reported, oldest first."""
        with self._transaction() as database:
            query = "select id from request where peer = ? and reasons is not null order by id"
            return [row[0] for row in database.execute(query, (peer,))]

    def entry(self, number: int) -> Entry | None:
        """The request of this number."""
        columns = "id, peer, transaction_uid, objects, received_at, reasons"
        with self._transaction() as database:
            row = database.execute(f"select {columns} from request where id = ?", (number,)).fetchone()  # noqa: S608
        return _entry(*row) if row is not None else None

    def decide(self, number: int, reasons: Reasons) -> None:
        """Keeps what was decided about each of its objects."""
        with self._transaction() as database:
            database.execute("update request set reasons = ? where id = ?", (json.dumps(reasons), number))

    def strike(self, number: int) -> None:
        """The request is done with."""
        with self._transaction() as database:
            database.execute("delete from request where id = ?", (number,))

    def waiting(self) -> int:
        """How many there are."""
        with self._transaction() as database:
            return int(database.execute("select count(*) from request").fetchone()[0])

    def reportable(self) -> set[str]:
        """The AE titles of devices that something was decided for."""
        with self._transaction() as database:
            return {row[0] for row in database.execute("select distinct peer from request where reasons is not null")}

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        database = private_database.opened(self._path)
        try:
            database.execute("pragma synchronous = extra")
            database.execute("pragma secure_delete = on")
            database.execute("begin immediate")
            database.execute(_SCHEMA)
            yield database
            database.execute("commit")
        finally:
            database.close()  # what is not committed is rolled back


def _entry(number: int, peer: str, transaction: str, objects: str, received_at: float, reasons: str | None) -> Entry:
    references = tuple(ObjectReference(*pair) for pair in json.loads(objects))
    decided = tuple(FailureReason(reason) if reason else None for reason in json.loads(reasons or "[]"))
    return Entry(number, CommitmentRequest(peer, transaction, references), received_at, decided)
