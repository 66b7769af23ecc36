"""Attacks on predictors that are moved by one thing alone, or by nothing."""

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydicom.data import get_testdata_file
from rich.console import Console
from typer.testing import CliRunner

from models.bundle import Bundle
from models.pixels import raster_to_model_input
from models.prediction import Prediction
from radiolog.cli import app
from tests.training.evaluation.conftest import SIZE, example
from training.attacks import ATTACKS
from training.evaluation.findings import Plan
from training.evaluation.folder import Change, FolderSource
from training.evaluation.robustness import FIGURES, robustness
from training.evaluation.source import Example, Problem

CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))
QUIET = Console(quiet=True)
PLAN = Plan("accuracy")


class ByMean:
    """Sees pneumonia, without a kind, in what is bright on the whole."""

    largest_batch = 4

    def __init__(self, bundle: Bundle, limit: float) -> None:
        self.bundle = bundle
        self._limit = limit

    def predict(self, pixels: np.ndarray) -> Prediction:
        logits = np.full((len(pixels), 3), -3.0, np.float32)
        logits[:, 0] = np.where(pixels.mean(axis=(1, 2)) > self._limit, 3.0, -3.0)
        maps = np.ones((len(pixels), 3, 4, 4), np.float32)
        embeddings = np.zeros((len(pixels), 4), np.float32)
        return Prediction(logits, maps, embeddings, np.ones((len(pixels), 8, 8), np.float32))


class Pictures:
    """Pictures in memory, each changed before it is a model input; half of them bright and ill."""

    def __init__(self, bundle: Bundle, change: Change, ill: str = "pneumonia") -> None:
        self._bundle, self._change, self._ill = bundle, change, ill

    def __len__(self) -> int:
        return 8

    def __iter__(self) -> Any:
        for number in range(8):
            is_bright = number % 2 == 1
            level = 150 if is_bright else 90
            picture = np.random.default_rng(number).integers(level - 40, level + 40, (SIZE, SIZE)).astype(np.uint8)
            made = example(self._bundle, number, {"label": self._ill if is_bright else "normal"})
            pixels = cv2.resize(self._change(picture), (SIZE, SIZE), interpolation=cv2.INTER_AREA)
            yield Example(case=made.case, pixels=pixels, geometry=made.geometry, modality="CR")


def attacked(bundle: Bundle, limit: float) -> dict[str, dict[str, Any]]:
    return robustness(ByMean(bundle, limit), partial(Pictures, bundle), PLAN, QUIET)


def test_one_that_reads_the_mean_is_moved_by_what_changes_the_mean(bundle: Bundle) -> None:
    found = attacked(bundle, limit=120.0)["pneumonia"]
    assert list(found) == list(ATTACKS)
    assert (found["none"]["accuracy"], found["none"]["changed"], found["none"]["images"]) == (1.0, 0.0, 8)
    # The dark half is called too, or the bright half no more.
    assert {name: found["brighter"][name] for name in ("accuracy", "recall", "specificity", "changed")} == {
        "accuracy": 0.5,
        "recall": 1.0,
        "specificity": 0.0,
        "changed": 0.5,
    }
    assert {name: found["darker"][name] for name in ("accuracy", "recall", "specificity", "changed")} == {
        "accuracy": 0.5,
        "recall": 0.0,
        "specificity": 1.0,
        "changed": 0.5,
    }
    # A mean survives blur and loss of detail.
    for name in ("blurred", "half resolution", "JPEG quality 20", "noise"):
        assert found[name]["changed"] == 0.0, name


def test_one_that_is_constant_is_moved_by_nothing(bundle: Bundle) -> None:
    found = attacked(bundle, limit=-1.0)
    assert list(found) == [finding.name for finding in bundle.findings]
    assert {row["changed"] for row in found["pneumonia"].values()} == {0.0}
    assert {row["auroc"] for row in found["pneumonia"].values()} == {0.5}
    assert {tuple(row[name] for name in FIGURES[:3]) for row in found["pneumonia"].values()} == {(0.5, 1.0, 0.0)}


def test_figures_are_of_what_is_known_of_each_finding(bundle: Bundle) -> None:
    """Of a pneumonia whose kind nobody says only the four normal images are known."""
    found = attacked(bundle, limit=120.0)["viral pneumonia"]
    assert {row["images"] for row in found.values()} == {4}
    assert (found["none"]["recall"], found["none"]["specificity"]) == (None, 1.0)


