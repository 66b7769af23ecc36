import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from producers import archive
from producers.errors import BrokenObject, Refused, TooLarge
from producers.files import publish_paths
from producers.intake import Intake
from producers.pseudonyms import Pseudonyms
from radiolog.log.publisher import MemoryPublisher
from radiolog.settings import MIB, Settings
from schemas.events import ImageEvent

Content = dict[str, bytes]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    def write(content: Content, name: str = "export.zip", method: int = zipfile.ZIP_DEFLATED) -> Path:
        with zipfile.ZipFile(tmp_path / name, "w", method) as file:
            for entry, data in content.items():
                file.writestr(entry, data)
        return tmp_path / name

    return write


def _reasons(path: Path, intake: Intake) -> dict[str, str | None]:
    return {str(result.path.relative_to(path)): result.reason for result in publish_paths([path], intake)}


def test_each_entry_is_published_on_its_own(
    make: Callable[..., Path],
    sample: Callable[[str], Path],
    picture: Callable[..., bytes],
    sidecar: Callable[..., bytes],
    intake: Intake,
    images: Callable[[], list[ImageEvent]],
) -> None:
    ct = sample("CT_small.dcm").read_bytes()
    path = make(
        {
            "a/1.dcm": ct,
            "a/noise.dcm": b"noise" * 100,
            "b/skin.JPG": picture(),
            "b/skin.json": sidecar(),
            "b/lonely.png": picture("PNG"),
            ".hidden": b"x",
            "__MACOSX/a/._1.dcm": b"x",
            "z/MR": sample("MR_small.dcm").read_bytes(),
        }
    )
    reasons = _reasons(path, intake)
    assert list(reasons) == ["a/1.dcm", "a/noise.dcm", "b/lonely.png", "b/skin.JPG", "z/MR"]
    assert [name for name, reason in reasons.items() if reason is None] == ["a/1.dcm", "b/skin.JPG", "z/MR"]
    assert "not DICOM" in str(reasons["a/noise.dcm"])
    assert "without its sidecar" in str(reasons["b/lonely.png"])
    assert {event.modality for event in images()} == {"CT", "XC", "MR"}


def test_a_medium_in_an_archive_brings_what_it_likes(
    make: Callable[..., Path], sample: Callable[[str], Path], intake: Intake, images: Callable[[], list[ImageEvent]]
) -> None:
    path = make(
        {
            "CD/DICOMDIR": sample("DICOMDIR").read_bytes(),
            "CD/IM1": sample("CT_small.dcm").read_bytes(),
            "CD/VIEWER.EXE": b"MZ" * 100,
            "CD/cover.jpg": b"\xff\xd8",
        }
    )
    assert _reasons(path, intake) == {"CD/IM1": None}
    assert len(images()) == 1


def test_no_name_in_an_archive_becomes_a_path(
    make: Callable[..., Path], sample: Callable[[str], Path], intake: Intake, tmp_path: Path
) -> None:
    ct = sample("CT_small.dcm").read_bytes()
    before = sorted(tmp_path.parent.rglob("*"))
    path = make({"../../evil.dcm": ct, "/etc/evil.dcm": ct, "C:\\evil.dcm": ct, "a\nb\x1b[2J.dcm": ct})
    results = list(publish_paths([path], intake))
    assert [result.reason for result in results] == [None] * 4
    assert not any("\n" in str(result.path) or "\x1b" in str(result.path) for result in results)
    assert sorted(tmp_path.parent.rglob("*")) == sorted([*before, path])


def test_an_archive_within_an_archive_is_refused(make: Callable[..., Path], intake: Intake) -> None:
    inner = make({"a": b"x"}, "inner.zip").read_bytes()
    (reason,) = _reasons(make({"innocent.dcm": inner}), intake).values()
    assert "archive within an archive" in str(reason)


def test_an_encrypted_entry_is_refused(make: Callable[..., Path], intake: Intake) -> None:
    path = make({"a.dcm": b"x" * 100}, method=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert list(_reasons(path, intake).values()) == ["the entry is encrypted: send it unencrypted"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_are_refused_unread(make: Callable[..., Path], intake: Intake, method: int) -> None:
    (reason,) = _reasons(make({"a.dcm": b"x" * 100}, method=method), intake).values()
    assert "store or deflate it" in str(reason)


def test_a_bomb_is_refused_before_anything_is_unpacked(
    make: Callable[..., Path], intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make({f"{number}.dcm": bytes(8 * MIB) for number in range(9)})
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("unpacked"))
    (result,) = publish_paths([path], intake)
    assert result.reason == "the archive would unpack to more than 100 times its size"


def test_the_bounds(make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = make({str(number): b"12345" for number in range(10)})
    for bound, value in (("MAX_ENTRIES", 9), ("MAX_TOTAL_BYTES", 49), ("MAX_DIRECTORY_BYTES", 100)):
        with monkeypatch.context() as patched:
            patched.setattr(archive, bound, value)
            with pytest.raises(TooLarge), archive.opened(path):
                pass
    with archive.opened(path) as opened:
        assert len(archive.entries(opened)) == 10


def test_an_entry_that_is_larger_than_any_object_is_not_unpacked(
    make: Callable[..., Path],
    make_settings: Callable[..., Settings],
    publisher: MemoryPublisher,
    pseudonyms: Pseudonyms,
) -> None:
    intake = Intake(publisher, pseudonyms, make_settings(inline_max_bytes=1, object_max_bytes=1))
    (reason,) = _reasons(make({"a.dcm": bytes(intake.max_received_bytes + 1)}), intake).values()
    assert "exceed the log's limit" in str(reason)


def test_an_entry_that_claims_less_than_it_unpacks_to_is_refused(make: Callable[..., Path], intake: Intake) -> None:
    path = make({"a.dcm": bytes(100_000)})
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\x01\x02")
    for at in (22, directory + 24):
        content[at : at + 4] = struct.pack("<L", 100)
    path.write_bytes(content)
    (reason,) = _reasons(path, intake).values()
    assert "broken or cut off" in str(reason)


def test_an_archive_without_files_is_refused(make: Callable[..., Path], intake: Intake) -> None:
    (result,) = publish_paths([make({"folder/": b""})], intake)
    assert result.reason == "the archive holds no file"


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_to_its_bytes_it_is_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, sample: Callable[[str], Path], data: st.DataObject
) -> None:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("a.dcm", sample("CT_small.dcm").read_bytes()[:3000])
        opened.writestr("b.dcm", b"x" * 50)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) // 2, 2 * len(content))) :]
    path = tmp_path_factory.mktemp("zip") / "a.zip"
    path.write_bytes(content)
    with suppress(Refused), archive.opened(path) as opened:
        for entry in archive.entries(opened):
            with suppress(Refused):
                assert len(entry.read(10_000)) <= 10_000


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"no archive")
    with pytest.raises(BrokenObject), archive.opened(tmp_path / "a.zip"):
        pass
