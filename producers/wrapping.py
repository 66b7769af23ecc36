"""Pictures wrapped as DICOM objects in a process of their own, with a deadline and a bound of memory.

Decoders hang, crash and run out of memory on hostile pictures: that costs the picture and never the adapter. If nothing
can be wrapped there at all, no picture is at fault.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Final

from producers.errors import Refused, TooLarge, UnwrappablePicture
from producers.photograph import wrap
from radiolog.workers import Failed, WorkerFailure, WorkerPool

#: How much more time than for a picture the process has to start, libraries and all.
START_SECONDS: Final = 30.0
_REASONS: Final = {
    WorkerFailure.TIMED_OUT: "the picture takes too long to decode: export it anew",
    WorkerFailure.CRASHED: "the decoder crashed on the picture: export it anew",
    WorkerFailure.RAISED: "the decoder failed on the picture: export it anew",
}


class WrappingUnavailable(Exception):
    """The process does not start, or does nothing: pictures stay where they are."""


@dataclass(frozen=True, slots=True)
class Picture:
    """The contents of two files."""

    content: bytes
    sidecar: bytes


Wrapped = tuple[bytes, str]
_Result = Wrapped | Refused | None


def run(picture: Picture | None) -> _Result:
    """What the process does; None makes it do nothing, which shows that it runs."""
    _be_quiet()
    try:
        return wrap(picture.content, picture.sidecar) if picture is not None else None
    except Refused as refused:
        return refused


class WrappingProcess:
    """One process, started for the first picture; any thread may call `wrap`, which takes one picture at a time.

    Args:
        timeout_seconds: How long one picture may take.
        memory_bytes: How much address space it may take, on Linux.
    """

    def __init__(self, timeout_seconds: float, memory_bytes: int) -> None:
        self._limits = timeout_seconds, memory_bytes
        # The process ends with the thread that started it, so one thread does so, each time, and stays.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._pool: WorkerPool[Picture | None, _Result] | None = None

    def wrap(self, content: bytes, sidecar: bytes) -> Wrapped:
        """As `producers.photograph.wrap` does.

        Raises:
            Refused: what that raises.
            UnwrappablePicture: the picture killed the process, or took longer than it may.
            WrappingUnavailable: the process cannot be started.
        """
        return self._thread.submit(self._wrap, Picture(content, sidecar)).result()

    def close(self) -> None:
        """Ends the process."""
        self._thread.submit(self._end).result()
        self._thread.shutdown()

    def __enter__(self) -> "WrappingProcess":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _wrap(self, picture: Picture) -> Wrapped:
        if self._pool is None:
            self._check()
        match self._run(picture):
            case Refused() as refused:
                raise refused
            case Failed(WorkerFailure.RAISED, "MemoryError"):
                raise TooLarge("the picture takes more memory to decode than it may")
            case Failed(failure):
                self._check()
                raise UnwrappablePicture(_REASONS[failure])
            case (encoded, syntax):
                return encoded, syntax
        raise AssertionError("a picture gave no result")

    def _check(self) -> None:
        """Have the process do nothing, so that the next picture finds it started, or learn that it does not run."""
        nothing = self._run(None)
        if nothing is not None:
            self._end()
            raise WrappingUnavailable(f"the process that wraps pictures does not run ({nothing})")

    def _run(self, picture: Picture | None) -> _Result | Failed:
        seconds, memory_bytes = self._limits
        try:
            if self._pool is None:
                self._pool = WorkerPool(run, 1, seconds, memory_bytes, _more_seconds)
            (result,) = self._pool.map([picture])
        except OSError as error:
            self._end()
            raise WrappingUnavailable(f"no process that wraps pictures can be started ({error.strerror})") from None
        return result

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.close()
            self._pool = None


def _more_seconds(picture: Picture | None) -> float:
    return START_SECONDS if picture is None else 0.0


@cache
def _be_quiet() -> None:
    """No library's warnings: they quote values."""
    logging.disable(logging.CRITICAL)
