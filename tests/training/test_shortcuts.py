"""A planted shortcut is found by the probe that shows it, and by no probe that hides it; the command says so."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console
from typer.testing import CliRunner

from models.bundle import BundleError, load_bundle, save_bundle
from models.lungs import LungArchitecture, LungNet
from models.reader import export_weights
from radiolog.cli import app
from radiolog.cli.errors import explain
from tests.faults.model import save_small_bundle
from tests.networks import random_reader
from tests.training.test_train import write_config
from training import shortcuts
from training.config import load_config
from training.errors import FitError, TrainingError
from training.probe_data import LUNG_FIELD, WHOLE_PICTURE, Part, ProbeData, read, views
from training.probes import PROBES, border, corners, lungs_alone, lungs_out
from training.shortcut_report import document, draw, write
from training.shortcuts import Judged, Reached, edge_of, judge, measure

MakeArchive = Callable[..., Path]
QUIET = Console(quiet=True)
SIZE = 32


class Middle(LungNet):
    """Finds lungs in the middle of whatever picture: half as wide and high as it."""

    def __init__(self) -> None:
        super().__init__(LungArchitecture(widths=(4, 4), groups=1), rngs=nnx.Rngs(0))

    def __call__(self, images: jax.Array) -> jax.Array:
        size = images.shape[1] // 2
        inside = jnp.zeros((size, size)).at[size // 4 : -(size // 4), size // 4 : -(size // 4)].set(1.0)
        return jnp.broadcast_to(16.0 * inside - 8.0, (len(images), size, size))


def noise(count: int, seed: int, bright: tuple[slice, slice]) -> Part:
    """Noise, each second picture with the finding and with a bright place."""
    pixels = np.random.default_rng(seed).integers(0, 160, (count, SIZE, SIZE), dtype=np.uint8)
    pixels[1::2, bright[0], bright[1]] = 255
    return Part(pixels=pixels, labels=np.arange(count) % 2 == 1, patients=np.arange(count))


def planted(rows: slice, columns: slice) -> ProbeData:
    train, validation = noise(160, 0, (rows, columns)), noise(96, 1, (rows, columns))
    return ProbeData(finding="pneumonia", train=train, validation=validation, lineage={})


def reached(data: ProbeData, **probes: Any) -> dict[tuple[str, str], Reached]:
    found = measure(data, Middle(), QUIET, epochs=4, seed=0, probes=probes)
    return {(each.view, each.probe): each for each in found}


def test_a_bright_corner_is_found_in_the_corners_of_the_whole_picture_alone() -> None:
    found = reached(planted(slice(4), slice(4)), corners=corners, alone=lungs_alone)
    assert list(found) == [(view, probe) for view in (WHOLE_PICTURE, LUNG_FIELD) for probe in ("corners", "alone")]
    told = found.pop((WHOLE_PICTURE, "corners")).judged
    assert told.auroc > 0.9
    assert told.balanced_accuracy > 0.8
    assert told.interval[0] > 0.8
    for each in found.values():
        assert each.judged.auroc < 0.75


def test_a_bright_place_in_the_lungs_is_no_shortcut() -> None:
    found = reached(planted(slice(12, 18), slice(12, 18)), out=lungs_out, alone=lungs_alone)
    for view in (WHOLE_PICTURE, LUNG_FIELD):
        assert found[view, "alone"].judged.auroc > 0.9
        assert found[view, "out"].judged.auroc < 0.75


def test_views_show_the_whole_picture_and_the_box_of_the_lungs_with_the_lungs_at_their_place() -> None:
    pixels = np.zeros((70, SIZE, SIZE), np.uint8)
    pixels[:, 8:24, 8:24] = 200
    part = Part(pixels=pixels, labels=np.arange(70) < 9, patients=np.arange(70))
    found = views(part, Middle(), 16)
    for view in found.values():
        assert view.pictures.shape == view.lungs.shape == (70, 16, 16)
        np.testing.assert_array_equal(view.pictures > 100, view.lungs)
    assert found[WHOLE_PICTURE].lungs.mean() == 0.25
    assert found[LUNG_FIELD].lungs.mean() > 0.6
    assert found[WHOLE_PICTURE].pictures.max() == 200


def test_small_pictures_keep_the_mean_of_large_ones() -> None:
    """A pattern finer than the view comes out grey, not as stripes that are not there."""
    pixels = np.zeros((1, 64, 64), np.uint8)
    pixels[:, ::2] = 255
    part = Part(pixels=pixels, labels=np.array([True]), patients=np.array([0]))
    shown = views(part, Middle(), 16)[WHOLE_PICTURE].pictures
    np.testing.assert_allclose(shown, 127.5, atol=1.0)


@pytest.mark.parametrize(("size", "edge"), [(224, 96), (96, 96), (95, 80), (32, 32), (8, 16)])
def test_networks_see_small_pictures_that_they_can_halve(size: int, edge: int) -> None:
    assert edge_of(size) == edge


def test_figures_are_those_of_the_scores() -> None:
    part = Part(
        pixels=np.zeros((8, 1, 1), np.uint8), labels=np.arange(8) >= 6, patients=np.array([0, 0, 1, 2, 3, 4, 5, 6])
    )
    judged = judge(np.array([0.1, 0.2, 0.3, 0.4, 0.4, 0.6, 0.3, 0.9]), part, seed=0)
    assert judged.balanced_accuracy == pytest.approx((5 / 6 + 1 / 2) / 2)
    assert judged.auroc == pytest.approx((6 + 2.5) / 12)
    assert judged.interval[0] < judged.auroc < judged.interval[1]
    perfect = judge(part.labels.astype(float), part, seed=0)
    assert (perfect.auroc, perfect.interval, perfect.balanced_accuracy) == (1.0, (1.0, 1.0), 1.0)


def found(probe: str, view: str, level: int) -> Reached:
    judged = Judged(auroc=0.75, interval=(0.6, 0.9), balanced_accuracy=0.7)
    return Reached(view=view, probe=probe, judged=judged, seconds=1.04, shown=np.full((2, SIZE, SIZE), level, np.uint8))


ALL = [
    found(probe, view, 60 + 9 * number) for view in (WHOLE_PICTURE, LUNG_FIELD) for number, probe in enumerate(PROBES)
]


def test_the_picture_has_a_row_a_probe_and_two_examples_a_view() -> None:
    sheet = draw(ALL, "pneumonia")
    assert sheet.shape == (30 + len(PROBES) * 186, 4 * 166, 3)
    for row in range(len(PROBES)):
        for column in range(4):
            assert (sheet[30 + 186 * row + 80, 166 * column + 80] == 60 + 9 * row).all()


def test_what_is_written_can_be_read(tmp_path: Path) -> None:
    figures = document(ALL, "pneumonia", {"archive": "a.zip"})
    out = tmp_path / "new" / "folder"
    write(out, figures, draw(ALL, "pneumonia"))
    assert json.loads((out / "probes.json").read_text()) == figures
    assert figures["chance"] == 0.5
    assert figures["probes"][0] == {
        "view": "whole picture",
        "probe": "everything",
        "auroc": 0.75,
        "auroc_interval": [0.6, 0.9],
        "balanced_accuracy": 0.7,
        "seconds": 1.0,
    }
    assert cv2.imread(str(out / "probes.png")) is not None


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match="cannot be written"):
        write(tmp_path / "file", {}, np.zeros((1, 1, 3), np.uint8))


def archive_of(folder: Path, labels: list[str]) -> Path:
    """A zip with a picture a patient."""
    path, text = folder / "images.zip", io.StringIO()
    rows = csv.writer(text)
    rows.writerow(["file", "label", "patient"])
    with zipfile.ZipFile(path, "w") as images:
        for index, label in enumerate(labels):
            rows.writerow([f"{index}.png", label, f"p{index}"])
            picture = np.random.default_rng(index).integers(0, 255, (40, 40), dtype=np.uint8)
            images.writestr(f"{index}.png", cv2.imencode(".png", picture)[1].tobytes())
        images.writestr("index.csv", text.getvalue())
    return path


def test_images_of_which_nobody_knows_are_left_out_and_no_patient_is_on_both_sides(
    tmp_path: Path, make_archive: MakeArchive
) -> None:
    config = load_config(write_config(tmp_path, epochs=1))
    data = read(make_archive(images=80, patients=40), config, QUIET)
    assert data.lineage["images"] == {"train": len(data.train.labels), "validation": len(data.validation.labels)}
    assert len(np.unique(data.validation.patients)) == len(data.validation.labels) / 2
    assert data.train.pixels.shape[1:] == (SIZE, SIZE)
    labels = ["normal", "pneumonia", "effusion"] * 20
    some = read(archive_of(tmp_path, labels), config, QUIET)
    # An image with an effusion may have a pneumonia too: nothing is said of it.
    assert sum(some.lineage["images"].values()) == pytest.approx(0.85 * 40, abs=2)
    assert some.lineage["with_finding"]["train"] == pytest.approx(0.7 * 20, abs=1)


@pytest.mark.parametrize(
    ("labels", "lacking"), [(["normal", "effusion"] * 20, "with"), (["pneumonia"] * 40, "without")]
)
def test_a_label_that_all_images_have_cannot_be_told(tmp_path: Path, labels: list[str], lacking: str) -> None:
    config = load_config(write_config(tmp_path, epochs=1))
    with pytest.raises(FitError, match=f"holds no image {lacking} pneumonia that is for train"):
        read(archive_of(tmp_path, labels), config, QUIET)


def lungs_bundle(folder: Path, config: Path) -> Path:
    """A bundle whose U-Net is of the configuration's shape."""
    settings = load_config(config)
    save_small_bundle(folder)
    reader = random_reader(settings.architecture)
    shape = settings.architecture.to_json()
    bundle = replace(load_bundle(folder), spec=settings.spec, architecture=shape, weights=export_weights(reader))
    save_bundle(bundle, folder, "For tests alone.")
    return folder


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["shortcuts", *map(str, arguments)])


