"""A fit on the terminal: how far it is, how fast, and how well."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.fit.history import Epoch, History
from training.fit.observer import Observer

_MEMORY = 0.9
"""Share of what was known of loss and speed that a step leaves."""


class FitProgress(Observer):
    """Draws a bar while a fit goes on and leaves a line for each epoch; use as a context manager.

    Args:
        name: of what is fitted.
        console: where; one that is no terminal gets the lines alone.
    """

    def __init__(self, name: str, console: Console) -> None:
        self._name, self._progress = name, _progress(console)
        self._epochs = self._steps = self._batch = 0
        self._loss: float | None = None
        self._speed: float | None = None
        self._last: tuple[int, float] | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        self._task = self._progress.add_task(self._name, total=None, where="compiling", loss="", speed="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def began(self, epochs: int, steps_per_epoch: int, batch: int, history: History, step: int) -> None:
        """See `Observer`."""
        self._epochs, self._steps, self._batch = epochs, steps_per_epoch, batch
        if step:
            self._progress.console.print(f"{self._name}: goes on after step {step} of {epochs * steps_per_epoch}")
        self._progress.update(self._task, total=epochs * steps_per_epoch, completed=step)

    def stepped(self, step: int, loss: float) -> None:
        """See `Observer`."""
        self._loss = loss if self._loss is None else _MEMORY * self._loss + (1 - _MEMORY) * loss
        self._measure(step)
        epoch = (step - 1) // self._steps + 1
        self._progress.update(
            self._task,
            completed=step,
            where=f"epoch {epoch}/{self._epochs} step {step - (epoch - 1) * self._steps}/{self._steps}",
            loss=f"loss {self._loss:.4f}",
            speed="" if self._speed is None else f"{self._speed:.0f} images/s",
        )

    def epoch_ended(self, epoch: Epoch, history: History) -> None:
        """See `Observer`."""
        self._last = None
        self._progress.console.print(f"{self._name}: {epoch_line(epoch)}{'  best' if history.improved else ''}")

    def ended(self, history: History) -> None:
        """See `Observer`."""
        if (best := history.best) is not None:
            line = f"{self._name}: done after {len(history.epochs)} epochs, the best is {best.number}"
            self._progress.console.print(line)

    def _measure(self, step: int) -> None:
        now = time.monotonic()
        if self._last is not None and now > self._last[1]:
            speed = (step - self._last[0]) * self._batch / (now - self._last[1])
            self._speed = speed if self._speed is None else _MEMORY * self._speed + (1 - _MEMORY) * speed
        self._last = (step, now)


@contextmanager
def counted(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar that is gone when all is done; gives what to call after each."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def epoch_line(epoch: Epoch) -> str:
    """An epoch in a line."""
    figures = "  ".join(f"{name} {value:.4f}" for name, value in epoch.figures.items())
    return (
        f"epoch {epoch.number}  loss {epoch.train_loss:.4f}  validation loss {epoch.validation_loss:.4f}  {figures}  "
        f"{epoch.images_per_second:.0f} images/s  {epoch.seconds:.0f} s"
    )


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        TextColumn("{task.fields[where]}"),
        BarColumn(),
        TextColumn("{task.fields[loss]}"),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
