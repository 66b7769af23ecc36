"""The record of a fit: a table with a row for each epoch, and the same as curves."""

import csv
import io
import os
from pathlib import Path

from training.fit.history import Epoch, History
from training.fit.observer import Observer
from training.loss_curves import draw_curves
from training.run_folder import RunFolder

_FIXED = ("epoch", "step", "train_loss", "validation_loss", "learning_rate", "images_per_second", "seconds")


class Journal(Observer):
    """Keeps `metrics.csv` and `curves.svg` of a run folder.

    Both are written anew from the whole history after each epoch, so that a run that goes on after a kill has each
    epoch once. A reader never sees half a file.
    """

    def __init__(self, run: RunFolder) -> None:
        self._run = run

    def epoch_ended(self, epoch: Epoch, history: History) -> None:
        """See `Observer`."""
        self._write(history)

    def ended(self, history: History) -> None:
        """See `Observer`."""
        self._write(history)

    def _write(self, history: History) -> None:
        self._run.path.mkdir(parents=True, exist_ok=True)
        _replace(self._run.metrics, as_csv(history))
        _replace(self._run.curves, draw_curves(history))


def as_csv(history: History) -> str:
    """A row for each epoch, with the figures after the columns that every fit has."""
    figures = list(dict.fromkeys(name for epoch in history.epochs for name in epoch.figures))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*_FIXED, *figures])
    for epoch in history.epochs:
        fixed = [epoch.number, *(getattr(epoch, name) for name in _FIXED[1:])]
        table.writerow([*fixed, *(epoch.figures.get(name, "") for name in figures)])
    return text.getvalue()


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)