def test_each_finding_has_figures_of_its_own(bundle: Bundle) -> None:
    """The kind is there, but what is said of it never changes."""
    viral = partial(Pictures, bundle, ill="viral pneumonia")
    found = robustness(ByMean(bundle, 120.0), viral, PLAN, QUIET)
    assert [found[name]["none"]["auroc"] for name in ("pneumonia", "viral pneumonia")] == [1.0, 0.5]
    assert [found[name]["brighter"]["changed"] for name in ("pneumonia", "viral pneumonia")] == [0.5, 0.0]


def test_what_is_not_known_is_no_number_that_json_lacks(bundle: Bundle) -> None:
    """Of images of pneumonia alone there is no specificity, and of its kinds nothing is known."""

    def ill(change: Change) -> Any:
        return [item for item in Pictures(bundle, change) if item.case.label == "pneumonia"]

    found = robustness(ByMean(bundle, 120.0), ill, PLAN, QUIET)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert (found["pneumonia"]["none"]["recall"], found["pneumonia"]["none"]["specificity"]) == (1.0, None)
    assert found["viral pneumonia"]["none"] == {"images": 0, **dict.fromkeys((*FIGURES, "changed", "out_of_scope"))}


def test_what_leaves_the_scope_and_what_is_lost_is_told(bundle: Bundle) -> None:
    def changed(change: Change) -> Any:
        items: Sequence[Example | Problem] = list(Pictures(bundle, change))
        if change is ATTACKS["trimmed"]:
            items = [Problem(name="x", label="normal", kind="cut", reason="cut"), *items[1:]]
        if change is ATTACKS["noise"]:
            items = [
                Example(case=each.case, pixels=each.pixels, geometry=each.geometry, modality="CT")
                for each in items
                if isinstance(each, Example)
            ]
        return items

    found = robustness(ByMean(bundle, 120.0), changed, PLAN, QUIET)["pneumonia"]
    assert (found["trimmed"]["images"], found["trimmed"]["changed"]) == (7, None)
    assert [found[name]["out_of_scope"] for name in ("none", "noise")] == [0.0, 1.0]
    assert found["noise"]["changed"] == 0.0, "an image that is refused is called by its threshold all the same"


def test_a_folder_is_attacked_before_anything_else_is_made_of_its_pictures(bundle: Bundle, make_folder) -> None:
    folder = make_folder({"normal/a.png": 1})
    (folder / "normal" / "ct.dcm").write_bytes(CT.read_bytes())
    shapes: list[tuple[int, ...]] = []
    ramp = np.tile(np.arange(0, 240, 8, dtype=np.uint8), (20, 1))

    def ramped(picture: np.ndarray) -> np.ndarray:
        shapes.append(picture.shape)
        return ramp

    items = list(FolderSource(folder, bundle, ramped))
    assert sorted(shapes) == [(40, 48), (128, 128)]
    assert [(item.geometry.original_rows, item.geometry.original_columns) for item in items] == [(20, 30)] * 2
    for item in items:
        np.testing.assert_array_equal(item.pixels, raster_to_model_input(ramp, bundle.spec)[0])


def test_the_command_attacks_a_folder(bundle_folder: Path, make_folder, tmp_path: Path) -> None:
    folder = make_folder({"normal/a.png": 3, "viral pneumonia/b.png": 2})
    out = tmp_path / "out"
    arguments = ["evaluate", str(bundle_folder), "--folder", str(folder), "--attacks"]
    ran = CliRunner().invoke(app, [*arguments, "--out", str(out), "--json"])
    assert ran.exit_code == 0, ran.output
    told = json.loads(ran.stdout)["robustness"]
    assert list(told) == ["pneumonia", "bacterial pneumonia", "viral pneumonia"]
    assert list(told["pneumonia"]) == list(ATTACKS)
    assert told["pneumonia"]["none"] == {
        "images": 5,
        **{name: json.loads(ran.stdout)["findings"]["pneumonia"][name] for name in FIGURES},
        "changed": 0.0,
        "out_of_scope": 0.0,
    }
    assert json.loads((out / "evaluation.json").read_text())["robustness"] == told


def test_pictures_of_a_manifest_cannot_be_attacked(bundle_folder: Path, tmp_path: Path) -> None:
    """It is said before the manifest is read, which may take the log."""
    (tmp_path / "m.json").write_text("{}")
    ran = CliRunner().invoke(app, ["evaluate", str(bundle_folder), "--manifest", str(tmp_path / "m.json"), "--attacks"])
    assert ran.exit_code == 2
    words = " ".join(ran.output.replace("│", " ").split())
    assert "--attacks" in words
    assert "give a --folder" in words


@pytest.mark.parametrize("name", ATTACKS)
def test_no_picture_is_too_small_to_be_attacked(name: str) -> None:
    for shape in ((1, 1), (1, 40), (3, 2)):
        changed = ATTACKS[name](np.full(shape, 90, np.uint8))
        assert changed.size > 0
