"""What the folder adapter does with parcels of more than one file, with many, and when it is killed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.fileset import FileSet
from structlog.testing import capture_logs

from producers import folder, medium, shelf
from producers.folder import ABANDONED_SECONDS, PATIENCE, REFUSALS, FolderWatcher
from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from radiolog.log.errors import LogUnavailable
from radiolog.log.publisher import Fact, MemoryPublisher
from radiolog.settings import Settings, load_settings
from schemas.events import ImageEvent

Images = Callable[[], list[ImageEvent]]


@pytest.fixture
def ct(sample: Callable[[str], Path]) -> bytes:
    return sample("CT_small.dcm").read_bytes()


@pytest.fixture
def disc(sample: Callable[[str], Path], tmp_path: Path) -> Path:
    """A medium with three objects, outside the inbox."""
    media = FileSet()
    for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm"):
        media.add(sample(name))
    media.write(tmp_path / "disc")
    return tmp_path / "disc"


def _scan(watcher: FolderWatcher, times: int = 2) -> None:
    for _ in range(times):
        watcher.scan()


def _shelved(inbox: Path, name: str) -> dict[str, bytes]:
    """What is on a shelf, without the day."""
    found = (path for path in (inbox / name).rglob("*") if path.is_file())
    return {"/".join(path.relative_to(inbox / name).parts[1:]): path.read_bytes() for path in found}


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def test_files_in_subfolders_keep_their_places(watcher: FolderWatcher, inbox: Path, ct: bytes, images: Images) -> None:
    _put(inbox / "study" / "series" / "IM1", ct)
    _put(inbox / "study" / "IM2", ct)
    _put(inbox / "study" / "noise", b"noise")
    _put(inbox / "study" / "done" / "IM3", ct)
    _scan(watcher, REFUSALS + 1)
    assert _shelved(inbox, "done") == dict.fromkeys(("study/series/IM1", "study/IM2", "study/done/IM3"), ct)
    assert set(_shelved(inbox, "rejected")) == {"study/noise", "study/noise.reason.txt"}
    assert {event.source.peer for event in images()} == {"ct-room-2"}


def test_a_folder_is_removed_once_it_has_been_empty_for_a_day(watcher: FolderWatcher, inbox: Path) -> None:
    (inbox / "old" / "older").mkdir(parents=True)
    (inbox / "young").mkdir()
    (inbox / "used").mkdir()
    (inbox / "used" / ".lock").touch()
    long_ago = time.time() - ABANDONED_SECONDS - 1
    for path in (inbox / "old" / "older", inbox / "old", inbox / "used"):
        os.utime(path, (long_ago, long_ago))
    watcher.scan()
    assert not (inbox / "old" / "older").exists()
    os.utime(inbox / "old", (long_ago, long_ago))
    watcher.scan()
    assert sorted(path.name for path in inbox.iterdir()) == ["used", "young"]


def test_an_archive_goes_to_done_as_it_is(watcher: FolderWatcher, inbox: Path, ct: bytes, images: Images) -> None:
    with zipfile.ZipFile(inbox / "export.zip", "w") as archive:
        archive.writestr("a/IM1", ct)
        archive.writestr("a/IM2", ct)
    _scan(watcher)
    assert len(images()) == 2
    assert set(_shelved(inbox, "done")) == {"export.zip"}
    assert [path.name for path in inbox.iterdir()] == ["done"]


def test_an_archive_with_a_broken_entry_is_rejected_and_the_others_are_published_once(
    watcher: FolderWatcher, inbox: Path, ct: bytes, images: Images
) -> None:
    with zipfile.ZipFile(inbox / "export.zip", "w") as archive:
        archive.writestr("Kowalska/IM1", ct)
        archive.writestr("Kowalska/IM2", b"noise")
        archive.writestr("Kowalska/IM3", ct)
    with capture_logs() as logs:
        _scan(watcher, 4)
    assert len(images()) == 2
    reason = _shelved(inbox, "rejected")["export.zip.reason.txt"].decode()
    assert reason.splitlines()[0] == "2 objects are on the log, 1 are not"
    assert reason.splitlines()[1].startswith("Kowalska/IM2: the data set is not DICOM")
    assert "1 are not" in str(logs)
    assert "Kowalska" not in str(logs)


def test_an_archive_that_is_still_copied_waits(watcher: FolderWatcher, inbox: Path, ct: bytes, images: Images) -> None:
    with zipfile.ZipFile(inbox / ".whole", "w") as archive:
        archive.writestr("IM1", ct)
    whole = (inbox / ".whole").read_bytes()
    for end in range(1000, len(whole), 9000):
        (inbox / "export.zip").write_bytes(whole[:end])
        _scan(watcher, 3)
        assert not images()
    (inbox / "export.zip").write_bytes(whole)
    _scan(watcher)
    assert len(images()) == 1


def test_a_medium_moves_as_a_whole(watcher: FolderWatcher, inbox: Path, disc: Path, images: Images) -> None:
    (disc / "AUTORUN.INF").write_text("[autorun]")
    (disc / "VIEWER").mkdir()
    (disc / "VIEWER" / "viewer.exe").write_bytes(b"MZ")
    before = {path.relative_to(disc) for path in disc.rglob("*")}
    os.rename(disc, inbox / "CD1")
    _scan(watcher)
    (moved,) = (inbox / "done").glob("*/CD1")
    assert {path.relative_to(moved) for path in moved.rglob("*")} == before
    assert not (inbox / "CD1").exists()
    assert len(images()) == 3


def test_a_medium_is_not_read_before_all_that_it_names_is_there(
    watcher: FolderWatcher, inbox: Path, disc: Path, images: Images
) -> None:
    last = next(medium.objects_of(disc))
    content = last.read_bytes()
    last.unlink()
    os.rename(disc, inbox / "CD1")
    _scan(watcher, REFUSALS + 2)
    assert not images()
    (inbox / "CD1" / last.relative_to(disc)).write_bytes(content)
    _scan(watcher)
    assert images()
    assert not (inbox / "CD1").exists()


def test_a_medium_that_stays_incomplete_is_rejected_in_words(
    watcher: FolderWatcher, inbox: Path, disc: Path, images: Images
) -> None:
    next(medium.objects_of(disc)).unlink()
    os.rename(disc, inbox / "CD1")
    _scan(watcher, PATIENCE)
    assert (inbox / "CD1").exists()
    _scan(watcher, 1)
    assert not images()
    assert b"1 of them are not there: copy it again" in _shelved(inbox, "rejected")["CD1.reason.txt"]


def test_a_medium_with_a_broken_file_is_rejected_and_the_others_are_published_once(
    watcher: FolderWatcher, inbox: Path, disc: Path, images: Images
) -> None:
    paths = list(medium.objects_of(disc))
    broken = paths[1].relative_to(disc)
    paths[1].write_bytes(paths[1].read_bytes()[:800])
    os.rename(disc, inbox / "CD1")
    _scan(watcher, REFUSALS + 1)
    assert len(images()) == len(paths) - 1
    reason = _shelved(inbox, "rejected")["CD1.reason.txt"].decode().splitlines()
    assert reason[0] == f"{len(paths) - 1} objects are on the log, 1 are not"
    assert reason[1].startswith(f"{broken}: ")


def test_a_medium_whose_directory_is_broken_is_rejected(
    watcher: FolderWatcher, inbox: Path, ct: bytes, images: Images
) -> None:
    _put(inbox / "CD1" / "DICOMDIR", b"no directory")
    _put(inbox / "CD1" / "IM1", ct)
    _scan(watcher, REFUSALS + 1)
    assert not images()
    assert b"the DICOMDIR is broken" in _shelved(inbox, "rejected")["CD1.reason.txt"]


def test_what_a_directory_names_outside_of_its_medium_is_not_read(
    watcher: FolderWatcher, inbox: Path, disc: Path, ct: bytes, images: Images
) -> None:
    name = next(medium.objects_of(disc)).relative_to(disc).parts[0]
    content = (disc / "DICOMDIR").read_bytes()
    (disc / "DICOMDIR").write_bytes(content.replace(name.encode(), b"..".ljust(len(name))))
    os.rename(disc, inbox / "CD1")
    _scan(watcher, 3)
    assert not images()
    assert (inbox / "CD1").exists()


def test_a_picture_and_its_sidecar_go_together(
    watcher: FolderWatcher, inbox: Path, picture: Callable[..., bytes], sidecar: Callable[..., bytes], images: Images
) -> None:
    for _ in range(2):
        _put(inbox / "skin.jpg", picture())
        _put(inbox / "skin.json", sidecar())
        _scan(watcher)
    assert len({event.event_id for event in images()}) == 1
    names = {path.name.split(".")[1] for path in (inbox / "done").rglob("skin.*.*")}
    assert len(names) == 1, "the second pair keeps names that belong together"
    assert len(_shelved(inbox, "done")) == 4


@pytest.mark.parametrize("first", ["skin.jpg", "skin.json"])
def test_a_sidecar_may_come_later_or_sooner_than_its_picture(
    watcher: FolderWatcher,
    inbox: Path,
    picture: Callable[..., bytes],
    sidecar: Callable[..., bytes],
    images: Images,
    first: str,
) -> None:
    contents = {"skin.jpg": picture(), "skin.json": sidecar()}
    _put(inbox / first, contents.pop(first))
    _scan(watcher, PATIENCE)
    assert not images()
    ((second, content),) = contents.items()
    _put(inbox / second, content)
    _scan(watcher)
    assert len(images()) == 1
    assert set(_shelved(inbox, "done")) == {"skin.jpg", "skin.json"}


@pytest.mark.parametrize(
    ("name", "words"), [("skin.jpg", b"without its sidecar"), ("skin.json", b"without its picture")]
)
def test_half_a_pair_is_rejected_in_the_end(
    watcher: FolderWatcher, inbox: Path, picture: Callable[..., bytes], name: str, words: bytes
) -> None:
    _put(inbox / name, picture())
    _scan(watcher, PATIENCE + 1)
    assert words in _shelved(inbox, "rejected")[f"{name}.reason.txt"]


def test_a_sidecar_with_an_unknown_field_is_told_in_the_reason_alone(
    watcher: FolderWatcher, inbox: Path, picture: Callable[..., bytes], sidecar: Callable[..., bytes]
) -> None:
    _put(inbox / "skin.jpg", picture())
    _put(inbox / "skin.json", sidecar(kowalska="x"))
    with capture_logs() as logs:
        _scan(watcher, REFUSALS + 1)
    assert "kowalska: is not a field" in _shelved(inbox, "rejected")["skin.jpg.reason.txt"].decode()
    assert "the sidecar is wrong" in str(logs)
    assert "kowalska" not in str(logs)
    assert set(_shelved(inbox, "rejected")) == {"skin.jpg", "skin.json", "skin.jpg.reason.txt"}


def test_of_many_files_few_are_held_in_mind(
    watcher: FolderWatcher, inbox: Path, ct: bytes, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "ROUND", 10)
    monkeypatch.setattr(folder, "LOOK", 20)
    for number in range(75):
        _put(inbox / f"{number}.dcm", ct)
    for rounds in range(1, 10):
        watcher.scan()
        assert len(watcher._seen) <= 20
        assert len(images()) == min(75, 10 * (rounds - 1)), "each round after the first look is a full one"


def test_a_log_that_goes_away_ends_the_round(
    inbox: Path, ct: bytes, pseudonyms: Pseudonyms, settings: Settings
) -> None:
    publisher = _Counting()
    watcher = FolderWatcher(inbox, Intake(publisher, pseudonyms, settings), 0.01)
    for number in range(100):
        _put(inbox / f"{number}.dcm", ct)
    publisher.failure = LogUnavailable("no broker")
    with capture_logs() as logs:
        _scan(watcher)
    assert publisher.calls <= folder.PUBLISHERS, "one for each thread"
    assert [line["event"] for line in logs].count("log unavailable, files stay") == 1
    publisher.failure = None
    _scan(watcher, 1)
    assert len(_shelved(inbox, "done")) == 100


class _Counting(MemoryPublisher):
    """Counts calls, also those that fail."""

    calls = 0

    def publish(self, facts: Sequence[Fact]) -> None:
        self.calls += 1
        super().publish(facts)


class Killed(BaseException):
    """The process is killed: nothing catches it."""


@contextmanager
def _killed_at(step: int) -> Iterator[None]:
    """Ends the process, as it were, before its `step`-th change to the file system or the log."""
    left = [step]

    def deadly(work: Callable[..., object]) -> Callable[..., object]:
        def do(*arguments: object, **options: object) -> object:
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return work(*arguments, **options)

        return do

    with (
        mock.patch.object(shelf.os, "replace", deadly(os.replace)),
        mock.patch.object(Path, "mkdir", deadly(Path.mkdir)),
        mock.patch.object(Path, "write_text", deadly(Path.write_text)),
        mock.patch.object(MemoryPublisher, "publish", deadly(MemoryPublisher.publish)),
    ):
        yield


@given(steps=st.lists(st.integers(0, 25), max_size=6))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_killed_at_any_steps_it_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
    steps: list[int],
    new_object: Callable[..., Dataset],
    written: Callable[..., bytes],
    picture: Callable[..., bytes],
    sidecar: Callable[..., bytes],
) -> None:
    monkeypatch.setattr(folder, "PATIENCE", REFUSALS)
    objects = [written(new_object(SOPInstanceUID=f"1.2.3.{number}")) for number in range(6)]
    with tempfile.TemporaryDirectory() as place:
        inbox, publisher = Path(place, "in"), MemoryPublisher()
        dropped = {"a.dcm": objects[0], "sub/a.dcm": objects[1], "skin.jpg": picture(), "skin.json": sidecar()}
        dropped |= {"noise": b"noise", "sub/deep/b": objects[2]}
        for name, content in dropped.items():
            _put(inbox / name, content)
        with zipfile.ZipFile(inbox / "c.zip", "w") as archive:
            for number in (3, 4, 5):
                archive.writestr(str(number), objects[number])
        make = _watchers(inbox, publisher, Path(place))
        for step in steps:
            with _killed_at(step), suppress(Killed):
                _scan(make(), REFUSALS + 4)
        _scan(make(), REFUSALS + 4)
        left = [path for path in inbox.rglob("*") if path.is_file() and not {"done", "rejected"} & set(path.parts)]
        assert left == []
        on_log = {fact.event.event_id for fact in publisher.facts if isinstance(fact.event, ImageEvent)}
        assert len(on_log) == 7
        kept = [*_shelved(inbox, "done").values(), *_shelved(inbox, "rejected").values()]
        assert all(content in kept for content in dropped.values())
        assert objects[0] in _shelved(inbox, "done").values()
        assert b"noise" not in _shelved(inbox, "done").values()


def _watchers(inbox: Path, publisher: MemoryPublisher, place: Path) -> Callable[[], FolderWatcher]:
    secret = "0" * 32
    intake = Intake(publisher, Pseudonyms(secret.encode()), load_settings(state_dir=place, site_secret=secret))
    return lambda: FolderWatcher(inbox, intake, 0.01)


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_files_are_written_each_is_published_whole(
    new_object: Callable[..., Dataset], written: Callable[..., bytes], data: st.DataObject
) -> None:
    """Writes of any length in any order, with up to `REFUSALS` looks between two writes to a file."""
    contents = [written(new_object(SOPInstanceUID=f"1.2.3.{number}", Rows=number + 1)) for number in range(3)]
    with tempfile.TemporaryDirectory() as place:
        inbox, publisher = Path(place, "in"), MemoryPublisher()
        inbox.mkdir()
        watcher = _watchers(inbox, publisher, Path(place))()
        files = [(inbox / f"{number}.dcm").open("wb", buffering=0) for number in range(3)]
        rest, looks = list(contents), [0, 0, 0]
        while any(rest):
            number = data.draw(st.sampled_from([number for number in range(3) if rest[number]]))
            length = max(1, len(rest[number]) - 50 * data.draw(st.integers(0, 20)))
            files[number].write(rest[number][:length])
            rest[number] = rest[number][length:]
            looks[number] = 0
            unfinished = [count for count, left in zip(looks, rest, strict=True) if left]
            most = REFUSALS - max(unfinished, default=0)
            times = data.draw(st.integers(0, most))
            looks = [count + times for count in looks]
            _scan(watcher, times)
        for file in files:
            file.close()
        _scan(watcher, 3)
        assert sorted(_shelved(inbox, "done").values()) == sorted(contents)
        on_log = {fact.event.event_id for fact in publisher.facts if isinstance(fact.event, ImageEvent)}
        assert len(on_log) == 3


ADAPTER = """
import os, sys, threading
from pathlib import Path
from producers.folder import FolderWatcher
from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from radiolog.settings import load_settings

