"""Zip archives of objects: read entry by entry, never unpacked to disk, so no name in them ever becomes a path.

Bounded before anything is unpacked: entries, bytes of the directory, bytes in all, and how many times larger than the
archive its content may claim to be. Entries that overlap, as those of a bomb do, claim more than that together.
Python's `zipfile` reads no more of an entry than it claims, and checks it against its CRC.
"""

import errno
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from producers.errors import BrokenObject, Refused, TooLarge
from producers.parcels import DICOMDIR, PICTURE_SUFFIXES, SIDECAR_SUFFIX, is_hidden
from radiolog.settings import MIB

MAX_ENTRIES: Final = 50_000
MAX_DIRECTORY_BYTES: Final = 16 * MIB
MAX_TOTAL_BYTES: Final = 64 * 1024 * MIB
#: CT deflates to a half, empty masks to a thousandth; an archive of nothing but the latter is refused above the floor.
MAX_RATIO: Final = 100
RATIO_FLOOR_BYTES: Final = 64 * MIB

_ENCRYPTED: Final = 0x1 | 0x2000
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_MAGIC: Final = (b"PK\x03\x04", b"PK\x05\x06")
#: Where `zipfile` keeps the size of the central directory in what `_EndRecData` returns.
_DIRECTORY_SIZE: Final = 5
_MAC_FOLDER: Final = "__MACOSX"


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive.

    Attributes:
        name: as the archive has it; for people, and it may hold their patients' names.
        archive: where it is.
        info: what the archive says of it.
        sidecar: the entry beside a picture.
    """

    name: str
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    sidecar: zipfile.ZipInfo | None = None

    def read(self, max_bytes: int) -> bytes:
        """The content.

        Raises:
            Refused: it is too large, encrypted, an archive itself, or broken.
        """
        content = _read(self.archive, self.info, max_bytes)
        if content.startswith(_MAGIC):
            raise BrokenObject("an archive within an archive: unpack it first")
        return content

    def read_sidecar(self, max_bytes: int) -> bytes | None:
        """The content of its sidecar, if it has one.

        Raises:
            Refused: as `read`.
        """
        return _read(self.archive, self.sidecar, max_bytes) if self.sidecar is not None else None

    @property
    def is_picture(self) -> bool:
        """Whether it is named as a picture is."""
        return _suffix(self.name) in PICTURE_SUFFIXES


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive in a file, once it is known to be no bomb.

    Raises:
        BrokenObject: it is no archive, or cut off.
        TooLarge: it holds more than an archive may.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        with _archive_at_fault():
            _check_directory(file)
            archive = zipfile.ZipFile(file)
        with archive:
            _check_sizes(archive.infolist(), path.stat().st_size)
            yield archive


def entries(archive: zipfile.ZipFile) -> list[Entry]:
    """The files of an archive in order of their names; a picture's sidecar is part of it, a DICOMDIR is left out."""
    infos = {info.filename: info for info in archive.infolist() if _is_wanted(info)}
    found = {name: _sidecar_of(name, infos) for name in infos}
    sidecars = {sidecar.filename for sidecar in found.values() if sidecar is not None}
    return [Entry(name, archive, infos[name], found[name]) for name in sorted(infos.keys() - sidecars)]


def has_dicomdir(archive: zipfile.ZipFile) -> bool:
    """Whether the archive is a medium, with a viewer and whatever else comes on one."""
    return any(_is_dicomdir(name) for name in archive.namelist())


def _check_directory(file: object) -> None:
    """ZipFile makes an object of some hundred bytes of each entry of the directory before it can be asked how many."""
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined] # what a reader of our own finds, it might not
    if end is not None and end[_DIRECTORY_SIZE] > MAX_DIRECTORY_BYTES:
        raise TooLarge(f"the archive's directory has {end[_DIRECTORY_SIZE]} bytes, {MAX_DIRECTORY_BYTES} are read")


def _check_sizes(infos: list[zipfile.ZipInfo], archive_bytes: int) -> None:
    total = sum(info.file_size for info in infos)
    if len(infos) > MAX_ENTRIES:
        raise TooLarge(f"the archive has {len(infos)} entries, {MAX_ENTRIES} are read: split it")
    if total > MAX_TOTAL_BYTES:
        raise TooLarge(f"the archive holds {total} bytes unpacked, {MAX_TOTAL_BYTES} are read: split it")
    if total > max(RATIO_FLOOR_BYTES, MAX_RATIO * archive_bytes):
        raise TooLarge(f"the archive would unpack to more than {MAX_RATIO} times its size")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, max_bytes: int) -> bytes:
    if info.flag_bits & _ENCRYPTED:
        raise BrokenObject("the entry is encrypted: send it unencrypted")
    if info.compress_type not in _METHODS:
        raise BrokenObject(f"the entry is packed by method {info.compress_type}; store or deflate it")
    if info.file_size > max_bytes:
        raise TooLarge(f"{info.file_size} bytes exceed the log's limit of {max_bytes}")
    with _archive_at_fault(), archive.open(info) as file:
        return file.read(max_bytes + 1)


@contextmanager
def _archive_at_fault() -> Iterator[None]:
    """What zipfile and zlib make of malformed bytes: they raise whatever these lead them to."""
    try:
        yield
    except (Refused, MemoryError):
        raise
    except OSError as error:
        if error.errno != errno.EINVAL:  # which is what a place before the file's beginning leads to
            raise
        raise BrokenObject("the archive is broken or cut off (OSError)") from None
    except Exception as error:
        raise BrokenObject(f"the archive is broken or cut off ({type(error).__name__})") from None


def _is_wanted(info: zipfile.ZipInfo) -> bool:
    parts = PurePosixPath(info.filename).parts
    outside = any(is_hidden(part) and part != ".." for part in parts) or _MAC_FOLDER in parts
    return not (info.is_dir() or outside or _is_dicomdir(info.filename))


def _is_dicomdir(name: str) -> bool:
    return PurePosixPath(name).name.upper() == DICOMDIR


def _sidecar_of(name: str, infos: dict[str, zipfile.ZipInfo]) -> zipfile.ZipInfo | None:
    if _suffix(name) not in PICTURE_SUFFIXES:
        return None
    stem = name[: -len(_suffix(name))]
    return infos.get(stem + SIDECAR_SUFFIX) or infos.get(stem + SIDECAR_SUFFIX.upper())


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
