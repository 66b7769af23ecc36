"""Curves of a fit over its epochs, as SVG: losses above, figures of the validation set below."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from training.fit.history import History

Curves = Mapping[str, Sequence[float]]
"""Values by epoch from the first, by name; nan where there is none."""
_WIDTH, _HEIGHT = 860, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 320, 44, 40
# Okabe and Ito's colours, told apart by colour-blind people as well.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
_TICKS = 5


def draw_curves(history: History) -> str:
    """One SVG document."""
    names = dict.fromkeys(name for epoch in history.epochs for name in epoch.figures)
    losses = {
        "training": [epoch.train_loss for epoch in history.epochs],
        "validation": [epoch.validation_loss for epoch in history.epochs],
    }
    figures = {name: [epoch.figures.get(name, math.nan) for epoch in history.epochs] for name in names}
    best = history.best.number if history.best else None
    panels = [_panel("Loss", losses, best, 0), _panel("Validation figures", figures, best, _HEIGHT)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {2 * _HEIGHT}" width="{_WIDTH}" '
        f'height="{2 * _HEIGHT}" font-family="sans-serif" font-size="12" role="img" '
        f'aria-label="Losses and validation figures by epoch">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join(panels)
        + "\n</svg>\n"
    )


def _panel(title: str, curves: Curves, best: int | None, top: int) -> str:
    epochs = max((len(values) for values in curves.values()), default=0)
    low, high = _range(value for values in curves.values() for value in values)

    def x(epoch: float) -> float:
        return _LEFT + (epoch - 1) / max(epochs - 1, 1) * (_WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    right = _WIDTH - _RIGHT
    parts = [f'<g transform="translate(0 {top})">', _text(_LEFT, 20, title, "start", bold=True)]
    for value in (low + (high - low) * tick / (_TICKS - 1) for tick in range(_TICKS)):
        parts.append(f'<path d="M{_LEFT} {y(value):.1f}H{right}" stroke="#dddddd"/>')
        parts.append(_text(_LEFT - 8, y(value) + 4, f"{value:.3g}", "end"))
    parts += [_text(x(epoch), _HEIGHT - _BOTTOM + 18, str(epoch), "middle") for epoch in _numbers(epochs)]
    parts.append(_text((_LEFT + right) / 2, _HEIGHT - 6, "epoch", "middle"))
    if best is not None:
        parts.append(f'<path d="M{x(best):.1f} {_TOP}V{_HEIGHT - _BOTTOM}" stroke="#555555" stroke-dasharray="4 3"/>')
        parts.append(_text(x(best), _TOP - 6, "kept", "middle"))
    for index, (name, values) in enumerate(curves.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        points = [(x(epoch), y(value)) for epoch, value in enumerate(values, 1) if math.isfinite(value)]
        parts.append(_line(points, colour))
        height = _TOP + 8 + 18 * index
        parts.append(f'<path d="M{right + 14} {height}h18" stroke="{colour}" stroke-width="3"/>')
        parts.append(_text(right + 38, height + 4, _legend(name, values), "start"))
    return "\n".join([*parts, "</g>"])


def _line(points: Sequence[tuple[float, float]], colour: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>{dots}'


def _legend(name: str, values: Sequence[float]) -> str:
    return f"{name} {values[-1]:.4f}" if values and math.isfinite(values[-1]) else name


def _range(values: Iterable[float]) -> tuple[float, float]:
    """The least and the greatest, a little apart if they are one."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _numbers(epochs: int) -> range:
    """Epochs that get a number on the axis, about ten of them."""
    return range(1, epochs + 1, max(1, math.ceil(epochs / 10)))


def _text(x: float, y: float, text: str, anchor: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="#222222" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
