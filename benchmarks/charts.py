"""Draws the charts of docs/performance.md from what benchmarks wrote: one for each, of the ratios in it.

    make peers
    .venv-peers/bin/python benchmarks/charts.py build/bench docs/charts

A bar is the median of a ratio, its whisker the least and the greatest, and a tick its goal. What holds no ratio gets no
chart.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.fonttype"] = "none"  # text stays text: small, and readable by machines
mpl.rcParams["svg.hashsalt"] = "radiolog"  # the same figures make the same file

from matplotlib import pyplot  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402

MET, MISSED, GOAL = "#2a78b5", "#c2571a", "#222222"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws all, and says which."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a folder of JSON files that benchmarks wrote")
    parser.add_argument("target", type=Path, help="where SVG files go")
    given = parser.parse_args(arguments)
    files = sorted(given.source.glob("*.json"))
    if not files:
        parser.error(f"{given.source} holds no JSON file: run a benchmark with --json there first")
    given.target.mkdir(parents=True, exist_ok=True)
    for file in files:
        ratios = [one for one in json.loads(file.read_text())["results"] if one["kind"] == "comparison"]
        if ratios:
            draw(ratios, given.target / f"{file.stem}.svg")
            print(given.target / f"{file.stem}.svg")
    return 0


def draw(ratios: Sequence[dict[str, Any]], target: Path) -> None:
    """One bar for each ratio, the first at the top."""
    figure, axes = pyplot.subplots(figsize=(8, 1.2 + 0.42 * len(ratios)), layout="constrained")
    for place, one in enumerate(ratios):
        _bar(axes, place, one)
    axes.axvline(1.0, color=GOAL, linewidth=0.8)
    axes.set_yticks(range(len(ratios)), [f"{one['name']}\nagainst {one['theirs']}" for one in ratios], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("times as fast; the tick is the goal")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _bar(axes: Axes, place: int, one: dict[str, Any]) -> None:
    ratio = one["ratio"]
    median = ratio["median"]
    axes.barh(place, median, height=0.6, color=MISSED if one["met"] is False else MET)
    axes.errorbar(median, place, xerr=[[median - ratio["least"]], [ratio["greatest"] - median]], color=GOAL, capsize=2)
    axes.annotate(f"{median:.3g}", (ratio["greatest"], place), (4, 0), textcoords="offset points", va="center")
    if one["goal"] is not None:
        axes.plot([one["goal"]] * 2, [place - 0.4, place + 0.4], color=GOAL, linewidth=2)


if __name__ == "__main__":
    sys.exit(main())
