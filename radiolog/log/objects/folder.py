"""Objects as files of one folder.

The object store library has a store of local files too. It writes files that everybody may read, does not wait for the
disk, and leaves what a crash interrupts where nothing lists it; a file here is private, synced before it gets its
name (fsync(2)), and never seen half-written.
"""

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from radiolog.log.objects.errors import ObjectMissing, ObjectStoreUnavailable
from radiolog.log.objects.place import Entry, Piece, name_of, sha256_of

PRIVATE = 0o700
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is made by the first put, and belongs to the objects of one log alone."""

    root: Path

    def write(self, sha256: bytes, size: int, pieces: Sequence[Piece]) -> None:
        """Writes a draft, syncs it and gives it its name; an object that is there and whole is read and made young."""
        path = self._path(sha256)
        with _translated(self.root):
            _make(path.parent, self.root)
            if _holds(path, sha256, size) and self._refreshed(path):
                return
            draft = self._drafted(pieces)
            try:
                with self._lock(fcntl.LOCK_SH):
                    os.rename(draft, path)
            except BaseException:
                draft.unlink(missing_ok=True)
                raise
            _sync(path.parent)

    def open(self, sha256: bytes, size: int) -> BinaryIO:
        """The file; its pages are the system's and take none of this process's memory."""
        path = self._path(sha256)
        with _translated(self.root):
            try:
                return path.open("rb")
            except FileNotFoundError:
                self._require_objects()
                raise ObjectMissing(f"object {sha256.hex()} is not in the object store") from None

    def entries(self) -> Iterator[Entry]:
        """Every object; what else lies in the folder is passed over."""
        with _translated(self.root):
            for folder in _paths_in(self.root / "sha256"):
                for path in _paths_in(folder):
                    sha256 = sha256_of(path.relative_to(self.root).as_posix())
                    if sha256 is not None and (status := _status(path)) is not None:
                        yield Entry(sha256, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))

    def remove(self, sha256: bytes, before: datetime) -> bool:
        """Looks at the file's age and removes it while nobody can put it again."""
        path = self._path(sha256)
        with _translated(self.root), self._lock(fcntl.LOCK_EX):
            status = _status(path)
            if status is None or status.st_mtime >= before.timestamp():
                return False
            path.unlink()
            return True

    def tidy(self, before: datetime) -> None:
        """Removes drafts that nobody finished."""
        with _translated(self.root):
            for draft in _paths_in(self._drafts):
                if (status := _status(draft)) is not None and status.st_mtime < before.timestamp():
                    draft.unlink(missing_ok=True)

    @property
    def _drafts(self) -> Path:
        return self.root / "drafts"

    def _path(self, sha256: bytes) -> Path:
        return self.root / name_of(sha256)

    def _require_objects(self) -> None:
        """A folder that is not mounted looks empty: then nothing is missing, it is out of reach."""
        if not (self.root / "sha256").is_dir():
            raise ObjectStoreUnavailable(
                f"{self.root} holds no objects at all: is it mounted, and is RADIOLOG_OBJECT_STORE_URL the adapter's?"
            )

    def _refreshed(self, path: Path) -> bool:
        """Makes the file young; False if the collector was faster."""
        with self._lock(fcntl.LOCK_SH):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
        _sync(path.parent)  # whoever made it may not have come to that yet
        return True

    def _drafted(self, pieces: Sequence[Piece]) -> Path:
        _make(self._drafts, self.root)
        descriptor, name = tempfile.mkstemp(dir=self._drafts)  # of mode 0600
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                for piece in pieces:
                    _write_all(file.fileno(), memoryview(piece))
                os.fsync(file.fileno())
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return Path(name)

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        """Shared by those who put, against the collector's look and removal, which are one step by it (flock(2))."""
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, kind)
            yield
        finally:
            os.close(descriptor)


@contextmanager
def _translated(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            advice = "it is full: make room, or see what `radiolog objects gc --dry-run` would remove"
        else:
            advice = f"{error.strerror or type(error).__name__}; RADIOLOG_OBJECT_STORE_URL says where it is"
        raise ObjectStoreUnavailable(f"the object store {root} cannot be used: {advice}") from error


def _make(folder: Path, root: Path) -> None:
    """Makes a folder of the store and those above it, private and durable; a folder that exists keeps its mode."""
    if folder.is_dir():
        return
    if folder != root:
        _make(folder.parent, root)
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(PRIVATE)
    except FileExistsError:
        return
    _sync(folder.parent)


def _sync(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, rest: memoryview) -> None:
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _holds(path: Path, sha256: bytes, size: int) -> bool:
    """Whether the file is there and is the object that its name promises."""
    try:
        with path.open("rb") as file:
            whole = os.fstat(file.fileno()).st_size == size
            return whole and hashlib.file_digest(file, "sha256").digest() == sha256
    except FileNotFoundError:
        return False


def _paths_in(folder: Path) -> list[Path]:
    """What a folder holds; nothing where it is none."""
    try:
        return [Path(entry.path) for entry in os.scandir(folder)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
