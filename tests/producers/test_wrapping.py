"""What a hostile picture costs: its process, and nothing else."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from producers import photograph, wrapping
from producers.errors import BrokenObject, TooLarge
from producers.files import publish_paths
from producers.folder import REFUSALS, FolderWatcher
from producers.intake import Intake
from producers.wrapping import Picture, WrappingProcess, WrappingUnavailable
from schemas.events import ImageEvent

MEMORY = 1 << 30
Make = Callable[..., bytes]


def act(picture: Picture | None) -> object:
    """What the process runs, with pictures at which a decoder hangs, dies, or does what nobody foresaw."""
    match picture.content if picture is not None else b"":
        case b"hang":
            time.sleep(600)
        case b"die":
            os.kill(os.getpid(), signal.SIGSEGV)
        case b"raise":
            raise ValueError("Kowalska")
    return wrapping.run(picture)


def more_seconds(picture: Picture | None) -> float:
    return 0.0 if picture is not None and picture.content == b"hang" else 60.0


def die(_: Picture | None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def hostile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wrapping, "run", act)
    # The others may take their time: on a machine with much to do they need it.
    monkeypatch.setattr(wrapping, "_more_seconds", more_seconds)


def _put(inbox: Path, name: str, content: bytes, sidecar: bytes) -> None:
    (inbox / name).write_bytes(content)
    (inbox / name).with_suffix(".json").write_bytes(sidecar)


def _shelved(inbox: Path, shelf: str) -> set[str]:
    return {path.name for path in (inbox / shelf).glob("*/*")}


def test_it_gives_what_wrapping_in_this_process_gives(picture: Make, sidecar: Make) -> None:
    with WrappingProcess(60, MEMORY) as pictures:
        for format_ in ("JPEG", "PNG", "TIFF"):
            content = picture(format_)
            assert pictures.wrap(content, sidecar()) == photograph.wrap(content, sidecar())
        with pytest.raises(BrokenObject, match="broken"):
            pictures.wrap(b"\x89PNG no more", sidecar())
        with pytest.raises(BrokenObject, match="kowalska: is not a field"):
            pictures.wrap(picture(), sidecar(kowalska="x"))


@pytest.mark.usefixtures("hostile")
def test_a_hostile_picture_is_rejected_at_once_and_the_others_go_on(
    inbox: Path,
    intake: Intake,
    sample: Callable[[str], Path],
    picture: Make,
    sidecar: Make,
    images: Callable[[], list[ImageEvent]],
) -> None:
    for name, content in {"a": b"die", "b": b"hang", "c": picture(), "d": b"raise", "e": picture("PNG")}.items():
        _put(inbox, f"{name}.jpg", content, sidecar())
    shutil.copy(sample("CT_small.dcm"), inbox)
    with WrappingProcess(2, MEMORY) as pictures:
        watcher = FolderWatcher(inbox, intake, 0.01, wrap=pictures.wrap)
        watcher.scan()
        watcher.scan()
    assert len(images()) == 3
    assert _shelved(inbox, "done") == {"c.jpg", "c.json", "e.jpg", "e.json", "CT_small.dcm"}
    reasons = {path.name[0]: path.read_text() for path in (inbox / "rejected").glob("*/*.reason.txt")}
    assert {name: reason.partition(":")[0] for name, reason in reasons.items()} == {
        "a": "the decoder crashed on the picture",
        "b": "the picture takes too long to decode",
        "d": "the decoder failed on the picture",
    }
    assert _shelved(inbox, "rejected") >= {"a.jpg", "a.json", "b.jpg", "b.json"}


@pytest.mark.usefixtures("hostile")
def test_publish_goes_on_too(
    tmp_path: Path, intake: Intake, picture: Make, sidecar: Make, images: Callable[[], list[ImageEvent]]
) -> None:
    _put(tmp_path, "a.png", b"raise", sidecar())
    _put(tmp_path, "b.png", picture("PNG"), sidecar())
    with WrappingProcess(60, MEMORY) as pictures:
        refused, accepted = publish_paths([tmp_path], intake, pictures.wrap)
    assert "failed" in str(refused.reason)
    assert [event.event_id for event in images()] == [accepted.event_id]


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_a_picture_that_takes_too_much_memory_fails_alone(picture: Make, sidecar: Make) -> None:
    large = BytesIO()
    Image.new("RGB", (8000, 8000)).save(large, "PNG", compress_level=1)
    with WrappingProcess(60, 256 << 20) as pictures:
        with pytest.raises(TooLarge, match="more memory"):
            pictures.wrap(large.getvalue(), sidecar())
        assert pictures.wrap(picture("PNG"), sidecar())


def test_that_no_process_starts_is_no_picture_s_fault(
    inbox: Path,
    intake: Intake,
    picture: Make,
    sidecar: Make,
    images: Callable[[], list[ImageEvent]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _put(inbox, "skin.jpg", picture(), sidecar())

    def refuse(*_: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    with WrappingProcess(60, MEMORY) as pictures:
        watcher = FolderWatcher(inbox, intake, 0.01, wrap=pictures.wrap)
        with monkeypatch.context() as patched:
            patched.setattr(wrapping, "WorkerPool", refuse)
            for _ in range(REFUSALS + 2):
                watcher.scan()
            with pytest.raises(WrappingUnavailable, match="Cannot allocate memory"):
                pictures.wrap(picture(), sidecar())
        with monkeypatch.context() as patched:
            patched.setattr(wrapping, "run", die)
            with pytest.raises(WrappingUnavailable, match="does not run"):
                pictures.wrap(picture(), sidecar())
        assert not images()
        assert sorted(path.name for path in inbox.iterdir()) == ["skin.jpg", "skin.json"]
        watcher.scan()
    assert len(images()) == 1
