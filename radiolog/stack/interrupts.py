"""Ctrl-C held back over the few lines where it would leave a process that nobody knows of."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_deferred() -> Iterator[None]:
    """Deliver a SIGINT that arrives inside the block at its end.

    The handler is a Python one, so a process started meanwhile still begins with SIGINT at its default. Outside the
    main thread nothing is to be done: Python raises KeyboardInterrupt only there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived = threading.Event()
    previous = signal.signal(signal.SIGINT, lambda *_: arrived.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if arrived.is_set():
        signal.raise_signal(signal.SIGINT)
