"""Draws docs/charts/scaling.svg from what scaling.py wrote: predicted and measured, over the share of the limit.

.venv-peers/bin/python benchmarks/scaling_chart.py build/bench/scaling.json docs/charts/scaling.svg
"""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from charts import GOAL, MET, pyplot

PANELS = {"cores": "cores", "p99": "seconds, 99th percentile", "lag grows": "images/s that the lag grows"}
STYLES = {"predicted": {"color": GOAL, "linestyle": "--"}, "measured": {"color": MET, "marker": "o"}}
NAME = re.compile(r"(?P<case>.*) at (?P<share>\d+)%: (?P<what>.*), (?P<side>predicted|measured)")
Lines = dict[tuple[str, str, str], list[tuple[int, float]]]
"""Points by case, what was measured, and side; a point is a share in percent and a median."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws it, and says so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="the JSON file that scaling.py wrote")
    parser.add_argument("target", type=Path, help="the SVG file")
    given = parser.parse_args(arguments)
    lines = lines_of(json.loads(given.source.read_text())["results"])
    if not lines:
        parser.error(f"{given.source} holds no loads: run benchmarks/scaling.py --json there first")
    draw(lines, given.target)
    print(given.target)
    return 0


def lines_of(results: Sequence[Mapping[str, object]]) -> Lines:
    """What there is to draw."""
    lines: Lines = {}
    for one in results:
        if match := NAME.fullmatch(str(one["name"])):
            spread = one["spread"]
            point = int(match["share"]), float(spread["median"])  # type: ignore[index]
            lines.setdefault((match["case"], match["what"], match["side"]), []).append(point)
    return lines


def draw(lines: Lines, target: Path) -> None:
    """A row for each case, a panel for each thing that was predicted."""
    cases = list(dict.fromkeys(case for case, _, _ in lines))
    size = (3.2 * len(PANELS), 0.4 + 2.6 * len(cases))
    figure, grid = pyplot.subplots(len(cases), len(PANELS), figsize=size, layout="constrained", squeeze=False)
    for row, case in zip(grid, cases, strict=True):
        for axes, (what, label) in zip(row, PANELS.items(), strict=True):
            for side, style in STYLES.items():
                if points := lines.get((case, what, side)):
                    axes.plot(*zip(*points, strict=True), label=side, **style)
            axes.set_title(f"{case}\n{label}", fontsize=8)
            axes.set_ylim(bottom=0)
            axes.set_xlabel("% of the predicted limit", fontsize=8)
            axes.spines[["top", "right"]].set_visible(False)
    grid[0][0].legend(fontsize=8)
    figure.savefig(target, format="svg", metadata={"Date": None})
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
