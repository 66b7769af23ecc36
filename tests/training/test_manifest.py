"""A manifest is the same bytes on any day, and one that was changed is not read."""

import json
from pathlib import Path

import pytest

from models.spec import PreprocessSpec
from training.manifest import Manifest, ManifestError, ManifestImage, Pinned
from training.split import Split

SPEC = PreprocessSpec(name="test", version=1, size=32)


@pytest.fixture
def manifest() -> Manifest:
    inputs = tuple(
        ManifestImage(f"id-{number}", number % 2, number, f"P{number}", {"233604007": True}, split, f"{number:064x}")
        for number, split in enumerate(Split)
    )
    pinned = Pinned("imaging.images", {1: 0, 0: 3}, {0: 10, 1: 12})
    shares = {Split.TRAIN: 0.5, Split.VALIDATION: 0.25, Split.TEST: 0.25}
    findings = {"75570004": "viral pneumonia", "233604007": "pneumonia"}
    return Manifest(pinned, Pinned("imaging.labels", {0: 0}, {0: 1}), findings, SPEC, shares, 3, inputs, {"used": 3})


def test_comes_back_as_it_was_and_is_the_same_bytes(manifest: Manifest, tmp_path: Path) -> None:
    manifest.save(tmp_path / "a.json")
    loaded = Manifest.load(tmp_path / "a.json")
    assert loaded == manifest
    assert list(loaded.findings) == ["75570004", "233604007"]
    loaded.save(tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert loaded.sha256 == manifest.sha256
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "b.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 4},
        {"inputs": []},
        {"labels": {"topic": "imaging.labels", "start": {}, "end": {}}},
        {"findings": [{"code": "75570004", "name": "viral pneumonia"}]},
        {"more": 1},
        {"sha256": "0" * 64},
    ],
    ids=lambda change: next(iter(change)),
)
def test_any_change_is_noticed(manifest: Manifest, tmp_path: Path, change: dict[str, object]) -> None:
    manifest.save(tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(document | change))
    with pytest.raises(ManifestError, match="was changed since it was written"):
        Manifest.load(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "no manifest"), (b"[]", "of format 1"), (b'{"format": 2}', "of format 1"), (b"\xff\xfe", "no manifest")],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ManifestError, match=words):
        Manifest.load(tmp_path / "a.json")
    with pytest.raises(ManifestError, match="cannot be read"):
        Manifest.load(tmp_path / "gone.json")
