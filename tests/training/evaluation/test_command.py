"""`radiolog evaluate` with a real network on a folder of files, and all that it may be given instead."""

import csv
import json
import stat
import sys
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from radiolog.cli.main import main

CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))


@pytest.fixture
def radiolog(monkeypatch, capsys):
    """Runs the command in this process: exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["radiolog", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return caught.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def folder(make_folder) -> Path:
    folder = make_folder({"normal/a.png": 6, "viral_pneumonia/b.jpg": 5, "Bacterial Pneumonia/deep/c.jpeg": 4})
    (folder / "normal" / "ct.dcm").write_bytes(CT.read_bytes())
    (folder / "normal" / "broken.jpg").write_bytes(b"no picture")
    (folder / "normal" / "notes.txt").write_text("text")
    return folder


def test_the_whole_way(radiolog, bundle_folder, folder, tmp_path) -> None:
    out = tmp_path / "deep" / "out"
    code, output, error = radiolog("evaluate", bundle_folder, "--folder", folder, "--out", out, "--json")
    assert code == 0, error
    document = json.loads(output)
    assert document["images"]["readable"] == 16
    assert document["images"]["unreadable"] == 2
    assert document["images"]["out_of_scope"] >= 1
    pneumonia = document["findings"]["pneumonia"]
    assert isinstance(pneumonia["accuracy"], float)
    assert isinstance(pneumonia["auroc"], float)
    low, high = pneumonia["intervals"]["accuracy"]
    assert low <= pneumonia["accuracy"] <= high
    assert (pneumonia["positives"], pneumonia["negatives"]) == (9, 7)
    assert "broken.jpg: the file is not the picture that its name says" in error
    assert sorted(path.name for path in out.iterdir()) == [
        "card.md",
        "evaluation.json",
        "files.csv",
        "images.csv",
        "report.html",
    ]
    written = json.loads((out / "evaluation.json").read_text())
    assert {key: written[key] for key in document} == document
    assert len(written["curves"]["pneumonia"]["sweep"]) == 101


def test_results_name_no_file_but_in_a_list_for_the_owner_alone(radiolog, bundle_folder, folder, tmp_path) -> None:
    out = tmp_path / "out"
    assert radiolog("evaluate", bundle_folder, "--folder", folder, "--out", out)[0] == 0
    rows = list(csv.DictReader((out / "images.csv").open()))
    places = {row["image"]: row["where"] for row in csv.DictReader((out / "files.csv").open())}
    assert len(rows) == 18
    assert {row["status"] for row in rows} >= {"OUT_OF_SCOPE", "UNREADABLE"}
    judged = [row for row in rows if row["status"] != "UNREADABLE"]
    assert all(0 <= float(row["pneumonia probability"]) <= 1 for row in judged)
    assert {row["class"]: row["viral pneumonia truth"] for row in judged} == {
        "normal": "0",
        "viral pneumonia": "1",
        "bacterial pneumonia": "0",
    }
    assert {row["image"] for row in rows} == set(places)
    assert all(Path(place).is_file() for place in places.values())
    assert stat.S_IMODE((out / "files.csv").stat().st_mode) == 0o600
    for name in ("images.csv", "evaluation.json", "report.html", "card.md"):
        assert str(folder) not in (out / name).read_text()


def test_people_get_a_table(radiolog, bundle_folder, folder) -> None:
    code, output, _ = radiolog("evaluate", bundle_folder, "--folder", folder, "--operating-point", "sensitivity-95")
    assert code == 0
    for word in ("accuracy", "auroc", "95% interval", "decided only", "modality CT"):
        assert word in output


def test_nothing_to_judge_is_no_success(radiolog, bundle_folder, tmp_path) -> None:
    (tmp_path / "images" / "normal").mkdir(parents=True)
    (tmp_path / "images" / "normal" / "notes.txt").write_text("text")
    code, output, error = radiolog("evaluate", bundle_folder, "--folder", tmp_path / "images", "--json")
    assert code == 1
    assert "nothing could be judged" in error
    assert json.loads(output)["images"] == {
        "found": 1,
        "readable": 0,
        "unreadable": 1,
        "in_scope": 0,
        "out_of_scope": 0,
        "duplicates": 0,
        "contradictory": 0,
        "patients": 0,
        "classes": {},
    }


def test_many_unreadable_files_are_not_all_listed(radiolog, bundle_folder, tmp_path) -> None:
    normal = tmp_path / "images" / "normal"
    normal.mkdir(parents=True)
    for number in range(13):
        (normal / f"{number}.png").write_bytes(b"no picture")
    code, _, error = radiolog("evaluate", bundle_folder, "--folder", tmp_path / "images", "--json")
    assert code == 1
    assert error.count("not readable:") == 10
    assert "and 3 more" in error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("BUNDLE", "--folder", "EMPTY"), "holds no folders"),
        (("BUNDLE", "--folder", "BARE"), "there are no images to evaluate on"),
        (("BUNDLE", "--folder", "STRANGE"), "'zebra' could stand for"),
        (("nowhere@1", "--folder", "BARE"), "no bundle 'nowhere@1'"),
        (("EMPTY", "--folder", "BARE"), "holds no readable bundle.json"),
        (("BUNDLE", "--folder", "BARE", "--operating-point", "best"), "no operating point 'best', only accuracy"),
    ],
)
def test_wrong_input_is_one_line_that_says_what_to_do(radiolog, bundle_folder, tmp_path, arguments, expected) -> None:
    places = {"BUNDLE": bundle_folder}
    for name, inside in (("EMPTY", ""), ("BARE", "normal"), ("STRANGE", "zebra")):
        places[name] = tmp_path / name.lower()
        (places[name] / inside).mkdir(parents=True)
    code, output, error = radiolog("evaluate", *(places.get(word, word) for word in arguments))
    assert code == 1
    assert expected in error
    assert output == ""
    assert error.count("\n") == 1


@pytest.mark.parametrize("wrong", ["gone", "file"])
def test_a_folder_that_is_none_is_a_usage_error(radiolog, bundle_folder, tmp_path, wrong) -> None:
    (tmp_path / "file").write_text("text")
    code, _, error = radiolog("evaluate", bundle_folder, "--folder", tmp_path / wrong)
    assert code == 2
    assert "--folder" in error


def test_a_report_that_cannot_be_written_is_an_error(radiolog, bundle_folder, folder, tmp_path) -> None:
    (tmp_path / "file").write_text("text")
    code, _, error = radiolog("evaluate", bundle_folder, "--folder", folder, "--out", tmp_path / "file")
    assert code == 1
    assert "the report cannot be written" in error
