"""The table that a run of the fault suite ends with, and the same rows as JSON files.

`python -m tests.faults.table FOLDER` prints what several runs have left in one folder.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

REPORT = "RADIOLOG_FAULTS_REPORT"
PROPERTY = "fault"
"""Under this name a test leaves its row with its report."""


@dataclass(frozen=True)
class Row:
    """One fault: how often it hit while work was under way, and what came of the events.

    Attributes:
        events: images published.
        lost: records without result, events without row.
        doubled: results or rows too many.
        stray: results of nothing that was published.
        recovery_seconds: the longest time from a fault's end to the next result; None where there is none to wait for.
        notes: what else was counted.
    """

    number: int
    fault: str
    events: int
    hits: int
    lost: int
    doubled: int
    stray: int = 0
    recovery_seconds: float | None = None
    notes: str = ""


def save(row: Row) -> None:
    """Writes the row as a file of its own to the folder that RADIOLOG_FAULTS_REPORT names, if it does."""
    if folder := os.environ.get(REPORT):
        name = re.sub(r"[^a-z0-9]+", "-", row.fault.lower()).strip("-")
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{row.number}-{name}.json").write_text(json.dumps(asdict(row), indent=2) + "\n")


def load(folder: Path) -> list[Row]:
    return [Row(**json.loads(path.read_text())) for path in sorted(folder.glob("*.json"))]


def rendered(rows: Iterable[Row]) -> Table:
    table = Table(title="faults")
    for name in ("", "fault", "events", "hits", "lost", "duplicated", "recovery", "notes"):
        table.add_column(name, justify="left" if name in ("fault", "notes") else "right")
    for row in sorted(rows, key=lambda row: row.number):
        recovery = "" if row.recovery_seconds is None else f"{row.recovery_seconds:.1f} s"
        counts = (row.events, row.hits, row.lost, row.doubled)
        table.add_row(str(row.number), row.fault, *(f"{count:,}" for count in counts), recovery, row.notes)
    return table


def main(arguments: Sequence[str]) -> None:
    Console().print(rendered(load(Path(arguments[0]))))


if __name__ == "__main__":
    main(sys.argv[1:])
