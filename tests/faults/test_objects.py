"""The disk of the object store is full while a device sends objects that are too large for an event."""

import errno
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import pytest

from producers.intake import Intake, ReceivedObject
from producers.part10 import parse
from radiolog.log.objects import ObjectStoreUnavailable
from radiolog.log.publisher import Fact
from schemas.events import ImageSource, SourceKind
from tests.faults.load import Load, radiograph
from tests.faults.servers import until
from tests.faults.trial import full_or

EDGE = 512
OBJECTS = full_or(24, 150)
DISK_BYTES = 128 << 20
SOURCE = ImageSource(kind=SourceKind.FILE, peer="test", adapter="test")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own for the objects; only root can make one."""
    if os.geteuid() != 0:
        pytest.skip("a full disk needs a file system of its own, which only root can mount")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"a full disk needs a file system of its own: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


class Counted:
    """A publisher whose ledger the checker reads."""

    def __init__(self, load: Load) -> None:
        self._load = load

    def publish(self, facts: Sequence[Fact]) -> None:
        self._load.put_facts(facts)


def received(number: int) -> ReceivedObject:
    file = parse(radiograph(EDGE, number))
    return ReceivedObject(file.dataset, file.transfer_syntax, SOURCE, datetime.now(UTC))


@contextmanager
def filled(disk: Path) -> Iterator[None]:
    """Not a byte is left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        write_for_ever(file)
    yield
    ballast.unlink()


def write_for_ever(file: BinaryIO) -> None:
    while True:
        file.write(bytes(1 << 16))


def test_the_disk_of_the_object_store_is_full(trial, small_disk):
    run = trial(object_store_url=(small_disk / "objects").as_uri(), inline_max_bytes=64 << 10)
    intake = Intake(Counted(run.load), None, run.settings)
    run.load.publish(full_or(200, 1000))
    run.fleet.start()
    for number in range(OBJECTS // 2):
        intake.accept(received(number))

    def be_full() -> None:
        with filled(small_disk):
            for number in range(OBJECTS // 2, OBJECTS):
                with pytest.raises(ObjectStoreUnavailable):
                    intake.accept(received(number))

    run.strike(be_full)
    for number in range(OBJECTS // 2, OBJECTS):  # as devices do that were refused for now
        intake.accept(received(number))
    until(lambda: run.progress.done("preprocess") >= run.load.records, what="every object preprocessed")
    run.finish(4, "disk of the object store full", f"{OBJECTS - OBJECTS // 2} objects refused, sent again")
