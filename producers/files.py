"""DICOM files onto the log: one file, or whole folders."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from producers import part10
from producers.errors import BrokenObject, Refused, TooLarge
from producers.intake import Intake, ReceivedObject
from schemas.events import ImageSource, SourceKind

ADAPTER = "publish"


@dataclass(frozen=True, slots=True)
class FileResult:
    """What became of one file: `event_id` if it is on the log, else the `reason` why not."""

    path: Path
    event_id: UUID | None
    reason: str | None


def publish_paths(paths: Iterable[Path], intake: Intake) -> Iterator[FileResult]:
    """Publish files and, in order of their names, all files below folders; DICOMDIRs and hidden files are skipped.

    A file need not be complete: without preamble, or without file meta information, it is published if it parses.

    Raises:
        LogError: the log does not acknowledge; what was not yielded yet is not known to be on it.
    """
    source = ImageSource(kind=SourceKind.FILE, peer="", adapter=ADAPTER)
    for path in _walk(paths):
        try:
            received = read_object(path, source, intake.max_received_bytes)
            if received is not None:
                yield FileResult(path, intake.accept(received), None)
        except Refused as refused:
            yield FileResult(path, None, str(refused))
        except OSError as error:
            yield FileResult(path, None, f"cannot be read: {error.strerror}")


def read_object(path: Path, source: ImageSource, max_bytes: int) -> ReceivedObject | None:
    """The object in a file; None for a DICOMDIR, which is an index of other files.

    Raises:
        OSError: the file cannot be read.
        Refused: it is no regular file, larger than `max_bytes`, empty, or its file meta information is broken.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise BrokenObject("not a regular file")  # a pipe or a device may never end
    with path.open("rb") as opened:
        content = opened.read(min(status.st_size, max_bytes) + 1)
    if len(content) > max_bytes:
        raise TooLarge(f"{max(status.st_size, len(content))} bytes exceed the log's limit of {max_bytes}")
    file = part10.parse(content)
    if file.is_dicomdir:
        return None
    if not file.dataset:
        raise BrokenObject("the file holds no data set")
    # The class in the file meta information is not held against the data set: copies edited by hand differ there.
    return ReceivedObject(file.dataset, file.transfer_syntax, source, datetime.now(UTC))


def _walk(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))
