"""What a run leaves behind, and what a person sees of it."""

import csv
import io
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from tests.training.tiny import Line, job, points
from training.augment import Augmentation
from training.contact_sheet import Samples, contact_sheet, describe, write_contact_sheet
from training.errors import CheckpointError
from training.fit import Columns, Epoch, Job, Observer, fit
from training.fit.history import History
from training.fit.observer import Observers
from training.journal import Journal, as_csv
from training.loss_curves import draw_curves
from training.progress import FitProgress, epoch_line
from training.run import Look, fit_part, spread
from training.run_folder import RunFolder

EPOCH = Epoch(
    number=1,
    step=4,
    train_loss=0.7,
    validation_loss=0.6,
    figures={"AUROC": 0.9},
    learning_rate=1e-3,
    images_per_second=10.0,
    seconds=2.0,
)


class Stop(Exception):
    pass


class StopsAfter(Observer):
    def epoch_ended(self, epoch: Epoch, history: History) -> None:
        if epoch.number == 2:
            raise Stop


def test_the_record_has_each_epoch_once_even_after_a_stop(tmp_path: Path) -> None:
    run = RunFolder(path=tmp_path)
    with pytest.raises(Stop):
        fit(Line(), job(), run=run, observer=Observers(StopsAfter(), Journal(run)))
    run = replace(run, resume=True)
    history = fit(Line(), job(), run=run, observer=Journal(run)).history
    rows = list(csv.DictReader(io.StringIO(run.metrics.read_text())))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4]
    assert [float(row["validation_loss"]) for row in rows] == [each.validation_loss for each in history.epochs]
    assert float(rows[-1]["accuracy"]) == history.epochs[-1].figures["accuracy"]
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoints", "metrics.csv", "curves.svg"}


def test_figures_that_come_later_have_a_column() -> None:
    later = replace(EPOCH, number=2, figures={"AUROC": 0.95, "Dice": 0.8})
    rows = list(csv.DictReader(io.StringIO(as_csv(History((EPOCH, later))))))
    assert [row["Dice"] for row in rows] == ["", "0.8"]


@pytest.mark.parametrize(
    "epochs",
    [
        (),
        (EPOCH,),
        (EPOCH, replace(EPOCH, number=2, validation_loss=0.5, figures={"AUROC": float("nan"), "<Dice> & co": 0.5})),
        tuple(replace(EPOCH, number=number) for number in range(1, 60)),
    ],
    ids=["none", "one", "odd", "many"],
)
def test_curves_are_well_formed_whatever_the_history(epochs: tuple[Epoch, ...]) -> None:
    text = draw_curves(History(epochs))
    document = ET.fromstring(text)
    assert document.tag.endswith("svg")
    assert "nan" not in text
    assert "inf" not in text
    dots = document.findall(".//{*}circle")
    finite = sum(np.isfinite(value) for epoch in epochs for value in epoch.figures.values())
    assert len(dots) == 2 * len(epochs) + finite


def test_progress_says_how_far_how_fast_and_how_well() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=160, color_system=None)
    with FitProgress("line", console) as progress:
        fit(Line(), job(), observer=progress)
    shown = text.getvalue()
    for part in ("line: epoch 1", "validation loss", "accuracy", "images/s", "epoch 4/4", "done after 4 epochs"):
        assert part in shown
    assert "best" in shown


def test_without_a_terminal_there_are_lines_alone(tmp_path: Path) -> None:
    text = io.StringIO()
    run = RunFolder(path=tmp_path)
    with FitProgress("line", Console(file=text, force_terminal=False, width=200)) as progress:
        fit(Line(), job(), run=run, observer=progress)
    assert len([line for line in text.getvalue().splitlines() if "line: epoch" in line]) == 4
    with FitProgress("line", Console(file=text, force_terminal=False, width=200)) as progress:
        fit(Line(), job(), run=replace(run, resume=True), observer=progress)
    assert "line: goes on after step 16 of 16" in text.getvalue()


def test_an_epoch_is_one_line() -> None:
    assert "\n" not in epoch_line(EPOCH)
    assert "AUROC 0.9000" in epoch_line(EPOCH)


def samples(count: int = 3) -> Samples:
    images = np.random.default_rng(0).integers(0, 256, (count, 40, 40), dtype=np.uint8)
    masks = np.zeros((count, 20, 20), np.uint8)
    masks[:, 5:15, 5:15] = 255
    boxes = np.tile(np.float32([[0.1, 0.1, 0.9, 0.9]]), (count, 1))
    return Samples(images, masks, boxes, [f"label {index}" for index in range(count)])


def test_a_contact_sheet_has_a_row_an_image_and_a_view_a_draw(tmp_path: Path) -> None:
    sheet = contact_sheet(samples(), Augmentation(rotation=10.0), size=32, draws=4)
    assert sheet.dtype == np.uint8
    assert sheet.shape == (30 + 3 * (128 + 26), 5 * (128 + 6), 3)
    write_contact_sheet(tmp_path / "folder" / "sheet.png", sheet)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "folder" / "sheet.png")), sheet)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["sheet.png"]


def test_masks_and_boxes_are_drawn_in_colour_where_there_are_any() -> None:
    some = samples()
    plain = replace(some, masks=None, boxes=None)
    sheets = [contact_sheet(each, Augmentation(), size=40, draws=1) for each in (some, plain)]
    coloured = [(sheet.max(axis=2) != sheet.min(axis=2)).sum() for sheet in sheets]
    assert coloured[0] > coloured[1] + 500


def test_the_extents_are_named() -> None:
    assert describe(Augmentation(flip=0.5, noise=0.02), 32) == "32 x 32 pixels; flip 0.5, noise 0.02"
    assert describe(Augmentation(), 32) == "32 x 32 pixels; no augmentation"


def seen(seed: int = 0) -> Job[Line]:
    """A job whose examples have pictures to look at."""
    train = points()
    images = np.random.default_rng(0).integers(0, 256, (len(train), 16, 16), dtype=np.uint8)
    return replace(job(seed=seed), train=Columns({**train.arrays, "images": images}))


def test_a_part_of_a_run_has_its_folder_and_resumes(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), width=200)
    run, look = RunFolder(path=tmp_path), Look(augmentation=Augmentation(flip=0.5), size=16)
    first = fit_part("line", Line(), seen(), run, look, console)
    kept = {"checkpoints", "contact-sheet.png", "curves.svg", "metrics.csv"}
    assert {path.name for path in (tmp_path / "line").iterdir()} == kept
    again = fit_part("line", Line(), seen(), replace(run, resume=True), look, console)
    assert again.history == first.history


def test_a_refused_run_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    console = Console(quiet=True)
    run, look = RunFolder(path=tmp_path), Look(augmentation=Augmentation(), size=16)
    fit_part("line", Line(), seen(), run, look, console)
    before = (tmp_path / "line" / "contact-sheet.png").stat().st_mtime_ns
    with pytest.raises(CheckpointError):
        fit_part("line", Line(), seen(seed=1), replace(run, resume=True), look, console)
    assert (tmp_path / "line" / "contact-sheet.png").stat().st_mtime_ns == before


def test_a_look_takes_columns_by_name_and_spreads_over_captions() -> None:
    assert spread(("a", "a", "a", "b", "c", "c"), 4) == [0, 3, 4, 1]
    assert spread(("a", "a"), 4) == [0, 1]
    columns = job().train
    look = Look(augmentation=Augmentation(), size=8, captions=("x",) * len(columns))
    with pytest.raises(KeyError):
        look.samples(columns)
