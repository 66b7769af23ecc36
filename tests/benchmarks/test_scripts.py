"""Each benchmark is a script that says how it is run."""

import ast
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [path for path in sorted((ROOT / "benchmarks").glob("*.py")) if "from report import" in path.read_text()]


def test_the_scripts_are_found():
    assert {"avro.py", "pixels.py"} <= {path.name for path in SCRIPTS}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_it_answers_help_with_an_example(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(script), "--help"])
    monkeypatch.syspath_prepend(str(script.parent))  # as Python does for a script
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    assert end.value.code == 0
    assert f"benchmarks/{script.name}" in said
    assert "--quick" in said


@pytest.mark.parametrize("script", sorted((ROOT / "benchmarks" / "peers").glob("*.py")), ids=lambda path: path.stem)
def test_a_peer_is_nothing_of_radiologs(script):
    """It runs where radiolog is not installed; pipelines are to ask the same network, and that one module does."""
    ours = {"radiolog", "schemas", "models", "producers", "sinks", "stream_processors", "training"}
    imported = {name for node in ast.walk(ast.parse(script.read_text())) for name in _modules(node)}
    assert imported & ours == ({"models"} if script.stem == "network" else set())


def _modules(node):
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return [str(node.module).partition(".")[0]] if isinstance(node, ast.ImportFrom) else []
