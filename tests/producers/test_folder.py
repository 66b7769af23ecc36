import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from producers import files
from producers.files import read_object
from producers.folder import REFUSALS, FolderWatcher
from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from radiolog.log.errors import LogUnavailable, RecordTooLarge
from radiolog.log.publisher import Fact, MemoryPublisher
from radiolog.settings import Settings
from schemas.events import ImageEvent, SourceKind


@pytest.fixture
def ct(sample: Callable[[str], Path]) -> Path:
    return sample("CT_small.dcm")


def _files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def _shelved(inbox: Path, shelf: str, name: str) -> Path:
    """Where a file is now, in the folder of whatever day it was dealt with."""
    (path,) = (inbox / shelf).glob(f"*/{name}")
    return path


def test_a_settled_file_is_published_and_moved(
    watcher: FolderWatcher, inbox: Path, ct: Path, images: Callable[[], list[ImageEvent]]
) -> None:
    shutil.copy(ct, inbox)
    watcher.scan()
    assert not images()
    watcher.scan()
    (event,) = images()
    assert (event.source.kind, event.source.peer) == (SourceKind.FOLDER, "ct-room-2")
    assert _shelved(inbox, "done", ct.name).read_bytes() == ct.read_bytes()
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
    for _ in range(REFUSALS):
        watcher.scan()
        assert _files(inbox) == ["noise.dcm"]
    watcher.scan()
    assert not images()
    assert _files(inbox) == ["noise.dcm", "noise.dcm.reason.txt"]
    assert "not DICOM" in _shelved(inbox, "rejected", "noise.dcm.reason.txt").read_text()


def test_a_copy_that_stalls_is_published_when_it_is_whole(
    watcher: FolderWatcher, inbox: Path, ct: Path, images: Callable[[], list[ImageEvent]]
) -> None:
    content = ct.read_bytes()
    with (inbox / "slow.dcm").open("wb", buffering=0) as file:
        for start, end in ((0, 20_000), (20_000, 30_000), (30_000, len(content))):
            file.write(content[start:end])
            for _ in range(REFUSALS):  # one scan to see the new version, all but one refusal
                watcher.scan()
    assert _shelved(inbox, "done", "slow.dcm").read_bytes() == content
    assert not (inbox / "rejected").exists()
    assert len(images()) == 1


def test_a_file_written_again_while_it_is_refused_is_not_rejected(
    inbox: Path, ct: Path, intake: Intake, monkeypatch: pytest.MonkeyPatch, images: Callable[[], list[ImageEvent]]
) -> None:
    target, whole = inbox / "a.dcm", ct.read_bytes()
    target.write_bytes(whole[:20_000])
    watcher = FolderWatcher(inbox, intake, 0.01)
    for _ in range(REFUSALS):
        watcher.scan()

    def complete_then_read(*arguments: Any) -> object:
        try:
            return read_object(*arguments)
        finally:
            target.write_bytes(whole)

    with monkeypatch.context() as patched:
        patched.setattr(files, "read_object", complete_then_read)
        watcher.scan()
    assert target.read_bytes() == whole
    watcher.scan()
    watcher.scan()
    assert len(images()) == 1


def test_a_file_at_which_the_adapter_fails_does_not_stop_the_others(
    watcher: FolderWatcher,
    inbox: Path,
    ct: Path,
    monkeypatch: pytest.MonkeyPatch,
    images: Callable[[], list[ImageEvent]],
) -> None:
    for name in ("a.dcm", "Kowalska.dcm", "z.dcm"):
        shutil.copy(ct, inbox / name)

    def fail_at_one(path: Path, *arguments: Any) -> object:
        if path.name == "Kowalska.dcm":
            raise RuntimeError("Kowalska")
        return read_object(path, *arguments)

    with monkeypatch.context() as patched, capture_logs() as logs:
        patched.setattr(files, "read_object", fail_at_one)
        for _ in range(REFUSALS + 2):
            watcher.scan()
    assert len(images()) == 2
    assert "RuntimeError" in str(logs)
    assert "Kowalska" not in str(logs)
    watcher.scan()
    assert len(images()) == 3


