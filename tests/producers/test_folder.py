import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from producers.folder import FolderWatcher
from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from radiolog.log.errors import LogUnavailable
from radiolog.log.publisher import Fact, MemoryPublisher
from radiolog.settings import Settings
from schemas.events import ImageEvent, SourceKind


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    folder = tmp_path / "ct-room-2"
    folder.mkdir()
    return folder


@pytest.fixture
def watcher(inbox: Path, intake: Intake) -> FolderWatcher:
    return FolderWatcher(inbox, intake, poll_seconds=0.01)


@pytest.fixture
def ct(sample: Callable[[str], Path]) -> Path:
    return sample("CT_small.dcm")


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_settled_file_is_published_and_moved(
    watcher: FolderWatcher, inbox: Path, ct: Path, images: Callable[[], list[ImageEvent]]
) -> None:
    shutil.copy(ct, inbox)
    watcher.scan()
    assert not images()
    watcher.scan()
    (event,) = images()
    assert (event.source.kind, event.source.peer) == (SourceKind.FOLDER, "ct-room-2")
    assert (inbox / "done" / ct.name).read_bytes() == ct.read_bytes()
    assert not (inbox / ct.name).exists()


def test_a_file_that_still_grows_waits(
    watcher: FolderWatcher, inbox: Path, ct: Path, images: Callable[[], list[ImageEvent]]
) -> None:
    content = ct.read_bytes()
    for end in (1000, 2000, len(content)):
        (inbox / "growing.dcm").write_bytes(content[:end])
        watcher.scan()
        assert not images()
    watcher.scan()
    assert len(images()) == 1


def test_a_file_of_the_same_size_written_again_waits(
    watcher: FolderWatcher, inbox: Path, ct: Path, images: Callable[[], list[ImageEvent]]
) -> None:
    target = inbox / "a.dcm"
    for second in range(3):
        target.write_bytes(ct.read_bytes())
        os.utime(target, (second, second))
        watcher.scan()
    assert not images()


def test_a_broken_file_is_rejected_with_its_reason(
    watcher: FolderWatcher, inbox: Path, images: Callable[[], list[ImageEvent]]
) -> None:
    (inbox / "noise.dcm").write_bytes(b"noise" * 100)
    watcher.scan()
    watcher.scan()
    assert not images()
    assert _files(inbox) == ["noise.dcm", "noise.dcm.reason.txt"]
    assert "is not DICOM" in (inbox / "rejected" / "noise.dcm.reason.txt").read_text()


def test_while_the_log_is_down_files_stay(
    watcher: FolderWatcher,
    inbox: Path,
    ct: Path,
    publisher: MemoryPublisher,
    images: Callable[[], list[ImageEvent]],
) -> None:
    shutil.copy(ct, inbox)
    publisher.failure = LogUnavailable("no broker")
    for _ in range(3):
        watcher.scan()
    assert [path.name for path in inbox.iterdir()] == [ct.name]
    publisher.failure = None
    watcher.scan()
    assert len(images()) == 1
    assert (inbox / "done" / ct.name).exists()


def test_nothing_in_done_is_overwritten(watcher: FolderWatcher, inbox: Path, sample: Callable[[str], Path]) -> None:
    for name in ("CT_small.dcm", "MR_small.dcm", "CT_small.dcm"):
        shutil.copy(sample(name), inbox / "image.dcm")
        watcher.scan()
        watcher.scan()
    assert _files(inbox / "done") == ["image.1.dcm", "image.2.dcm", "image.dcm"]
    assert (inbox / "done" / "image.1.dcm").read_bytes() == sample("MR_small.dcm").read_bytes()


def test_a_restart_goes_on_where_it_was(
    inbox: Path, ct: Path, intake: Intake, images: Callable[[], list[ImageEvent]]
) -> None:
    shutil.copy(ct, inbox)
    FolderWatcher(inbox, intake, 0.01).scan()
    again = FolderWatcher(inbox, intake, 0.01)
    again.scan()
    again.scan()
    assert len(images()) == 1


def test_links_folders_and_hidden_files_are_left_alone(watcher: FolderWatcher, inbox: Path, ct: Path) -> None:
    (inbox / "link.dcm").symlink_to(ct)
    (inbox / "folder").mkdir()
    shutil.copy(ct, inbox / ".partial.dcm")
    watcher.scan()
    watcher.scan()
    assert sorted(path.name for path in inbox.iterdir()) == [".partial.dcm", "folder", "link.dcm"]


class Hooked(MemoryPublisher):
    """Does something as soon as the log has an object."""

    def __init__(self, then: Callable[[], object]) -> None:
        super().__init__()
        self._then = then

    def publish(self, facts: Sequence[Fact]) -> None:
        super().publish(facts)
        self._then()


def test_an_object_written_over_while_it_is_published_is_not_lost(
    inbox: Path, ct: Path, pseudonyms: Pseudonyms, settings: Settings, sample: Callable[[str], Path]
) -> None:
    target, next_one = inbox / "image.dcm", sample("MR_small.dcm").read_bytes()
    shutil.copy(ct, target)
    publisher = Hooked(lambda: target.write_bytes(next_one))
    watcher = FolderWatcher(inbox, Intake(publisher, pseudonyms, settings), 0.01)
    watcher.scan()
    watcher.scan()
    assert target.read_bytes() == next_one
    assert not (inbox / "done").exists()


def test_run_ends_when_told(inbox: Path, ct: Path, pseudonyms: Pseudonyms, settings: Settings) -> None:
    stop, published = threading.Event(), threading.Event()
    watcher = FolderWatcher(inbox, Intake(Hooked(published.set), pseudonyms, settings), 0.01)
    shutil.copy(ct, inbox)
    thread = threading.Thread(target=watcher.run, args=(stop,))
    thread.start()
    assert published.wait(10)
    stop.set()
    thread.join(10)
    assert not thread.is_alive()
