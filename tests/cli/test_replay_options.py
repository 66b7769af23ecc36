"""What `radiolog replay` is told: each wrong word is named before the log is asked."""

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from radiolog.cli import app
from radiolog.cli.progress import instant
from radiolog.cli.replay import _findings, _shares
from training.split import Split


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--topic", "diagnoses"], "neither"),
        (["--split", "1/2"], "no split"),
        (["--split", "0.5/0.5/x"], "no split"),
        (["--split", "1.2/-0.1/-0.1"], "no split"),
        (["--to", "2999-01-01"], "still to come"),
        (["--from", "yesterday"], "no time"),
        (["--finding", "nodule"], "give the code instead"),
    ],
)
def test_a_wrong_option_is_named(tmp_path: Path, monkeypatch, options: list[str], words: str) -> None:
    monkeypatch.setenv("RADIOLOG_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("RADIOLOG_SCHEMA_REGISTRY_URL", "http://127.0.0.1:1")
    monkeypatch.setattr("radiolog.cli.replay._configured", lambda path: ({"233604007": "pneumonia"}, None, {}, 0))
    ran = CliRunner().invoke(app, ["replay", "--out", str(tmp_path / "m.json"), "--config", "config.py", *options])
    assert ran.exit_code == 2
    assert words in " ".join(ran.output.replace("│", " ").split())


def test_shares() -> None:
    assert _shares("0.8/0.1/0.1") == {Split.TRAIN: 0.8, Split.VALIDATION: 0.1, Split.TEST: 0.1}
    assert _shares("1/0/0")[Split.TEST] == 0


def test_findings_go_by_name_or_code() -> None:
    configured = {"233604007": "pneumonia", "1": "own"}
    assert _findings([], configured) == configured
    assert _findings(["75570004", "Pneumonia", "own", "7"], configured) == {
        "75570004": "viral pneumonia",
        "233604007": "pneumonia",
        "1": "own",
        "7": "7",
    }


def test_a_time_without_offset_is_in_utc() -> None:
    assert instant("2026-01-31T12:00:00") == instant("2026-01-31T13:00:00+01:00") == instant("2026-01-31T12:00:00Z")
    with pytest.raises(typer.BadParameter):
        instant("noon")
