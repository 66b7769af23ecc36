"""Ctrl-C and SIGTERM held back over the few lines where they would leave a process that nobody knows of."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Deliver a SIGINT or SIGTERM that arrives inside the block at its end.

    The handler is a Python one, so a process started meanwhile still begins with both at their default. Outside the
    main thread nothing is to be done: Python runs handlers only there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []
    previous = [signal.signal(number, lambda number, _: arrived.append(number)) for number in NUMBERS]
    try:
        yield
    finally:
        for number, handler in zip(NUMBERS, previous, strict=True):
            signal.signal(number, handler)
    for interrupt in arrived:
        signal.raise_signal(interrupt)
