"""The folder adapter: files that a device drops into a folder go onto the log, then into `done/` or `rejected/`.

A file moves to `done/` only after the broker has acknowledged it. While the log is down files stay where they are and
are tried again. Nothing is remembered between two runs: what lies in the folder is what is still to do.
"""

import os
import threading
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

    def __init__(self, folder: Path, intake: Intake, poll_seconds: float) -> None:
        self._folder = folder
        self._intake = intake
        self._poll_seconds = poll_seconds
        self._source = ImageSource(kind=SourceKind.FOLDER, peer=folder.name, adapter="folder")
        self._seen: dict[str, _Version] = {}

    def run(self, stop: threading.Event) -> None:
        """Scan every `poll_seconds` until `stop` is set.

        Raises:
            OSError: the folder cannot be read or written.
        """
        while not stop.is_set():
            self.scan(stop)
            stop.wait(self._poll_seconds)

    def scan(self, stop: threading.Event | None = None) -> None:
        """Look once: publish every file that has not changed since the scan before."""
        versions = self._versions()
        settled = [name for name, version in sorted(versions.items()) if self._seen.get(name) == version]
        self._seen = versions
        for name in settled:
            if stop is not None and stop.is_set():
                return
            try:
                self._take(self._folder / name, versions[name])
            except LogError as error:
                log.warning("log unavailable, files stay", folder=self._folder.name, cause=type(error).__name__)
                return

    def _versions(self) -> dict[str, _Version]:
        versions = {}
        with os.scandir(self._folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                    versions[entry.name] = _Version.of(entry.stat(follow_symlinks=False))
        return versions

    def _take(self, path: Path, version: _Version) -> None:
        try:
            received = read_object(path, self._source, self._intake.max_received_bytes)
            if received is not None:
                self._intake.accept(received)
            # A device may have written the next object under the same name meanwhile: that one is still to do.
            if _Version.of(path.stat()) == version:
                self._move(path, DONE)
        except FileNotFoundError:
            return  # taken away since the scan
        except Refused as refused:
            self._reject(path, str(refused))
        except PermissionError:
            self._reject(path, "the file may not be read: give it to the adapter's user")

    def _reject(self, path: Path, reason: str) -> None:
        # File names often hold the patient's name, so none is logged.
        log.warning("file rejected", folder=self._folder.name, reason=reason)
        moved = self._move(path, REJECTED)
        moved.with_name(moved.name + REASON_SUFFIX).write_text(reason + "\n", encoding="utf-8")

    def _move(self, path: Path, folder: str) -> Path:
        """Move a file into `done/` or `rejected/`, under a name that is free there."""
        target = _reserved(self._folder / folder, path)
        os.replace(path, target)
        self._seen.pop(path.name, None)
        return target


def _reserved(folder: Path, path: Path) -> Path:
    """An empty file made for `path` to replace: `scan.dcm`, or `scan.1.dcm`, `scan.2.dcm`, ... where that is taken."""
    folder.mkdir(exist_ok=True)
    number = 0
    while True:
        target = folder / (f"{path.stem}.{number}{path.suffix}" if number else path.name)
        try:
            target.open("xb").close()
        except FileExistsError:
            number += 1
        else:
            return target
