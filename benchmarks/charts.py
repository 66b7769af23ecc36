"""Draws the charts of docs/performance.md from what benchmarks wrote: one for each, of the ratios or curves in it.

    make peers
    .venv-peers/bin/python benchmarks/charts.py build/bench docs/charts

A bar is the median of a ratio, its whisker the least and the greatest, and a tick its goal. A line is the median of a
cost as something grows, the area around it the least and the greatest. What holds neither gets no chart.
"""

import argparse
import json
import statistics
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
from matplotlib.figure import Figure  # noqa: E402

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
        results = json.loads(file.read_text())["results"]
        target = given.target / f"{file.stem}.svg"
        if ratios := [one for one in results if one["kind"] == "comparison"]:
            draw(ratios, target)
        elif curves := [one for one in results if one["kind"] == "curve"]:
            draw_curves(curves, target)
        else:
            continue
        print(target)
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
    _save(figure, target)


def draw_curves(curves: Sequence[dict[str, Any]], target: Path) -> None:
    """One small chart for each, two in a row."""
    rows = -(-len(curves) // 2)
    figure, grid = pyplot.subplots(rows, 2, figsize=(8, 2.2 * rows), layout="constrained", squeeze=False)
    for axes, one in zip(grid.flat, curves, strict=False):
        _line(axes, one)
    for axes in grid.flat[len(curves) :]:
        axes.remove()
    _save(figure, target)


def _save(figure: Figure, target: Path) -> None:
    figure.savefig(target, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def _line(axes: Axes, one: dict[str, Any]) -> None:
    """The cost from zero, over a logarithmic axis of sizes."""
    sizes = [float(size) for size in one["costs"]]
    turns = list(one["costs"].values())
    colour = MISSED if one["met"] is False else MET
    axes.plot(sizes, [statistics.median(costs) for costs in turns], marker="o", markersize=3, color=colour)
    axes.fill_between(sizes, [min(costs) for costs in turns], [max(costs) for costs in turns], color=colour, alpha=0.2)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,g}" if size < 1e6 else f"{size:g}" for size in sizes], fontsize=7)
    axes.minorticks_off()
    axes.set_ylim(0, 1.1 * max(cost for costs in turns for cost in costs))
    axes.tick_params(axis="y", labelsize=7)
    axes.set_title(one["name"], fontsize=9)
    axes.set_xlabel(one["over"], fontsize=8)
    axes.set_ylabel(one["unit"], fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)


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
