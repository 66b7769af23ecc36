"""How a fit went, epoch by epoch, and which epoch is the best so far."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """How one pass over the training set went; figures of the validation set are of the averaged weights.

    Attributes:
        number: from 1.
        step: steps made since the beginning.
        train_loss: mean over the steps.
        validation_loss: mean over all examples.
        figures: of the validation set, by name.
        learning_rate: of the last step.
        images_per_second: while training, evaluation left out.
        seconds: that the epoch took in all, in the process that ended it.
    """

    number: int
    step: int
    train_loss: float
    validation_loss: float
    figures: Mapping[str, float]
    learning_rate: float
    images_per_second: float
    seconds: float


@dataclass(frozen=True, slots=True)
class History:
    """All epochs so far."""

    epochs: tuple[Epoch, ...] = ()

    def with_epoch(self, epoch: Epoch) -> "History":
        """The history with one more."""
        return History((*self.epochs, epoch))

    @property
    def seconds(self) -> float:
        """What the epochs took in all, over every process that the fit went through."""
        return sum(epoch.seconds for epoch in self.epochs)

    @property
    def best(self) -> Epoch | None:
        """The epoch with the least validation loss, the first of equals."""
        return min(self.epochs, key=lambda epoch: epoch.validation_loss, default=None)

    @property
    def waited(self) -> int:
        """Epochs since the best one."""
        return len(self.epochs) - self.best.number if self.best else 0

    @property
    def improved(self) -> bool:
        """Whether the last epoch is the best."""
        return bool(self.epochs) and self.waited == 0

    def finished(self, epochs: int, patience: int) -> bool:
        """Whether there is nothing left to do: all epochs made, or none better for so many."""
        return len(self.epochs) >= epochs or self.waited >= patience

    def to_json(self) -> list[dict[str, Any]]:
        """All epochs as JSON values; what is not finite becomes None."""
        return [_finite(asdict(epoch)) for epoch in self.epochs]

    @classmethod
    def from_json(cls, document: list[Any]) -> Self:
        """Rebuild a history from `to_json`."""
        return cls(tuple(Epoch(**{**row, "figures": _numbers(row["figures"])}) for row in document))


def _finite(value: Any) -> Any:
    """JSON has no nan: None stands for it."""
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(figures: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in figures.items()}
