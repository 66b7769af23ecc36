"""How benchmarks compare, on figures that are known."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import report  # noqa: E402
from measure import Comparison, Curve, Figure, Spread, per_second, take_turns  # noqa: E402

CURVE = Curve("load", "ms", "events", {1: [2.0], 100: [1.0]}, goal=1.3)


def comparison(ours, theirs, goal=None, floor=None) -> Comparison:
    return Comparison("case", "images/s", "radiolog", "peer", {"radiolog": ours, "peer": theirs}, goal, floor)


def test_the_ratio_is_of_pairs_and_not_of_medians():
    """A machine that is ten times slower for one pair changes neither ratio."""
    assert comparison([20, 2, 30], [10, 1, 10]).ratio == Spread(2, 2, 3)


def test_sides_take_turns_and_the_first_changes():
    order = []
    sides = {name: lambda name=name: order.append(name) or len(order) for name in "ab"}
    reached = take_turns(sides, 2)
    assert order == ["b", "a", "a", "b", "b", "a"]
    assert reached == {"a": [3, 6], "b": [4, 5]}, "the warm turns are not counted"


def test_a_turn_says_how_much_was_done_in_a_second():
    assert per_second(lambda: None, 5)() > 0


@pytest.mark.parametrize(("goal", "met"), [(2, True), (2.1, False), (None, None)])
def test_goals_and_floors(goal, met):
    one = comparison([2], [1], goal, floor=2)
    assert (one.met, one.broken) == (met, False)
    assert comparison([1.9], [1], floor=2).broken
    figure = Figure("case", "ms", [2.0], goal=goal, floor=2)
    assert figure.met is (None if goal is None else True)
    assert Figure("case", "ms", [2.1], floor=2).broken


@pytest.mark.parametrize(("goal", "met"), [(1.5, True), (1.4, False), (None, None)])
def test_growth_is_against_the_cheapest_of_the_smaller_sizes_turn_by_turn(goal, met):
    """A fixed cost, which the least size has most of, hides no growth at the greatest."""
    curve = Curve("case", "ms", "events", {1: [9, 90, 9], 10: [2, 20, 4], 100: [3, 30, 4]}, goal, floor=1.5)
    assert curve.growth == Spread(1.5, 1.0, 1.5)
    assert curve.met is met
    assert not curve.broken
    assert Curve("case", "ms", "events", {1: [1], 2: [1.6]}, floor=1.5).broken


@pytest.mark.parametrize(
    ("arguments", "ours", "code"), [([], 1.9, 1), ([], 2, 0), (["--quick"], 1.9, 0), (["--quick"], 1.4, 1)]
)
def test_the_exit_code_is_that_of_the_goal_or_in_a_quick_run_of_the_floor(monkeypatch, tmp_path, arguments, ours, code):
    file = tmp_path / "new" / "figures.json"
    monkeypatch.setattr(sys, "argv", ["some.py", *arguments, "--json", str(file)])
    assert report.run("", lambda _: [comparison([ours], [1], goal=2, floor=1.5)]) == code
    (one,) = json.loads(file.read_text())["results"]
    assert one["ratio"] == {"median": ours, "least": ours, "greatest": ours}
    assert one["turns"] == {"radiolog": [ours], "peer": [1]}


def test_a_case_that_is_not_there_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["some.py", "--case", "nothing"])
    with pytest.raises(SystemExit):
        report.run("", lambda options: [one for one in [comparison([1], [1])] if options.wanted(one.name)])
    assert "no case begins with 'nothing'" in capsys.readouterr().err


def test_the_table_names_both_sides(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["some.py"])
    report.run("", lambda _: [comparison([4.0], [2.0], goal=2), Figure("start", "s", [1.5], goal=5), CURVE])
    printed = capsys.readouterr().out
    assert (
        "| case | radiolog: 4 (4 to 4) images/s | peer: 2 (2 to 2) images/s | 2 (2 to 2) | at least 2 | yes |"
        in printed
    )
    assert "| start | 1.5 (1.5 to 1.5) s |  |  | at most 5 s | yes |" in printed
    assert (
        "| load | at 1 events: 2 (2 to 2) ms | at 100 events: 1 (1 to 1) ms | 0.5 (0.5 to 0.5) | at most 1.3 | yes |"
        in printed
    )


def test_a_curve_is_written_with_its_sizes_and_its_growth(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["some.py", "--json", str(tmp_path / "figures.json")])
    assert report.run("", lambda _: [CURVE]) == 0
    (one,) = json.loads((tmp_path / "figures.json").read_text())["results"]
    assert (one["kind"], one["costs"], one["growth"]["median"]) == ("curve", {"1": [2.0], "100": [1.0]}, 0.5)
