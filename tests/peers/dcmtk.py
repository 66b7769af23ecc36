"""DCMTK's tools as a person calls them."""

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.ward import TITLE, Adapter

SECONDS = 120.0
TOOLS = ("echoscu", "storescu", "dcmsend")
_ENTRY = re.compile(
    r"^Filename +: (?P<file>.+)\nSOP Instance +: (?P<instance>\S+)\n"
    r"(?:.*\n)*?(?:Network Xfer +: (?P<syntax>\S+).*\nDIMSE Status +: (?P<status>0x[0-9A-Fa-f]{4}).*\n|\n)",
    re.MULTILINE,
)


def require() -> None:
    if not all(shutil.which(tool) for tool in TOOLS):
        pytest.skip("DCMTK is not installed")


@dataclass(frozen=True)
class Said:
    """How a tool ended, and what it printed."""

    code: int
    text: str


def call(tool: str, adapter: Adapter, *arguments: object, called: str = TITLE, calling: str = "DCMTK") -> Said:
    done = subprocess.run(
        _command(tool, adapter, arguments, called, calling),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
        env=os.environ,
    )
    return Said(done.returncode, done.stdout.decode(errors="replace"))


def begin(tool: str, adapter: Adapter, *arguments: object, calling: str = "DCMTK") -> "subprocess.Popen[bytes]":
    """Starts a tool, and does not wait for its end."""
    command = _command(tool, adapter, arguments, TITLE, calling)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _command(tool: str, adapter: Adapter, arguments: Sequence[object], called: str, calling: str) -> list[str]:
    options = [str(argument) for argument in arguments if not isinstance(argument, Path)]
    files = [str(argument) for argument in arguments if isinstance(argument, Path)]
    return [tool, "-v", *options, "-aet", calling, "-aec", called, *adapter.address, *files]


@dataclass(frozen=True)
class Sent:
    """One entry of dcmsend's report; no status if the object was not sent."""

    file: str
    instance: str
    syntax: str | None
    status: int | None


def report(path: Path) -> list[Sent]:
    """What `dcmsend --create-report-file` says of each object."""
    return [
        Sent(Path(m["file"]).name, m["instance"], m["syntax"], int(m["status"], 16) if m["status"] else None)
        for m in _ENTRY.finditer(path.read_text(errors="replace"))
    ]