class File:
    def publish(self, facts):
        line = f"{facts[-1].event.received_sha256.hex()}\\n".encode()
        log = os.open(sys.argv[2], os.O_APPEND | os.O_WRONLY | os.O_CREAT)
        os.write(log, line)
        os.close(log)

inbox = Path(sys.argv[1])
settings = load_settings(state_dir=inbox.parent, site_secret="0" * 32)
FolderWatcher(inbox, Intake(File(), Pseudonyms(b"0" * 32), settings), 0.01).run(threading.Event())
"""


def test_a_process_that_is_killed_again_and_again_loses_nothing(
    inbox: Path, tmp_path: Path, new_object: Callable[..., Dataset], written: Callable[..., bytes]
) -> None:
    log = tmp_path / "log"
    for number in range(90):
        _put(inbox / f"{number}.dcm", written(new_object(SOPInstanceUID=f"1.2.3.{number}")))

    def published() -> set[str]:
        return set(log.read_text().split()) if log.exists() else set()

    def wait_for(count: int, process: subprocess.Popen[bytes]) -> None:
        while len(published()) < count:
            assert process.poll() is None
            time.sleep(0.005)

    for goal in (1, 45, 90):
        with subprocess.Popen([sys.executable, "-c", ADAPTER, str(inbox), str(log)]) as process:
            wait_for(goal, process)
            while goal == 90 and any(path.is_file() for path in inbox.iterdir()):
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
        done = [path for path in (inbox / "done").rglob("*.dcm") if path.stat().st_size] if goal > 1 else []
        waiting = [path for path in inbox.iterdir() if path.is_file()]
        assert len(done) + len(waiting) == 90 or goal == 1
    assert len(published()) == 90
