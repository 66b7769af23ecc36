import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset

from producers import part10
from producers.files import publish_paths
from producers.intake import HEADER_ALLOWANCE_BYTES, Intake
from producers.pseudonyms import Pseudonyms
from radiolog.cli.errors import explain
from radiolog.log.errors import LogUnavailable, RecordTooLarge
from radiolog.log.objects import ObjectStoreUnavailable
from radiolog.log.publisher import MemoryPublisher
from radiolog.settings import Settings
from schemas.events import ImageEvent, SourceKind


@pytest.fixture
def archive(tmp_path: Path, sample: Callable[[str], Path]) -> Path:
    folder = tmp_path / "archive"
    (folder / "sub" / ".cache").mkdir(parents=True)
    shutil.copy(sample("CT_small.dcm"), folder / "b.dcm")
    shutil.copy(sample("MR_small.dcm"), folder / "sub" / "a")
    shutil.copy(sample("DICOMDIR"), folder / "DICOMDIR")
    shutil.copy(sample("CT_small.dcm"), folder / "sub" / ".cache" / "hidden.dcm")
    (folder / "notes.txt").write_text("no DICOM")
    return folder


def test_a_folder(archive: Path, intake: Intake, images: Callable[[], list[ImageEvent]]) -> None:
    results = list(publish_paths([archive], intake))
    assert [result.path.name for result in results] == ["b.dcm", "notes.txt", "a"]
    assert [result.event_id for result in results if result.event_id] == [event.event_id for event in images()]
    assert "not DICOM" in str(results[1].reason)
    assert {event.source.kind for event in images()} == {SourceKind.FILE}


def test_every_wrapping_gives_the_same_event(
    tmp_path: Path, new_object: Callable[..., Dataset], written: Callable[..., bytes], intake: Intake
) -> None:
    content = written(new_object())
    files = {"whole": content, "headless": content[132:], "bare": part10.parse(content).dataset}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    results = list(publish_paths([tmp_path / name for name in files], intake))
    assert len(results) == 3
    assert len({result.event_id for result in results}) == 1


def test_a_missing_file_is_told(tmp_path: Path, intake: Intake) -> None:
    (result,) = publish_paths([tmp_path / "nothing.dcm"], intake)
    assert result.reason == "cannot be read: No such file or directory"


def test_an_empty_file_is_told(tmp_path: Path, intake: Intake) -> None:
    (tmp_path / "empty.dcm").touch()
    (result,) = publish_paths([tmp_path / "empty.dcm"], intake)
    assert result.reason == "the file holds no data set"


def test_a_huge_file_is_not_even_read(
    tmp_path: Path, make_settings: Callable[..., Settings], publisher: MemoryPublisher, pseudonyms: Pseudonyms
) -> None:
    intake = Intake(publisher, pseudonyms, make_settings(inline_max_bytes=1, object_max_bytes=1))
    with (tmp_path / "huge.dcm").open("wb") as file:
        file.truncate(HEADER_ALLOWANCE_BYTES + 2)
    (result,) = publish_paths([tmp_path / "huge.dcm"], intake)
    assert "exceed the log's limit" in str(result.reason)


def test_a_log_that_is_down_ends_it(archive: Path, intake: Intake, publisher: MemoryPublisher) -> None:
    publisher.failure = LogUnavailable("no broker")
    with pytest.raises(LogUnavailable):
        list(publish_paths([archive], intake))


def test_an_object_store_that_takes_nothing_ends_it_in_words(
    archive: Path, make_settings: Callable[..., Settings], publisher: MemoryPublisher, pseudonyms: Pseudonyms
) -> None:
    settings = make_settings(inline_max_bytes=1)
    (settings.state_dir / "objects").write_text("no folder")
    with pytest.raises(ObjectStoreUnavailable) as caught:
        list(publish_paths([archive], Intake(publisher, pseudonyms, settings)))
    assert not publisher.facts
    said = explain(caught.value)
    assert said is not None
    assert "RADIOLOG_OBJECT_STORE_URL" in said
    assert "Kafka" not in said


def test_what_is_no_regular_file_is_told_and_not_read(tmp_path: Path, intake: Intake) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    reasons = {result.path.name: result.reason for result in publish_paths([tmp_path], intake)}
    assert reasons == {"endless": "not a regular file", "pipe": "not a regular file"}


def test_an_object_that_the_log_finds_too_large_does_not_end_the_others(
    archive: Path, intake: Intake, publisher: MemoryPublisher
) -> None:
    publisher.failure = RecordTooLarge("the record has 9 bytes, the log takes 8")
    reasons = [result.reason for result in publish_paths([archive], intake)]
    assert len(reasons) == 3
    assert reasons[0] == reasons[2] == "the record has 9 bytes, the log takes 8"