def test_a_file_that_cannot_be_moved_is_published_once(
    watcher: FolderWatcher, inbox: Path, ct: Path, images: Callable[[], list[ImageEvent]]
) -> None:
    shutil.copy(ct, inbox)
    (inbox / "done").write_text("in the way of the folder")
    os.utime(inbox / "done", (0, 0))
    for _ in range(4):
        watcher.scan()
    assert len(images()) == 1
    (inbox / "done").unlink()
    watcher.scan()
    assert (len(images()), _shelved(inbox, "done", ct.name).exists()) == (1, True)


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
    assert _shelved(inbox, "done", ct.name).exists()


def test_while_the_object_store_takes_nothing_files_stay(
    inbox: Path,
    ct: Path,
    make_settings: Callable[..., Settings],
    publisher: MemoryPublisher,
    pseudonyms: Pseudonyms,
    images: Callable[[], list[ImageEvent]],
) -> None:
    settings = make_settings(inline_max_bytes=10_000)
    place = settings.state_dir / "objects"
    place.write_text("no folder")
    watcher = FolderWatcher(inbox, Intake(publisher, pseudonyms, settings), poll_seconds=0.01)
    shutil.copy(ct, inbox)
    for _ in range(REFUSALS + 2):
        watcher.scan()
    assert [path.name for path in inbox.iterdir()] == [ct.name]
    assert not images()
    place.unlink()
    watcher.scan()
    (image,) = images()
    assert image.payload_ref is not None
    assert _shelved(inbox, "done", ct.name).exists()


def test_nothing_in_done_is_overwritten(watcher: FolderWatcher, inbox: Path, sample: Callable[[str], Path]) -> None:
    for name in ("CT_small.dcm", "MR_small.dcm", "CT_small.dcm"):
        shutil.copy(sample(name), inbox / "image.dcm")
        watcher.scan()
        watcher.scan()
    contents = sorted(path.read_bytes() for path in (inbox / "done").rglob("image*.dcm"))
    assert contents == sorted(sample(f"{name}_small.dcm").read_bytes() for name in ("CT", "MR", "CT"))


def test_a_restart_goes_on_where_it_was(
    inbox: Path, ct: Path, intake: Intake, images: Callable[[], list[ImageEvent]]
) -> None:
    shutil.copy(ct, inbox)
    FolderWatcher(inbox, intake, 0.01).scan()
    again = FolderWatcher(inbox, intake, 0.01)
    again.scan()
    again.scan()
    assert len(images()) == 1


def test_links_and_hidden_files_are_left_alone(watcher: FolderWatcher, inbox: Path, ct: Path) -> None:
    (inbox / "link.dcm").symlink_to(ct)
    (inbox / "folder").symlink_to(ct.parent)
    shutil.copy(ct, inbox / ".partial.dcm")
    (inbox / ".cache").mkdir()
    shutil.copy(ct, inbox / ".cache")
    watcher.scan()
    watcher.scan()
    assert sorted(path.name for path in inbox.iterdir()) == [".cache", ".partial.dcm", "folder", "link.dcm"]


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


def test_a_file_with_the_longest_name_is_rejected_with_its_reason(watcher: FolderWatcher, inbox: Path) -> None:
    name = "ü" * 125 + ".dcm"
    (inbox / name).write_bytes(b"no DICOM")
    for _ in range(REFUSALS + 1):
        watcher.scan()
    (reason,) = set(_files(inbox / "rejected")) - {name}
    assert reason.startswith("üüü")
    assert reason.endswith(".reason.txt")


def test_an_object_that_the_log_finds_too_large_blocks_nothing(
    watcher: FolderWatcher, inbox: Path, ct: Path, publisher: MemoryPublisher
) -> None:
    shutil.copy(ct, inbox)
    publisher.failure = RecordTooLarge("the record has 9 bytes, the log takes 8")
    for _ in range(REFUSALS + 1):
        watcher.scan()
    assert (
        _shelved(inbox, "rejected", f"{ct.name}.reason.txt").read_text() == "the record has 9 bytes, the log takes 8\n"
    )


def test_it_tells_of_each_scan_and_each_file(inbox: Path, intake: Intake, ct: Path) -> None:
    steps: list[str] = []
    watcher = FolderWatcher(inbox, intake, 0.01, lambda: steps.append("step"))
    for name in ("one", "two"):
        shutil.copy(ct, inbox / name)
    watcher.scan()
    assert len(steps) == 1, "nothing has settled yet"
    watcher.scan()
    assert len(steps) == 4
