"""Which processes run on this state folder: each announces itself in STATE/instances while it lives.

A file names the process by its id and its start, since an id alone is given to another program sooner or later. What a
killed process left there is recognised by that, and tidied by the next one who looks.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil

from radiolog import __version__
from radiolog.stack.state import StateFolder

FOLDER = "instances"
START_TOLERANCE_SECONDS = 2.0
"""psutil derives a start from the time of boot, which moves a little when the clock is set."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One running process.

    Attributes:
        service: what it is.
        ordinal: which of the service's instances.
        pid: its process id.
        process_started: when the process began, in seconds since 1970.
        probe: URL of its probes.
        version: of radiolog.
        started_at: when it announced itself, ISO 8601.
    """

    service: str
    ordinal: int
    pid: int
    process_started: float
    probe: str
    version: str
    started_at: str

    @property
    def name(self) -> str:
        """Unique among those that live."""
        return f"{self.service}-{self.ordinal}"

    @property
    def lives(self) -> bool:
        """Whether its process is there still."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.process_started) <= START_TOLERANCE_SECONDS
            return same and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False


@contextmanager
def announced(state_dir: Path, service: str, ordinal: int | None, probe: str) -> Iterator[Instance]:
    """Announces this process while the context lasts.

    Args:
        state_dir: The state folder.
        service: What this is.
        ordinal: Which instance; None for the lowest number that no other of the service has.
        probe: URL of its probes.

    Raises:
        StateFolderError, OSError: the state folder can't be written.
    """
    state, folder = StateFolder(state_dir), state_dir / FOLDER
    if not folder.is_dir():  # it may be the one that can be written, where the rest is read-only
        state.create()
        state.subfolder(FOLDER)
    with _locked(folder):
        taken = {other.ordinal for other in _living(folder) if other.service == service}
        number = ordinal if ordinal is not None else min(set(range(len(taken) + 1)) - taken)
        pid, now = os.getpid(), datetime.now(UTC).isoformat(timespec="seconds")
        me = Instance(service, number, pid, psutil.Process(pid).create_time(), probe, __version__, now)
        file = folder / f"{me.name}.json"
        state.write_private(file, json.dumps(asdict(me)))
    try:
        yield me
    finally:
        with suppress(OSError), _locked(folder):
            if _read(file) == me:  # another process may have taken the ordinal over
                file.unlink()


def instances(state_dir: Path) -> list[Instance]:
    """Those that live, by name; what dead ones left is removed."""
    folder = state_dir / FOLDER
    if not folder.is_dir():
        return []
    with _locked(folder):
        return _living(folder)


def _living(folder: Path) -> list[Instance]:
    found = []
    for file in sorted(folder.glob("*.json")):
        instance = _read(file)
        if instance is not None and instance.lives:
            found.append(instance)
        else:
            file.unlink(missing_ok=True)
    return found


def _read(file: Path) -> Instance | None:
    try:
        return Instance(**json.loads(file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the folder, for as long as it takes to read or write a few small files."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
