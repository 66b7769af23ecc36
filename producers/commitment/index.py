"""Which objects `images` holds, in a file: STATE/commitment/index.sqlite, a cache that can be deleted.

Rows and the offsets up to which they go are written in one transaction, so that a crash costs nothing and repeats
nothing. The file says of which log it is; one of another log, or that can't be read, is begun anew.
"""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from producers.commitment import private_database
from producers.commitment.statuses import FailureReason
from radiolog.log.tail import Batch, End, overtaken
from schemas.events import ImageEvent

FILE: Final = "index.sqlite"
#: Of the tables below; a file with others is begun anew.
VERSION: Final = 1

_SCHEMA: Final = """
pragma journal_mode = wal;
pragma synchronous = normal;
create table if not exists origin (is_of text not null);
create table if not exists reach (partition integer primary key, next integer not null, oldest integer not null);
create table if not exists object (
    sop_instance text not null,
    sop_class text not null,
    partition integer not null,
    offset integer not null,
    primary key (sop_instance, sop_class, partition)
) without rowid;
"""
_ADD: Final = """
insert into object (sop_instance, sop_class, partition, offset) values (?, ?, ?, ?)
on conflict do update set offset = max(offset, excluded.offset)
"""
_FIND: Final = "select distinct sop_class from object where sop_instance = ?"


class Index:
    """The file, for one thread at a time.

    Every method raises `sqlite3.Error` or `OSError` if the file can't be read or written.

    Args:
        state_dir: The state folder.
        topic: Full name of what is indexed.
    """

    def __init__(self, state_dir: Path, topic: str) -> None:
        self._topic = topic
        path = private_database.folder(state_dir) / FILE
        try:
            self._database = _made(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # the disk is full, or the like
                raise
            for file in (path, path.with_name(f"{FILE}-wal"), path.with_name(f"{FILE}-shm")):
                file.unlink(missing_ok=True)
            self._database = _made(path)

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    def next(self) -> dict[int, int]:
        """By partition, the offset from which to read on."""
        return dict(self._database.execute("select partition, next from reach"))

    def align(self, end: End) -> None:
        """Takes note of what retention has deleted; forgets everything if this is another log than it was."""
        is_of = f"{end.cluster} {self._topic}"
        with self._database as database:
            database.execute("begin immediate")
            known = database.execute("select is_of from origin").fetchone()
            if known != (is_of,) or overtaken(self.next(), end):
                for table in ("origin", "reach", "object"):
                    database.execute(f"delete from {table}")  # noqa: S608 - one of three
                database.execute("insert into origin values (?)", (is_of,))
            for partition, oldest in end.oldest.items():
                self._cut(partition, oldest)

    def _cut(self, partition: int, oldest: int) -> None:
        """Nothing before this offset counts any more."""
        row = self._database.execute("select oldest from reach where partition = ?", (partition,)).fetchone()
        if row is None:
            self._database.execute("insert into reach values (?, ?, ?)", (partition, oldest, oldest))
        elif row[0] != oldest:
            self._database.execute(
                "update reach set oldest = ?, next = max(next, ?) where partition = ?", (oldest, oldest, partition)
            )
            self._database.execute("delete from object where partition = ? and offset < ?", (partition, oldest))

    def add(self, batch: Batch[ImageEvent]) -> None:
        """Keeps what came, and where to read on: both or neither."""
        rows = [
            (item.event.sop_instance_uid, item.event.sop_class_uid, item.at.partition, item.at.offset)
            for item in batch.events
        ]
        with self._database as database:
            database.execute("begin immediate")
            database.executemany(_ADD, rows)
            database.executemany(
                "update reach set next = ? where partition = ?", [(n, p) for p, n in batch.next.items()]
            )

    def failures(self, objects: Iterable[tuple[str, str]]) -> list[FailureReason | None]:
        """Of each (SOP class, SOP instance) why it is not committed; None if the log holds it."""
        return [self._failure(sop_class, sop_instance) for sop_class, sop_instance in objects]

    def _failure(self, sop_class: str, sop_instance: str) -> FailureReason | None:
        classes = {row[0] for row in self._database.execute(_FIND, (sop_instance,))}
        if sop_class in classes:
            return None
        return FailureReason.CLASS_INSTANCE_CONFLICT if classes else FailureReason.NO_SUCH_OBJECT_INSTANCE


def _made(path: Path) -> sqlite3.Connection:
    """The file with its tables.

    Raises:
        sqlite3.DatabaseError: it is none, or it is broken, or of another version; its subclass `OperationalError` if it
            can't be used for now.
    """
    database = private_database.opened(path)
    try:
        (version,) = database.execute("pragma user_version").fetchone()
        if version not in (0, VERSION):
            raise sqlite3.DatabaseError(f"version {version}")
        database.executescript(_SCHEMA)
        database.execute(f"pragma user_version = {VERSION}")
    except sqlite3.Error:
        database.close()
        raise
    return database
