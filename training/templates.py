"""The templates of `training/report`, and how they write numbers and place them in plots."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

ABSENT: Final = "–"


@dataclass(frozen=True, slots=True)
class Plot:
    """Where the axes of a plot are, in units of its SVG."""

    left: int = 52
    top: int = 24
    width: int = 270
    height: int = 220


PLOT: Final = Plot()


def percent(value: float | None, digits: int = 1) -> str:
    """A share in percent; a dash where there is none."""
    return ABSENT if value is None else f"{100 * value:.{digits}f}%"


def figure(value: float | None, digits: int = 3) -> str:
    """A number; a dash where there is none."""
    return ABSENT if value is None else f"{value:.{digits}f}"


def interval(ends: Sequence[float] | None, digits: int = 3) -> str:
    """Both ends of an interval; a dash where there is none."""
    return ABSENT if ends is None else f"{ends[0]:.{digits}f} to {ends[1]:.{digits}f}"


def across(share: float) -> str:
    """Where a share of 0 to 1 lies on the x axis of a plot."""
    return f"{PLOT.left + share * PLOT.width:.1f}"


def up(share: float) -> str:
    """Where a share of 0 to 1 lies on the y axis of a plot, which goes up while SVG's goes down."""
    return f"{PLOT.top + (1 - share) * PLOT.height:.1f}"


def points(pairs: Iterable[tuple[float, float]]) -> str:
    """Pairs within 0..1 as the points of an SVG polyline in a plot."""
    return " ".join(f"{across(x)},{up(y)}" for x, y in pairs)


def _environment(escapes: bool) -> Environment:
    made = Environment(
        loader=PackageLoader("training", "report"),
        autoescape=escapes,  # noqa: S701 # Markdown is not HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {
        "percent": percent,
        "figure": figure,
        "interval": interval,
        "across": across,
        "up": up,
        "points": points,
    }
    made.globals |= {"zip": zip, "max": max, "plot": PLOT}
    return made


HTML: Final = _environment(escapes=True)
MARKDOWN: Final = _environment(escapes=False)
