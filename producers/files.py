"""Files onto the log, as one parcel after another: DICOM, pictures with their sidecars, archives and media."""

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID

from producers import archive, medium, part10, photograph
from producers.errors import BrokenObject, Incomplete, Refused, TooLarge
from producers.intake import Intake, ReceivedObject
from producers.parcels import SIDECAR_SUFFIX, Kind, Parcel, is_hidden, parcel_of
from producers.sidecar import MAX_SIDECAR_BYTES
from producers.values import plain
from schemas.events import ImageSource, SourceKind

ADAPTER = "publish"

Wrap = Callable[[bytes, bytes], tuple[bytes, str]]
"""Makes a picture and its sidecar a data set in a transfer syntax: in this process, or in one of its own."""


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file, or of one entry of an archive: `event_id` if it is on the log, else the `reason`."""

    path: Path
    event_id: UUID | None
    reason: str | None


def publish_paths(paths: Iterable[Path], intake: Intake, wrap: Wrap = photograph.wrap) -> Iterator[FileResult]:
    """Publish files and, in order of their names, all files below folders; DICOMDIRs and hidden files are skipped.

    A file need not be complete: without preamble, or without file meta information, it is published if it parses.

    Raises:
        LogError: the log does not acknowledge; what was not yielded yet is not known to be on it.
        WrappingUnavailable: as `wrap` does.
    """
    source = ImageSource(kind=SourceKind.FILE, peer="", adapter=ADAPTER)
    for path in _walk(paths):
        parcel = parcel_of(path)
        if parcel is None:
            continue
        try:
            yield from publish(parcel, source, intake, wrap)
        except Refused as refused:
            yield FileResult(path, None, str(refused))
        except OSError as error:
            yield FileResult(path, None, _unreadable(error))


def publish(
    parcel: Parcel, source: ImageSource, intake: Intake, wrap: Wrap, already: Collection[Path] = frozenset()
) -> Iterator[FileResult]:
    """Publish the objects of a parcel, and say what became of each; those of `already` are passed over.

    Raises:
        Refused: the parcel as a whole; of one that holds a single object, the object.
        OSError: it cannot be read.
        LogError: the log does not acknowledge.
        WrappingUnavailable: as `wrap` does.
    """
    limit = intake.max_received_bytes
    match parcel.kind:
        case Kind.ARCHIVE:
            with archive.opened(parcel.path) as opened:
                lenient, entries = archive.has_dicomdir(opened), archive.entries(opened)
                if not entries:
                    raise BrokenObject("the archive holds no file")
                for entry in entries:
                    read = partial(_entry, entry, source, limit, wrap, lenient)
                    yield from _accepted(parcel.path / plain(entry.name).lstrip("/"), read, intake)
        case Kind.MEDIUM:
            for path in medium.objects_of(parcel.path):
                if path not in already:
                    yield from _accepted(path, partial(read_object, path, source, limit), intake)
        case _:
            if (received := _single(parcel, source, limit, wrap)) is not None:
                yield FileResult(parcel.path, intake.accept(received), None)


def read_object(path: Path, source: ImageSource, max_bytes: int) -> ReceivedObject | None:
    """The object in a DICOM file; None for a DICOMDIR, which is an index of other files.

    Raises:
        OSError: the file cannot be read.
        Refused: it is no regular file, larger than `max_bytes`, empty, or its file meta information is broken.
    """
    return _dicom(read_bytes(path, max_bytes), source)


def read_bytes(path: Path, max_bytes: int) -> bytes:
    """The content of a file.

    Raises:
        OSError: it cannot be read.
        Refused: it is no regular file, or larger than `max_bytes`.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise BrokenObject("not a regular file")  # a pipe or a device may never end
    with path.open("rb") as opened:
        content = opened.read(min(status.st_size, max_bytes) + 1)
    if len(content) > max_bytes:
        raise TooLarge(f"{max(status.st_size, len(content))} bytes exceed the log's limit of {max_bytes}")
    return content


def _accepted(path: Path, read: Callable[[], ReceivedObject | None], intake: Intake) -> Iterator[FileResult]:
    """One of many objects: what is wrong with it does not stop the others."""
    try:
        received = read()
        if received is not None:
            yield FileResult(path, intake.accept(received), None)
    except Refused as refused:
        yield FileResult(path, None, str(refused))
    except PermissionError as error:
        yield FileResult(path, None, _unreadable(error))


def _single(parcel: Parcel, source: ImageSource, max_bytes: int, wrap: Wrap) -> ReceivedObject | None:
    if parcel.kind is Kind.OBJECT:
        return read_object(parcel.path, source, max_bytes)
    if parcel.kind is Kind.SIDECAR:
        raise Incomplete("a sidecar without its picture: NAME.jpg, NAME.png or NAME.tif belongs beside NAME.json")
    content = read_bytes(parcel.path, max_bytes)
    sidecar = read_bytes(parcel.sidecar, MAX_SIDECAR_BYTES) if parcel.sidecar is not None else None
    return _picture(content, sidecar, source, wrap)


def _entry(
    entry: archive.Entry, source: ImageSource, max_bytes: int, wrap: Wrap, lenient: bool
) -> ReceivedObject | None:
    """The object in an entry; of a medium (`lenient`) also None for what only accompanies the objects."""
    content = entry.read(max_bytes)
    if entry.is_picture and (entry.sidecar is not None or not lenient):
        return _picture(content, entry.read_sidecar(MAX_SIDECAR_BYTES), source, wrap)
    if lenient and not part10.has_preamble(content):
        return None
    return _dicom(content, source)


def _picture(content: bytes, sidecar: bytes | None, source: ImageSource, wrap: Wrap) -> ReceivedObject | None:
    if part10.has_preamble(content):  # DICOM, whatever its name says
        return _dicom(content, source)
    if sidecar is None:
        raise Incomplete(f"a picture without its sidecar: NAME{SIDECAR_SUFFIX} belongs beside it, see docs/folder.md")
    dataset, transfer_syntax = wrap(content, sidecar)
    return ReceivedObject(dataset, transfer_syntax, source, datetime.now(UTC))


def _dicom(content: bytes, source: ImageSource) -> ReceivedObject | None:
    file = part10.parse(content)
    if file.is_dicomdir:
        return None
    if not file.dataset:
        raise BrokenObject("the file holds no data set")
    # The class in the file meta information is not held against the data set: copies edited by hand differ there.
    return ReceivedObject(file.dataset, file.transfer_syntax, source, datetime.now(UTC))


def _unreadable(error: OSError) -> str:
    return f"cannot be read: {error.strerror}"


def _walk(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not is_hidden(name))
            yield from (Path(folder, name) for name in sorted(names) if not is_hidden(name))
