"""Who is told how a fit goes."""

from training.fit.history import Epoch, History


class Observer:
    """Does nothing; subclasses override what they want to know."""

    def began(self, epochs: int, steps_per_epoch: int, batch: int, history: History, step: int) -> None:
        """A fit begins, or goes on after `step` steps and what `history` holds."""

    def stepped(self, step: int, loss: float) -> None:
        """A step was made; told a few steps late, since nobody waits for its loss."""

    def epoch_ended(self, epoch: Epoch, history: History) -> None:
        """An epoch was made and evaluated; `history` has it."""

    def ended(self, history: History) -> None:
        """The fit is finished."""


class Observers(Observer):
    """Tells several, in order."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def began(self, epochs: int, steps_per_epoch: int, batch: int, history: History, step: int) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.began(epochs, steps_per_epoch, batch, history, step)

    def stepped(self, step: int, loss: float) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.stepped(step, loss)

    def epoch_ended(self, epoch: Epoch, history: History) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.epoch_ended(epoch, history)

    def ended(self, history: History) -> None:
        """See `Observer`."""
        for observer in self._observers:
            observer.ended(history)
