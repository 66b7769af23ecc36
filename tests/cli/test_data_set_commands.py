"""Commands around data sets, where what they call is tried elsewhere: what they print, and how they end."""

import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.spec import PreprocessSpec
from radiolog.cli import app
from radiolog.cli.replay import _print
from training.archive.medmnist import ADDRESS
from training.manifest import Manifest, ManifestImage, Pinned
from training.split import Split

PNEUMONIA, VIRAL = "233604007", "75570004"


def radiolog(*words: object) -> Any:
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is asked for; the file that comes holds three bytes."""
    asked: list[tuple[Any, ...]] = []

    def fetch(name: str, size: int, out: Path, address: str, md5: str | None, progress: Callable[..., None]) -> Path:
        asked.append((name, size, out, address, md5))
        progress(3, 3)
        path = out / "set.npz"
        path.write_bytes(b"abc")
        return path

    monkeypatch.setattr("training.fetch.fetch", fetch)
    return asked


def test_a_fetched_set_is_named_with_its_checksum(tmp_path: Path, fetched: list[tuple[Any, ...]]) -> None:
    ran = radiolog("data", "fetch", "pneumoniamnist", "--out", tmp_path, "--json")
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout) == {
        "file": str(tmp_path / "set.npz"),
        "bytes": 3,
        "md5": "900150983cd24fb0d6963f7d28e17f72",  # of "abc", RFC 1321 appendix A.5
    }
    assert fetched == [("pneumoniamnist", 224, tmp_path, ADDRESS, None)]


def test_people_are_told_what_comes_next(tmp_path: Path, fetched: list[tuple[Any, ...]]) -> None:
    options = ("--size", 64, "--address", "http://127.0.0.1:1", "--md5", "00")
    ran = radiolog("data", "fetch", "chestmnist", "--out", tmp_path, *options)
    assert ran.exit_code == 0, ran.output
    assert ran.stdout == ""
    assert f"next: radiolog data import {tmp_path / 'set.npz'}" in ran.stderr
    assert fetched == [("chestmnist", 64, tmp_path, "http://127.0.0.1:1", "00")]


@pytest.fixture
def manifest() -> Manifest:
    said: list[dict[str, bool]] = [{PNEUMONIA: True, VIRAL: False}, {PNEUMONIA: False}, {PNEUMONIA: True}, {}]
    images = [
        ManifestImage(f"id-{number}", 0, number, f"P{number // 2}", labels, Split.TRAIN, "00")
        for number, labels in enumerate(said)
    ]
    pinned = Pinned("imaging.images", {0: 0}, {0: 4})
    report = {
        "images": {"read": 6, "resent": 2},
        "duplicates": {"pairs": {"exact": 3, "near": 1}, "removed": ["id-9"]},
        "labels": {"conflicts": 5},
    }
    spec = PreprocessSpec(name="test", version=1, size=32)
    shares = {Split.TRAIN: 1.0, Split.VALIDATION: 0.0, Split.TEST: 0.0}
    return Manifest(pinned, pinned, {PNEUMONIA: "pneumonia", VIRAL: "viral"}, spec, shares, 0, images, report)


def test_a_manifest_is_told_in_counts(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    _print(manifest, Path("m.json"), as_json=False)
    out, err = capsys.readouterr()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if "│" in line]
    assert rows == [
        ["train", "2", "4", "2 / 1 / 1", "0 / 1 / 3"],
        ["validation", "0", "0", "0 / 0 / 0", "0 / 0 / 0"],
        ["test", "0", "0", "0 / 0 / 0", "0 / 0 / 0"],
    ]
    assert err.splitlines() == [
        "6 read, 2 resent",
        "duplicates: 3 exact, 1 near; 1 left out on the training side",
        "labels of which authors disagree: 5; the last one counts",
        f"m.json has the SHA-256 {manifest.sha256}",
    ]


def test_a_manifest_is_told_in_json(manifest: Manifest, capsys: pytest.CaptureFixture[str]) -> None:
    _print(manifest, Path("m.json"), as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "manifest": "m.json",
        "sha256": manifest.sha256,
        "splits": {"train": 4, "validation": 0, "test": 0},
        "report": manifest.report,
    }


@pytest.fixture
def identities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A database that knows one pseudonym."""

    class Database:
        def __init__(self, url: str) -> None:
            pass

        def __enter__(self) -> "Database":
            return self

        def __exit__(self, *ended: object) -> None:
            pass

        def identify(self, identifier: str) -> list[Any]:
            row = types.SimpleNamespace(kind="patient", pseudonym="MFRGG", attributes='{"PatientID": "P-1"}')
            return [row] if identifier == "MFRGG" else []

    monkeypatch.setattr("sinks.queries.Database", Database)
    monkeypatch.setenv("RADIOLOG_STATE_DIR", str(tmp_path))


def test_a_pseudonym_is_looked_up(identities: None) -> None:
    ran = radiolog("identify", "MFRGG", "--json")
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout) == [{"kind": "patient", "pseudonym": "MFRGG", "attributes": {"PatientID": "P-1"}}]
    assert "P-1" in radiolog("identify", "MFRGG").stdout


def test_one_that_nobody_knows_is_no_success(identities: None) -> None:
    ran = radiolog("identify", "ZZZ", "--json")
    assert (ran.exit_code, json.loads(ran.stdout)) == (1, [])
    assert "nothing is known" in ran.stderr
