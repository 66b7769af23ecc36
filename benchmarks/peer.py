"""A side of a comparison that runs in the peers' environment: a child that is asked in JSON, a line at a time.

What answers there is `benchmarks/peers/NAME.py`, and `benchmarks/peers/answering.py` is its end of the line. A child
measures its own work, so that no figure holds the way there and back.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from measure import Turn

ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
"""`make peers` puts it there."""


class Peer:
    """One child; it lives until its standard input is closed."""

    def __init__(self, child: "subprocess.Popen[str]") -> None:
        self._child = child

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """What the child answers.

        Raises:
            SystemExit: it ended instead; what it had to say is on standard error.
        """
        stdin, stdout = self._child.stdin, self._child.stdout
        if stdin is None or stdout is None:
            raise ValueError("a child without pipes cannot be asked")
        stdin.write(json.dumps({"command": command, **arguments}) + "\n")
        stdin.flush()
        answer: dict[str, Any] = json.loads(stdout.readline() or "null")
        if answer is None:
            raise SystemExit(f"the peer ended before it answered {command}: its error stands above")
        return answer

    def turn(self, command: str, **arguments: Any) -> Turn:
        """A turn whose speed is what the child answers as `reached`."""
        return lambda: float(self.ask(command, **arguments)["reached"])


@contextmanager
def peer(name: str) -> Iterator[Peer]:
    """The child that runs `benchmarks/peers/<name>.py`.

    Raises:
        SystemExit: the peers' environment is not there.
    """
    if not PYTHON.is_file():
        raise SystemExit("the peers' environment is not there: run `make peers`")
    script = Path(__file__).parent / "peers" / f"{name}.py"
    pipe = subprocess.PIPE
    with subprocess.Popen([str(PYTHON), str(script)], stdin=pipe, stdout=pipe, text=True) as child:
        yield Peer(child)
