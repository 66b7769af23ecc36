"""`radiolog train` as a person calls it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest
from typer.testing import CliRunner

from radiolog.cli import app
from tests.training.test_train import write_config
from training.config import load_config
from training.errors import ParallelError
from training.run_folder import RunFolder

MakeArchive = Callable[..., Path]


@pytest.fixture(scope="module")
def archive(make_archive: MakeArchive) -> Path:
    return make_archive(images=24, patients=12)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `training.train.train` is called with, in place of training."""
    calls: list[Any] = []

    class Written:
        id, sha256, metrics = "tiny@1", "00", {}

    def train(*positional: Any, **named: Any) -> Written:
        calls.append((positional, named))
        return Written()

    monkeypatch.setattr("training.train.train", train)
    return calls


def train(*arguments: object, environment: dict[str, str] | None = None) -> Any:
    return CliRunner().invoke(app, ["train", *map(str, arguments)], env=environment or {})


def test_a_contact_sheet_alone_trains_nothing(tmp_path: Path, archive: Path, called: list[Any]) -> None:
    sheet = tmp_path / "sheet.png"
    result = train(write_config(tmp_path, epochs=1), "--archive", archive, "--contact-sheet", sheet)
    assert result.exit_code == 0, result.output
    picture = cv2.imread(str(sheet))
    assert picture.shape == (30 + 8 * (128 + 26), 8 * (128 + 6), 3)
    assert not called


def test_the_run_folder_lies_beside_the_bundle_unless_told(tmp_path: Path, archive: Path, called: list[Any]) -> None:
    config = write_config(tmp_path, epochs=1)
    for options, expected in (
        ((), RunFolder(path=tmp_path / "bundle.run")),
        (("--run", tmp_path / "run", "--resume"), RunFolder(path=tmp_path / "run", resume=True)),
    ):
        result = train(config, "--archive", archive, "--out", tmp_path / "bundle", *options, "--json")
        assert result.exit_code == 0, result.output
        (configured, data, out), named = called.pop()
        assert configured == load_config(config)
        assert data.lineage["archive"] == archive.name
        assert (out, named) == (tmp_path / "bundle", {"run": expected, "lungs": "default"})


def test_masks_come_with_the_archive(tmp_path: Path, archive: Path, make_masks: Any, called: list[Any]) -> None:
    config, masks = write_config(tmp_path, epochs=1), make_masks(archive)
    result = train(config, "--archive", archive, "--lung-masks", masks, "--out", tmp_path / "bundle")
    assert result.exit_code == 0, result.output
    ((_, data, _), _) = called.pop()
    assert sum(len(columns) for columns in data.lungs.values()) == 18
    assert data.lineage["lung_masks"] == masks.name


@pytest.mark.parametrize("given", [(), ("archive", "manifest"), ("manifest", "lung-masks")])
def test_data_come_from_one_place(tmp_path: Path, archive: Path, called: list[Any], given: tuple[str, ...]) -> None:
    options = [word for name in given for word in (f"--{name}", archive)]
    result = train(write_config(tmp_path, epochs=1), *options, "--out", tmp_path / "bundle")
    assert result.exit_code == 2
    assert not called


def test_a_bundle_has_to_go_somewhere(tmp_path: Path, archive: Path, called: list[Any]) -> None:
    result = train(write_config(tmp_path, epochs=1), "--archive", archive)
    assert result.exit_code == 2
    assert "--contact-sheet" in result.output
    assert not called


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        (("--hosts", "2"), {}),
        (("--coordinator", "gpu1:1234"), {}),
        ((), {"RADIOLOG_TRAIN_HOSTS": "2"}),
    ],
)
def test_several_hosts_need_both_options(
    tmp_path: Path, archive: Path, called: list[Any], options: tuple[str, ...], environment: dict[str, str]
) -> None:
    config = write_config(tmp_path, epochs=1)
    result = train(config, "--archive", archive, "--out", tmp_path / "bundle", *options, environment=environment)
    assert result.exit_code == 2
    assert not called


def test_hosts_are_joined_before_anything_else(
    tmp_path: Path, archive: Path, called: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    joined: list[Any] = []
    monkeypatch.setattr("training.parallel.join", joined.append)
    environment = {
        "RADIOLOG_TRAIN_COORDINATOR": "gpu1:1234",
        "RADIOLOG_TRAIN_HOSTS": "2",
        "RADIOLOG_TRAIN_HOST": "1",
    }
    config = write_config(tmp_path, epochs=1)
    result = train(config, "--archive", archive, "--out", tmp_path / "bundle", environment=environment)
    assert result.exit_code == 0, result.output
    assert [(hosts.coordinator, hosts.count, hosts.index) for hosts in joined] == [("gpu1:1234", 2, 1)]
    assert len(called) == 1


def test_a_host_beyond_their_number_is_refused(tmp_path: Path, archive: Path) -> None:
    options = ("--coordinator", "gpu1:1234", "--hosts", "2", "--host", "2")
    config = write_config(tmp_path, epochs=1)
    result = train(config, "--archive", archive, "--out", tmp_path / "bundle", *options)
    assert isinstance(result.exception, ParallelError)
