"""The folder adapter: files that a device drops into a folder go onto the log, then into `done/` or `rejected/`.

A file moves to `done/` only after the broker has acknowledged it. While the log is down files stay where they are and
are tried again. Nothing is remembered between two runs: what lies in the folder is what is still to do.

A file is read once it has not changed between two scans. A copy over a network may stall for longer than that, so a
file that is refused stays too, and is read again at each scan: it moves to `rejected/` when it has been refused
unchanged `REFUSALS` times. A file that fails in any other way stays, is tried again, and does not stop the others.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from producers.errors import Refused
from producers.files import read_object
from producers.intake import Intake
from radiolog.log.errors import LogError
from schemas.events import ImageSource, SourceKind

DONE, REJECTED = "done", "rejected"
REASON_SUFFIX = ".reason.txt"
REFUSALS = 6
LONGEST_NAME_BYTES = 255

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Version:
    """Size in bytes and time of change: a file whose version differs between two scans is still being written."""

    size: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> "_Version":
        return cls(status.st_size, status.st_mtime_ns)


class FolderWatcher:
    """Publishes the files of one folder; one watcher a folder."""

    def __init__(
        self, folder: Path, intake: Intake, poll_seconds: float, on_step: Callable[[], None] = lambda: None
    ) -> None:
        self._folder = folder
        self._intake = intake
        self._poll_seconds = poll_seconds
        self._on_step = on_step
        self._source = ImageSource(kind=SourceKind.FOLDER, peer=folder.name, adapter="folder")
        self._seen: dict[str, _Version] = {}
        self._refusals: dict[str, int] = {}
        self._published: dict[str, _Version] = {}

    def run(self, stop: threading.Event) -> None:
        """Scan every `poll_seconds` until `stop` is set.

        Raises:
            OSError: the folder cannot be read.
        """
        while not stop.is_set():
            self.scan(stop)
            stop.wait(self._poll_seconds)

    def scan(self, stop: threading.Event | None = None) -> None:
        """Look once: publish every file that has not changed since the scan before."""
        self._on_step()
        versions = self._versions()
        settled = [name for name, version in sorted(versions.items()) if self._seen.get(name) == version]
        self._seen = versions
        self._refusals = {name: count for name, count in self._refusals.items() if name in settled}
        self._published = {name: version for name, version in self._published.items() if name in versions}
        for name in settled:
            if stop is not None and stop.is_set():
                return
            self._on_step()
            try:
                self._take(self._folder / name, versions[name])
            except LogError as error:
                log.warning("log unavailable, files stay", folder=self._folder.name, cause=type(error).__name__)
                return
            except Exception as error:  # whatever it is: its message may quote the file, and the others can go on
                log.error("file skipped", folder=self._folder.name, cause=type(error).__name__)

    def _versions(self) -> dict[str, _Version]:
        versions = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                    versions[entry.name] = _Version.of(entry.stat(follow_symlinks=False))
        return versions

    def _take(self, path: Path, version: _Version) -> None:
        try:
            if self._published.get(path.name) != version:  # it is, where only the move failed
                self._publish(path)
        except FileNotFoundError:
            return  # taken away since the scan
        except Refused as refused:
            self._refuse(path, version, str(refused))
        except PermissionError:
            self._refuse(path, version, "the file may not be read: give it to the adapter's user")
        else:
            self._published[path.name] = version
            if _is_still(path, version):
                self._move(path, DONE)

    def _publish(self, path: Path) -> None:
        received = read_object(path, self._source, self._intake.max_received_bytes)
        if received is not None:
            self._intake.accept(received)

    def _refuse(self, path: Path, version: _Version, reason: str) -> None:
        """Move a file to `rejected/` once it has been refused often enough and is still the one that was read."""
        self._refusals[path.name] = self._refusals.get(path.name, 0) + 1
        if self._refusals[path.name] < REFUSALS or not _is_still(path, version):
            return
        # File names often hold the patient's name, so none is logged.
        log.warning("file rejected", folder=self._folder.name, reason=reason)
        moved = self._move(path, REJECTED)
        moved.with_name(_shortened(moved.name, REASON_SUFFIX)).write_text(reason + "\n", encoding="utf-8")

    def _move(self, path: Path, folder: str) -> Path:
        """Move a file into `done/` or `rejected/`, under a name that is free there."""
        target = _reserved(self._folder / folder, path)
        os.replace(path, target)
        self._seen.pop(path.name, None)
        self._refusals.pop(path.name, None)
        self._published.pop(path.name, None)
        return target


def _is_still(path: Path, version: _Version) -> bool:
    """Whether nobody has written the file since; a device may put its next object under the same name at any time."""
    try:
        return _Version.of(path.stat()) == version
    except FileNotFoundError:
        return False


def _reserved(folder: Path, path: Path) -> Path:
    """An empty file made for `path` to replace: `scan.dcm`, or `scan.1.dcm`, `scan.2.dcm`, ... where that is taken."""
    folder.mkdir(exist_ok=True)
    number = 0
    while True:
        target = folder / (_shortened(path.stem, f".{number}{path.suffix}") if number else path.name)
        try:
            target.open("xb").close()
        except FileExistsError:
            number += 1
        else:
            return target


def _shortened(name: str, suffix: str) -> str:
    """`name` and `suffix` as one file name, `name` cut where both together are too long for a file system."""
    room = LONGEST_NAME_BYTES - len(os.fsencode(suffix))
    return os.fsencode(name)[:room].decode(errors="ignore") + suffix
