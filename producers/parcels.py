"""Parcels: what is dropped into a folder as one, published as one, and moved away as one.

A DICOM file is a parcel; so are a picture with its sidecar, an archive, and a whole medium with its DICOMDIR.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
SIDECAR_SUFFIX = ".json"
ARCHIVE_SUFFIX = ".zip"
DICOMDIR = "DICOMDIR"
#: Folders below these many others are left alone; each that is walked through holds a file descriptor.
MAX_DEPTH = 32

Version = tuple[int | bytes, ...]
"""Changes with the parcel: sizes in bytes and times of change, or a digest of many."""


class Kind(Enum):
    """What a parcel is, as far as names tell."""

    OBJECT = auto()
    PICTURE = auto()
    SIDECAR = auto()  # a sidecar without its picture
    ARCHIVE = auto()
    MEDIUM = auto()  # a folder with a DICOMDIR (PS3.10 section 8)


@dataclass(frozen=True, slots=True)
class Parcel:
    """One parcel.

    Attributes:
        kind: what it is.
        path: the file, or the medium's folder.
        sidecar: beside a picture.
    """

    kind: Kind
    path: Path
    sidecar: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All that moves away with it."""
        return (self.path,) if self.sidecar is None else (self.path, self.sidecar)

    def version(self) -> Version:
        """What it is like now.

        Raises:
            OSError: it is gone, or cannot be looked at.
        """
        if self.kind is Kind.MEDIUM:
            return _tree_version(self.path)
        statuses = [os.stat(path, follow_symlinks=False) for path in self.paths]
        return tuple(number for status in statuses for number in (status.st_size, status.st_mtime_ns))


def parcel_of(path: Path) -> Parcel | None:
    """The parcel that a file belongs to; None for a sidecar that belongs to a picture beside it."""
    suffix = path.suffix.lower()
    if suffix == ARCHIVE_SUFFIX:
        return Parcel(Kind.ARCHIVE, path)
    if suffix in PICTURE_SUFFIXES:
        return Parcel(Kind.PICTURE, path, _beside(path, frozenset({SIDECAR_SUFFIX})))
    if suffix == SIDECAR_SUFFIX:
        return None if _beside(path, PICTURE_SUFFIXES) else Parcel(Kind.SIDECAR, path)
    return Parcel(Kind.OBJECT, path)


def is_hidden(name: str) -> bool:
    """Whether a name is one of a file that is still being written, or of the system's own."""
    return name.startswith(".")


def is_medium(folder: Path) -> bool:
    """Whether a folder is a medium; media that were copied may have their names in small letters."""
    return any((folder / name).is_file() for name in (DICOMDIR, DICOMDIR.lower()))


def parcels_below(
    root: Path, skipped: frozenset[str] = frozenset(), on_empty: Callable[[Path], None] = lambda _: None
) -> Iterator[Parcel]:
    """All parcels in a folder and below it, in no order, one at a time: nothing is held of those that went by.

    Links and hidden files are left alone. A DICOMDIR right in the root makes it no medium, since it stays where it is.

    Args:
        root: the folder.
        skipped: names of folders right in it that are left alone.
        on_empty: told of each folder below that holds nothing at all.

    Raises:
        OSError: the root cannot be read.
    """
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.name not in skipped:
                yield from _parcels_at(entry, on_empty, MAX_DEPTH)


def _parcels_at(entry: os.DirEntry[str], on_empty: Callable[[Path], None], depth: int) -> Iterator[Parcel]:
    if is_hidden(entry.name):
        return
    path = Path(entry.path)
    if entry.is_file(follow_symlinks=False):
        if (parcel := parcel_of(path)) is not None:
            yield parcel
    elif entry.is_dir(follow_symlinks=False) and depth:
        if is_medium(path):
            yield Parcel(Kind.MEDIUM, path)
        else:
            yield from _parcels_in(path, on_empty, depth)


def _parcels_in(folder: Path, on_empty: Callable[[Path], None], depth: int) -> Iterator[Parcel]:
    is_empty = True
    with suppress(OSError), os.scandir(folder) as entries:  # it may be taken away meanwhile, or not ours to read
        for entry in entries:
            is_empty = False
            yield from _parcels_at(entry, on_empty, depth - 1)
    if is_empty:
        on_empty(folder)


def files_below(folder: Path) -> Iterator[Path]:
    """All regular files of a medium in order of their names; hidden ones too, since they move with it."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (path for name in sorted(names) if _is_plain_file(path := Path(place, name)))


def _beside(path: Path, suffixes: frozenset[str]) -> Path | None:
    """The file of the same name with one of `suffixes`, in small or capital letters."""
    spelled = (spelling for suffix in sorted(suffixes) for spelling in (suffix, suffix.upper()))
    return next((other for suffix in spelled if _is_plain_file(other := path.with_suffix(suffix))), None)


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _tree_version(folder: Path) -> Version:
    digest, count = hashlib.blake2b(digest_size=16), 0
    for path in files_below(folder):
        status = path.stat(follow_symlinks=False)
        line = f"{path.relative_to(folder)}\0{status.st_size}\0{status.st_mtime_ns}\0"
        digest.update(line.encode(errors="surrogateescape"))
        count += 1
    return (count, digest.digest())
