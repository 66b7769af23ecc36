"""A split of a manifest as images to be judged, and the command on it; no log is asked where the file is there."""

import csv
import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from models.bundle import Bundle
from models.spec import PreprocessSpec
from radiolog.cli import app
from tests.training.evaluation.conftest import PNEUMONIA, SIZE
from training.evaluation.manifest import ManifestSource
from training.evaluation.source import EvaluationError, Example
from training.examples import Examples, examples_of, file_name
from training.manifest import Manifest, ManifestImage, Pinned
from training.pixel_file import sha256, writing
from training.split import Split

BACTERIAL, VIRAL, MASS = "53084003", "75570004", "309529002"
FINDINGS = {MASS: "mass", PNEUMONIA: "pneumonia", VIRAL: "viral pneumonia", BACTERIAL: "bacterial pneumonia"}
LABELS = (
    {PNEUMONIA: False, VIRAL: False, BACTERIAL: False, MASS: True},
    {PNEUMONIA: True, VIRAL: True, BACTERIAL: False},
    {PNEUMONIA: True, MASS: False},
    {VIRAL: False, PNEUMONIA: True, BACTERIAL: True},
)
"""What is said of the first image of a split, of the second, and so on; then again."""
COUNTS = {Split.TRAIN: 5, Split.VALIDATION: 4, Split.TEST: 9}
PIXELS = np.random.default_rng(0).integers(0, 256, (sum(COUNTS.values()), SIZE, SIZE), np.uint8)


@pytest.fixture
def manifest(bundle: Bundle) -> Manifest:
    images, offset = [], 0
    for part, count in COUNTS.items():
        for number in range(count):
            labels, digest = LABELS[number % len(LABELS)], sha256(PIXELS[offset])
            images.append(ManifestImage(f"id-{offset}", 1, 100 + offset, f"P{number // 2}", labels, part, digest))
            offset += 1
    pinned = Pinned("imaging.images", {0: 0, 1: 0}, {0: 0, 1: 200})
    shares = {Split.TRAIN: 0.5, Split.VALIDATION: 0.25, Split.TEST: 0.25}
    return Manifest(pinned, Pinned("imaging.labels", {0: 0}, {0: 9}), FINDINGS, bundle.spec, shares, 0, images, {})


@pytest.fixture
def saved(manifest: Manifest, tmp_path: Path) -> Path:
    """The manifest with its file of model inputs beside it."""
    manifest.save(tmp_path / "m.json")
    with writing(tmp_path / file_name(manifest), PIXELS.shape) as file:
        for row, pixels in enumerate(PIXELS):
            file.write(row, pixels)
    return tmp_path / "m.json"


@pytest.fixture
def source(saved: Path, bundle: Bundle) -> Callable[..., ManifestSource]:
    def make(part: Split = Split.TEST) -> ManifestSource:
        loaded = Manifest.load(saved)
        return ManifestSource(loaded, examples_of(loaded, saved.parent, None, list)[part], part, bundle)

    return make


def test_each_image_of_the_split_comes_with_its_pixels(source) -> None:
    test = source()
    items = list(test)
    assert len(test) == len(items) == COUNTS[Split.TEST]
    assert all(isinstance(item, Example) for item in items)
    np.testing.assert_array_equal(np.stack([item.pixels for item in items]), PIXELS[-COUNTS[Split.TEST] :])
    assert [item.case.name for item in items] == [f"id-{number}" for number in range(9, 18)]
    assert [item.case.patient for item in items] == [f"P{number // 2}" for number in range(9)]
    assert {(item.modality, item.body_part) for item in items} == {(None, None)}
    assert [item.case.name for item in test] == [item.case.name for item in items], "the same order every time"


def test_labels_are_of_the_findings_of_the_model_alone(source) -> None:
    cases = [item.case for item in source()]
    assert [dict(case.labels) for case in cases[:4]] == [
        {"pneumonia": False, "viral pneumonia": False, "bacterial pneumonia": False},
        {"pneumonia": True, "viral pneumonia": True, "bacterial pneumonia": False},
        {"pneumonia": True},
        {"pneumonia": True, "viral pneumonia": False, "bacterial pneumonia": True},
    ]
    assert [case.label for case in cases[:4]] == ["normal", "viral pneumonia", "pneumonia", "bacterial pneumonia"]
    assert {len(case.attributes) for case in cases} == {0}


def test_the_class_is_the_kind_whatever_the_codes_are(manifest: Manifest, bundle: Bundle) -> None:
    """On file labels stand in the order of their codes; a kind may have a lower one than what it is a kind of."""
    parent, kind = "900", "100"
    findings = (replace(bundle.findings[0], code=parent), replace(bundle.findings[1], code=kind, parent=parent))
    said = {kind: True, parent: True}
    images = tuple(replace(image, labels=said) for image in manifest.inputs)
    other = replace(manifest, findings={parent: "pneumonia", kind: "bacterial pneumonia"}, inputs=images)
    pixels = Examples(PIXELS[-COUNTS[Split.TEST] :], np.ones((COUNTS[Split.TEST], 2), np.float32))
    model = replace(bundle, findings=findings)
    assert {item.case.label for item in ManifestSource(other, pixels, Split.TEST, model)} == {"bacterial pneumonia"}


