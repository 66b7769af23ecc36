"""Acts, in a thread of its own, on a block of code that takes longer than it may."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Over = Callable[[], bool]
"""Whether the block has ended."""


class Alarm:
    """Watches one block after another.

    One thread looks at the clock now and then, so that a block which is quick costs next to nothing.

    Args:
        name: Of the thread.
        action: Called with `Over` when a block is late; the block's end waits for it.
        tick: Seconds between two looks at the clock.
    """

    def __init__(self, name: str, action: Callable[[Over], None], tick: float = 1.0) -> None:
        self._action = action
        self._tick = tick
        self._state = threading.Lock()
        self._acting = threading.Lock()
        self._block: object | None = None
        self._due = 0.0
        self._closed = threading.Event()
        threading.Thread(target=self._watch, name=name, daemon=True).start()

    @contextmanager
    def after(self, seconds: float) -> Iterator[None]:
        """Runs the action if the block takes longer than `seconds`, and up to a tick more."""
        with self._state:
            self._block, self._due = object(), time.monotonic() + seconds
        try:
            yield
        finally:
            with self._state:
                self._block = None
            with self._acting:  # an action that is under way sees that the block is over, and ends
                pass

    def close(self) -> None:
        """Ends the thread."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.wait(self._tick):
            with self._acting:
                with self._state:
                    block = self._block if time.monotonic() >= self._due else None
                if block is not None:
                    self._action(lambda block=block: self._block is not block)  # type: ignore[misc]
