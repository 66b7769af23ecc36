"""The command line of each benchmark, and what it prints: a table for people, JSON for charts and comparisons."""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from measure import Comparison, Curve, Figure, Result, Spread, tell
from own_servers import surroundings


@dataclass(frozen=True, slots=True)
class Options:
    """What a run is to do.

    Attributes:
        turns: of each side; a benchmark may take fewer of what is slow.
        quick: whether this is the guard that runs with the tests: few turns, the cases with a floor alone.
        case: only cases whose name begins so.
    """

    turns: int
    quick: bool
    case: str

    def wanted(self, name: str) -> bool:
        """Whether the case is to be measured."""
        return name.startswith(self.case)


def run(description: str | None, measure: Callable[[Options], Iterable[Result]], turns: int = 9) -> int:
    """Measures, prints, and gives the exit code: 1 where a goal is missed, or in a quick run a floor."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=turns, help=f"of each side (default {turns})")
    parser.add_argument("--quick", action="store_true", help="3 turns, and fail only below the floor")
    parser.add_argument("--case", default="", help="only cases whose name begins so")
    parser.add_argument(
        "--json", metavar="FILE", help="write everything that was measured there, - for standard output"
    )
    given = parser.parse_args()
    if given.turns < 1:
        parser.error("--turns: at least 1")
    around = surroundings()
    options = Options(3 if given.quick else given.turns, given.quick, given.case)
    results = list(_told(measure(options)))
    if not results:
        parser.error(f"--case: no case begins with {given.case!r}")
    _write(given.json, document(Path(sys.argv[0]).stem, around, results))
    if given.json != "-":
        print(", ".join(f"{name} {value}" for name, value in around.items()))
        print(table(results))
    return int(any(one.broken if given.quick else one.met is False for one in results))


def document(name: str, around: dict[str, str], results: Sequence[Result]) -> dict[str, Any]:
    """Everything that was measured, as JSON has it."""
    return {
        "benchmark": name,
        "measured at": datetime.now(UTC).isoformat(timespec="seconds"),
        "surroundings": around,
        "results": [_record(one) for one in results],
    }


def table(results: Sequence[Result]) -> str:
    """As a table in Markdown; median (least to greatest)."""
    lines = ["| measured | ours | against | ratio | goal | met |", "|---|---|---|---|---|---|"]
    return "\n".join(lines + [f"| {' | '.join(_cells(one))} |" for one in results])


def _told(results: Iterable[Result]) -> Iterable[Result]:
    for one in results:
        tell(" | ".join(cell for cell in _cells(one) if cell))
        yield one


def _cells(one: Result) -> tuple[str, ...]:
    goal = "" if one.goal is None else f"{one.goal:g}"
    met = {None: "", True: "yes", False: "no"}[one.met]
    match one:
        case Figure():
            return one.name, f"{one.spread} {one.unit}", "", "", f"at most {goal} {one.unit}" if goal else "", met
        case Curve():
            ends = (f"at {size:g} {one.over}: {Spread.of(costs)} {one.unit}" for size, costs in one.ends)
            return one.name, *ends, str(one.growth), f"at most {goal}" if goal else "", met
        case Comparison():
            ours, theirs = (f"{name}: {Spread.of(one.turns[name])} {one.unit}" for name in (one.ours, one.theirs))
            return one.name, ours, theirs, str(one.ratio), f"at least {goal}" if goal else "", met


def _record(one: Result) -> dict[str, Any]:
    match one:
        case Comparison():
            derived = {"ratio": asdict(one.ratio)}
        case Figure():
            derived = {"spread": asdict(one.spread)}
        case Curve():
            derived = {"growth": asdict(one.growth)}
    return {"kind": type(one).__name__.lower(), **asdict(one), **derived, "met": one.met}


def _write(name: str | None, content: dict[str, Any]) -> None:
    if name == "-":
        print(json.dumps(content, indent=2))
    elif name:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(json.dumps(content, indent=2) + "\n")
