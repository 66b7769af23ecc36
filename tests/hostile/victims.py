"""The processes under attack: both adapters and the folder's, with the stages behind them; and what it cost them."""

import asyncio
import re
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import asyncpg
import psutil

from radiolog.log.replay import pin, read
from radiolog.log.stage import Received
from radiolog.settings import MIB, Settings
from schemas.events import SourceKind
from schemas.registry import codec
from schemas.topics import IMAGES
from tests.conftest import free_port
from tests.faults.fleet import Fleet, Instance, environment_of
from tests.hostile.objects import MARK

TOKEN = "0123456789abcdef" * 2
LIMITS = {
    "dicom_acceptors": "2",
    "dicom_associations": "64",
    "dicom_peer_associations": "16",
    "inline_max_bytes": str(MIB),
    "object_max_bytes": str(32 * MIB),
    "receive_max_bytes": str(128 * MIB),
}
CAP_BYTES = 768 * MIB
"""What no process of an adapter may exceed under these limits; it is 150 MB when idle."""
LOOK_SECONDS = 0.2
#: What only a fault of ours writes, and how it would show.
FAULTS = re.compile(
    r"Traceback|internal error|request failed|file skipped|service died|Exception in thread|Segmentation"
)


@dataclass
class Watch:
    """Looks at processes while they are attacked.

    Attributes:
        peaks: largest resident memory of each process, in bytes, by its role.
        gone: roles whose process ended, or was another than before.
    """

    roots: Mapping[str, Instance]
    peaks: dict[str, int] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._known = self._family()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        family = self._family()
        self.gone += [role for role, pid in self._known.items() if family.get(role) != pid]
        self._known = family
        for role, pid in family.items():
            self.peaks[role] = max(self.peaks.get(role, 0), high_water_mark(pid))

    def _family(self) -> dict[str, int]:
        """Each adapter process, acceptors included, by what it is."""
        found = {}
        for role, instance in self.roots.items():
            with suppress(psutil.NoSuchProcess, AssertionError):
                root = psutil.Process(instance.pid)
                if root.status() == psutil.STATUS_ZOMBIE:
                    continue
                found[role] = root.pid
                children = [child for child in root.children() if "--post" in " ".join(child.cmdline())]
                found |= {f"{role} acceptor {_post(child)}": child.pid for child in children}
        return found


def _post(acceptor: psutil.Process) -> str:
    return acceptor.cmdline()[-1].partition(":")[0]


def high_water_mark(pid: int) -> int:
    """VmHWM of proc(5), in bytes."""
    with suppress(OSError):
        if found := re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()):
            return int(found[1]) * 1024
    return 0


class Victims:
    """The site's processes."""

    def __init__(self, settings: Settings, folder: Path, entry: Sequence[str], limits: Mapping[str, str]) -> None:
        assert settings.site_secret is not None
        self.settings = settings
        self.inbox = folder / "inbox"
        self.inbox.mkdir()
        self.dicom_port, self.stow_port = free_port(), free_port()
        values = limits | {
            "site_secret": settings.site_secret.get_secret_value(),
            "dicom_port": str(self.dicom_port),
            "stow_port": str(self.stow_port),
            "stow_tokens": f"good={TOKEN}",
            "folder_poll_seconds": "0.1",
        }
        environment = environment_of(settings) | {f"RADIOLOG_{name.upper()}": value for name, value in values.items()}
        commands = {"dicom": ("dicom",), "stow": ("stow",), "folder": ("folder", str(self.inbox))}
        self.adapters = {
            name: Instance(name, 0, (sys.executable, *entry, "adapter", *command), environment, folder / f"{name}.log")
            for name, command in commands.items()
        }
        self.fleet = Fleet(settings, folder)
        self._logs = folder

    def start(self, stages: bool) -> None:
        for adapter in self.adapters.values():
            adapter.start()
        if stages:
            self.fleet.start()
        for adapter in self.adapters.values():
            assert adapter.await_ready(), adapter.log()[-2000:]

    def close(self) -> None:
        for adapter in self.adapters.values():
            adapter.close()
        self.fleet.close()

    def stop(self) -> list[int]:
        """Exit codes after SIGTERM, of adapters and stages."""
        for adapter in self.adapters.values():
            adapter.end()
        return [adapter.reaped() for adapter in self.adapters.values()] + self.fleet.stop_ready()

    def restarted(self) -> list[str]:
        """Stages that ended by themselves."""
        return [instance.stage for instance in self.fleet.instances.values() if instance.exits]

    def faults(self) -> list[str]:
        """Lines of logs that only a fault of ours writes, the first words of each."""
        return [line[:200] for line in self._lines() if FAULTS.search(line)]

    def leaks(self) -> list[str]:
        """Names of logs that quote what was sent."""
        return sorted(
            {path.name for path in self._logs.glob("*.log") if MARK.lower() in path.read_text(errors="replace").lower()}
        )

    def _lines(self) -> Iterator[str]:
        for path in self._logs.glob("*.log"):
            yield from path.read_text(errors="replace").splitlines()

    def from_folder(self) -> set[UUID]:
        """The images on the log that came out of the folder."""
        read_ = read(self.settings, codec(self.settings), pin(self.settings, IMAGES))
        events = (item.event for item in read_ if isinstance(item, Received))
        return {event.event_id for event in events if event.source.kind is SourceKind.FOLDER}

    def results(self, wanted: Collection[UUID]) -> dict[UUID, str]:
        """What became of these images: "diagnosed" or "dead letter", of those that have come to their end."""
        url = self.settings.database_url.get_secret_value()
        return asyncio.run(_results(url, wanted))


async def _results(url: str, wanted: Iterable[UUID]) -> dict[UUID, str]:
    connection = await asyncpg.connect(url)
    found: dict[UUID, str] = {}
    try:
        for table, outcome in (("dead_letter", "dead letter"), ("diagnosis", "diagnosed")):
            query = f"select distinct image_event_id from {table} where image_event_id = any($1::uuid[])"
            found |= {row[0]: outcome for row in await connection.fetch(query, list(wanted))}
    finally:
        await connection.close()
    return found


@contextmanager
def victims(
    settings: Settings, folder: Path, entry: Sequence[str] = ("-m", "radiolog"), stages: bool = True, **limits: str
) -> Iterator[Victims]:
    """Runs them all; whatever happens, none is left."""
    with ExitStack() as stack:
        made = Victims(settings, folder, entry, LIMITS | limits)
        stack.callback(made.close)
        made.start(stages)
        yield made
