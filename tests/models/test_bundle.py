import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.bundle import BUNDLE_FILE, CARD_FILE, WEIGHTS_FILE, Bundle, BundleError, load_bundle, save_bundle


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    save_bundle(bundle, tmp_path / "two", "# A card")
    return tmp_path / "two"


def edit(folder: Path, **changes: object) -> None:
    path = folder / BUNDLE_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_round_trip(bundle: Bundle, folder: Path) -> None:
    loaded = load_bundle(folder)
    assert loaded.id == "two@3"
    assert loaded.sha256 == bundle.sha256
    assert loaded.findings == bundle.findings
    assert loaded.spec == bundle.spec
    assert loaded.scope.max_distance == bundle.scope.max_distance
    assert loaded.scope.modalities == bundle.scope.modalities
    assert loaded.lineage == bundle.lineage
    assert loaded.metrics == bundle.metrics
    np.testing.assert_array_equal(loaded.scope.whitening, bundle.scope.whitening)
    np.testing.assert_array_equal(loaded.weights["head.kernel"], bundle.weights["head.kernel"])
    assert (folder / CARD_FILE).read_text() == "# A card"


def test_the_hash_covers_values_and_weights(bundle: Bundle) -> None:
    weights = {"head.kernel": bundle.weights["head.kernel"] + 1}
    others = [replace(bundle, weights=weights), replace(bundle, version="4"), replace(bundle, lineage={})]
    assert len({bundle.sha256, *(other.sha256 for other in others)}) == 4


def test_damaged_weights_are_refused(folder: Path) -> None:
    packed = bytearray((folder / WEIGHTS_FILE).read_bytes())
    packed[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(packed)
    with pytest.raises(BundleError, match="SHA-256 differs"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 1}, "format 2"),
        ({"operating_point": "youden"}, "no operating point 'youden'"),
        ({"findings": [{"code": "1"}]}, "incomplete or inconsistent"),
        ({"scope": {}}, "incomplete or inconsistent"),
        ({"weights_sha256": None}, "SHA-256 differs"),
    ],
)
def test_inconsistent_documents_are_refused(folder: Path, changes: dict, message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(BundleError, match=message):
        load_bundle(folder)


def test_a_changed_spec_is_refused(folder: Path) -> None:
    preprocess = json.loads((folder / BUNDLE_FILE).read_text())["preprocess"]
    edit(folder, preprocess={**preprocess, "size": 512})
    with pytest.raises(BundleError, match="preprocess spec does not match"):
        load_bundle(folder)


@pytest.mark.parametrize("missing", [BUNDLE_FILE, WEIGHTS_FILE])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(BundleError, match=missing):
        load_bundle(folder)


def test_what_is_no_json_is_refused(folder: Path) -> None:
    (folder / BUNDLE_FILE).write_text("{")
    with pytest.raises(BundleError, match="not JSON"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["nonesuch", "../models", "", "chest-pneumonia@none"])
def test_unknown_names_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError):
        load_bundle(name or tmp_path)


def test_the_default_has_three_names() -> None:
    default = load_bundle("default")
    assert load_bundle("chest-pneumonia").sha256 == default.sha256
    assert load_bundle(default.id).sha256 == default.sha256