def test_a_picture_is_its_model_input_and_its_place_is_on_the_log(source) -> None:
    train = source(Split.TRAIN)
    np.testing.assert_array_equal(train.display("id-2"), PIXELS[2])
    assert train.whereabouts("id-2") == "id-2 at imaging.images/1@102"
    (item, *_) = train
    np.testing.assert_array_equal(item.geometry.to_square(PIXELS[0]), PIXELS[0])


def test_it_describes_itself_by_split_and_hash(source, manifest: Manifest) -> None:
    described = source(Split.VALIDATION).describe()
    assert described == {"kind": "manifest", "files": {"validation": 4}, "sha256": manifest.sha256}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"spec": PreprocessSpec(name="other", version=2, size=SIZE)},
            r"the manifest is of other@2, lungs@7 reads small",
        ),
        ({"findings": {MASS: "mass"}}, "knows none of the findings of lungs@7"),
    ],
)
def test_a_data_set_that_is_not_for_the_model_is_refused(
    manifest: Manifest, bundle: Bundle, change: dict[str, Any], words: str
) -> None:
    some = Examples(PIXELS, np.zeros((len(PIXELS), 1), np.float32))
    with pytest.raises(EvaluationError, match=words):
        ManifestSource(replace(manifest, **change), some, Split.TEST, bundle)


def test_a_split_without_images_is_refused(manifest: Manifest, bundle: Bundle) -> None:
    none = Examples(PIXELS[:0], np.zeros((0, 4), np.float32))
    with pytest.raises(EvaluationError, match="has no image for test"):
        ManifestSource(manifest, none, Split.TEST, bundle)


def evaluate(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that cannot be asked."""

    def refuse() -> None:
        raise AssertionError("the log was asked")

    monkeypatch.setattr("radiolog.cli.manifest.log_and_decoders", refuse)


def test_the_command_judges_the_split(bundle_folder: Path, saved: Path, nowhere: None, tmp_path: Path) -> None:
    images, out = COUNTS[Split.TRAIN], tmp_path / "out"
    ran = evaluate(bundle_folder, "--manifest", saved, "--split", "train", "--out", out, "--json")
    assert ran.exit_code == 0, ran.output
    document = json.loads(ran.stdout)
    assert document["data"]["files"] == {"train": images}
    assert document["images"]["readable"] == document["images"]["in_scope"] == images
    assert document["images"]["unreadable"] == 0
    assert document["images"]["patients"] == (images + 1) // 2
    truth = [LABELS[number % 4] for number in range(images)]
    for code, name in FINDINGS.items():
        if code == MASS:
            assert name not in document["findings"]
            continue
        known = [labels[code] for labels in truth if code in labels]
        found = document["findings"][name]
        assert (found["positives"], found["negatives"]) == (sum(known), len(known) - sum(known))
    places = {row["image"]: row["where"] for row in csv.DictReader((out / "files.csv").open())}
    assert len(places) == images
    assert all(f"{name} at imaging.images/1@" in where for name, where in places.items())
    assert stat.S_IMODE((out / "files.csv").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--manifest", "M", "--split", "all"], "'all' is none of train, validation, test"),
        (["--manifest", "M", "--folder", "F"], "give one of --folder and --manifest"),
        ([], "give one of --folder and --manifest"),
    ],
)
def test_a_wrong_option_is_named(bundle_folder: Path, saved: Path, options: list[str], words: str) -> None:
    places = {"M": str(saved), "F": str(saved.parent)}
    ran = evaluate(bundle_folder, *(places.get(word, word) for word in options))
    assert ran.exit_code == 2
    assert words in " ".join(ran.output.replace("│", " ").split())


def test_a_split_that_the_manifest_has_not_is_an_error(
    bundle_folder: Path, manifest: Manifest, nowhere: None, tmp_path: Path
) -> None:
    images = tuple(image for image in manifest.inputs if image.split is Split.TRAIN)
    alone = replace(manifest, inputs=images, shares={Split.TRAIN: 1.0})
    alone.save(tmp_path / "m.json")
    with writing(tmp_path / file_name(alone), (len(images), SIZE, SIZE)) as file:
        for row in range(len(images)):
            file.write(row, PIXELS[row])
    ran = evaluate(bundle_folder, "--manifest", tmp_path / "m.json")
    assert isinstance(ran.exception, EvaluationError)
    assert "has no image for test" in str(ran.exception)
