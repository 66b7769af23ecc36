"""What a long-running process says of itself: alive while its loop beats, ready while it can do its work."""

import threading
import time
from collections.abc import Callable

STALLED_SECONDS = 180.0
"""A loop that has not beaten for so long is stuck: longer than any call to a server may take."""


class Health:
    """Told by the process's own loop, asked by probes from other threads.

    Args:
        on_ready: Called the first time that the process is ready.
        clock: Seconds that only ever grow.
    """

    def __init__(
        self, on_ready: Callable[[], None] = lambda: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._on_ready = on_ready
        self._clock = clock
        self._lock = threading.Lock()
        self._told = False
        self._obstacle: str | None = "starting"
        self._beaten = clock()

    def ready(self) -> None:
        """The process can do its work."""
        with self._lock:
            self._obstacle = None
            self._beaten = self._clock()
            first, self._told = not self._told, True
        if first:
            self._on_ready()

    def unready(self, obstacle: str) -> None:
        """Something that the process needs is not there; `obstacle` says what, without patient data."""
        with self._lock:
            self._obstacle = obstacle
            self._beaten = self._clock()

    def beat(self) -> None:
        """The loop goes round."""
        with self._lock:
            self._beaten = self._clock()

    @property
    def obstacle(self) -> str | None:
        """What the process lacks; None if it is ready."""
        with self._lock:
            return self._obstacle

    @property
    def is_alive(self) -> bool:
        """Whether the loop has beaten lately."""
        with self._lock:
            return self._clock() - self._beaten < STALLED_SECONDS
