"""Two ways to do the same work, in turns, and how many times faster the first is.

A benchmark is a script that yields a `Comparison`, a `Figure` or a `Curve` for each of its cases, and hands itself to
`report.run`. Sides take short turns in one run, and the ratio is that of a pair of turns, since other work on the
machine comes and goes.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Turn = Callable[[], float]
"""Does the work once and says how fast it went, in the unit of the comparison."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some values, and their ends."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.least:.3g} to {self.greatest:.3g})"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How fast two sides did the same work, turn by turn; more of the unit is better.

    Attributes:
        goal: the ratio that is aimed at; a report says whether it is met.
        floor: the ratio below which something is broken; a quick run fails there. Set well under the goal.
    """

    name: str
    unit: str
    ours: str
    theirs: str
    turns: Mapping[str, Sequence[float]]
    goal: float | None = None
    floor: float | None = None

    @property
    def ratio(self) -> Spread:
        """Ours to theirs, of each pair of turns."""
        pairs = zip(self.turns[self.ours], self.turns[self.theirs], strict=True)
        return Spread.of([ours / theirs for ours, theirs in pairs])

    @property
    def met(self) -> bool | None:
        """Whether the goal is; None where there is none."""
        return None if self.goal is None else self.ratio.median >= self.goal

    @property
    def broken(self) -> bool:
        """Whether the ratio is below the floor."""
        return self.floor is not None and self.ratio.median < self.floor


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that is compared with nothing but its goal; less is better."""

    name: str
    unit: str
    values: Sequence[float]
    goal: float | None = None
    floor: float | None = None

    @property
    def spread(self) -> Spread:
        """Of the values."""
        return Spread.of(self.values)

    @property
    def met(self) -> bool | None:
        """Whether the median is at most the goal; None where there is none."""
        return None if self.goal is None else self.spread.median <= self.goal

    @property
    def broken(self) -> bool:
        """Whether the median is above the floor, here a ceiling."""
        return self.floor is not None and self.spread.median > self.floor


@dataclass(frozen=True, slots=True)
class Curve:
    """What a unit of work costs as something grows, turn by turn; less is better.

    Attributes:
        over: what grows, in its unit.
        costs: of each turn by size, ascending; at least two sizes.
        goal: the growth that is still taken for none.
    """

    name: str
    unit: str
    over: str
    costs: Mapping[float, Sequence[float]]
    goal: float | None = None
    floor: float | None = None

    @property
    def ends(self) -> tuple[tuple[float, Sequence[float]], tuple[float, Sequence[float]]]:
        """The least and the greatest size, and what it cost there."""
        sizes = list(self.costs.items())
        return sizes[0], sizes[-1]

    @property
    def growth(self) -> Spread:
        """How many times the cost at the greatest size is that at the cheapest of the others, turn by turn."""
        *others, last = self.costs.values()
        return Spread.of([cost / min(cheap) for cost, *cheap in zip(last, *others, strict=True)])

    @property
    def met(self) -> bool | None:
        """Whether it grows no more than the goal; None where there is none."""
        return None if self.goal is None else self.growth.median <= self.goal

    @property
    def broken(self) -> bool:
        """Whether it grows more than the floor, here a ceiling."""
        return self.floor is not None and self.growth.median > self.floor


Result = Comparison | Figure | Curve


def take_turns(sides: Mapping[str, Turn], turns: int, warm: int = 1) -> dict[str, list[float]]:
    """What each side reached, turn by turn; who begins changes from one pair of turns to the next.

    Args:
        sides: by name, in the order in which the first turn goes.
        turns: of each side, at least one.
        warm: turns before those, that are not counted.
    """
    reached: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(-warm, turns):
        for name in sides if turn % 2 == 0 else reversed(list(sides)):
            value = sides[name]()
            if turn >= 0:
                reached[name].append(value)
    return reached


def per_second(work: Callable[[], object], amount: float) -> Turn:
    """A turn that does the work, and says how much of `amount` was done in a second."""

    def turn() -> float:
        began = time.perf_counter()
        work()
        return amount / (time.perf_counter() - began)

    return turn


def tell(line: str) -> None:
    """What is going on, for people who wait."""
    print(line, file=sys.stderr, flush=True)