def test_the_command_prints_and_writes(
    tmp_path: Path, make_archive: MakeArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortcuts, "measure", partial(measure, probes={"border": border}))
    config, archive = write_config(tmp_path, epochs=1), make_archive(images=80, patients=40)
    lungs, out = lungs_bundle(tmp_path / "lungs", config), tmp_path / "out"
    result = call(config, "--archive", archive, "--lungs", lungs, "--epochs", 1, "--out", out, "--json")
    assert result.exit_code == 0, result.output
    printed = json.loads(result.stdout)
    assert json.loads((out / "probes.json").read_text()) == printed
    assert [(each["view"], each["probe"]) for each in printed["probes"]] == [
        ("whole picture", "border"),
        ("lung field", "border"),
    ]
    assert (printed["finding"], printed["epochs"], printed["lungs"]) == ("pneumonia", 1, "faults@1")
    assert printed["archive"] == archive.name
    assert "whole picture, border: AUROC" in result.stderr
    assert (out / "probes.png").is_file()
    table = call(config, "--archive", archive, "--lungs", lungs, "--epochs", 1)
    assert table.exit_code == 0, table.output
    for text in ("whole picture", "lung field", "border", f"{printed['probes'][0]['auroc']:.4f}", "chance", "0.5000"):
        assert text in table.stdout


def test_input_that_cannot_be_used_is_told_in_a_line(tmp_path: Path, make_archive: MakeArchive) -> None:
    config, archive = write_config(tmp_path, epochs=1), make_archive(images=80, patients=40)
    missing = call(config, "--archive", archive, "--lungs", tmp_path / "nowhere")
    assert isinstance(missing.exception, BundleError)
    lungs = lungs_bundle(tmp_path / "lungs", config)
    one_sided = call(config, "--archive", archive_of(tmp_path, ["pneumonia"] * 40), "--lungs", lungs)
    few = call(config, "--archive", archive_of(tmp_path, ["pneumonia", "normal"] * 20), "--lungs", lungs)
    for failed, text in ((one_sided, "holds no image without pneumonia"), (few, "do not fill a batch of 32")):
        assert failed.exit_code == 1
        assert text in str(explain(failed.exception))
    assert call(config, "--archive", archive, "--epochs", 0).exit_code == 2
    assert call(config, "--archive", tmp_path / "gone.zip").exit_code == 2
