"""Worker processes that run one function on one item at a time, each with a deadline and a limit of memory.

Native decoders hang, crash and run out of memory on hostile input. In a process of its own such an item costs itself
and nothing else: the process is killed and replaced, and the others never notice.

A hang in native code may hold the interpreter's lock, so that no Python in that process runs again: not a signal
handler, not the thread that would see the parent go. So the kernel is asked to end such a process, at its deadline
(setitimer(2)) and, on Linux, with its parent (prctl(2), PR_SET_PDEATHSIG).
"""

import ctypes
import multiprocessing
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

from radiolog.allocator import keep_freed_memory
from radiolog.shared_memory import SharedMemory

T = TypeVar("T")
R = TypeVar("R")

_SLACK_SECONDS = 1.0  # how much later than the parent, which knows more, the kernel ends a process
_PR_SET_PDEATHSIG = 1


class WorkerFailure(StrEnum):
    """Why an item has no result."""

    TIMED_OUT = "timed_out"
    CRASHED = "crashed"
    RAISED = "raised"


@dataclass(frozen=True, slots=True)
class Failed:
    """An item without result; `detail` is an exit code or an exception's type, never its message."""

    failure: WorkerFailure
    detail: str


class WorkerPool(Generic[T, R]):
    """A fixed number of worker processes.

    On Linux they end with the thread that made the pool, so make and use a pool in one thread.

    Args:
        function: What they run; importable by name, since the processes are spawned (forking a process whose Kafka
            client has threads is not safe).
        size: How many processes.
        timeout_seconds: How long one item may take.
        more_seconds: How much longer than that this very item may take; called with each item.
        memory_bytes: How much address space an item may take, on Linux, beyond what its process has mapped when it
            starts. An item that asks for more fails alone, as RAISED with "MemoryError".
        shared_bytes: How much memory each process shares with this one for the large parts of items; they are read
            there while an item is worked on, and not later.
    """

    def __init__(
        self,
        function: Callable[[T], R],
        size: int,
        timeout_seconds: float,
        memory_bytes: int = 4 << 30,
        more_seconds: Callable[[T], float] = lambda _: 0.0,
        shared_bytes: int = 0,
    ) -> None:
        self._function = function
        self._more_seconds = more_seconds
        self._limits = _Limits(timeout_seconds, memory_bytes, shared_bytes)
        self._workers = [_Worker(function, self._limits) for _ in range(size)]

    def map(self, items: Sequence[T]) -> list[R | Failed]:
        """The result of each item, in order, or why there is none.

        Items whose process died are tried once more, side by side: the process may have been killed for another
        reason. So the whole takes at most 2 x ceil(items / size) x timeout.
        """
        results = self._once(items)
        crashed = [
            index
            for index, result in enumerate(results)
            if isinstance(result, Failed) and result.failure is WorkerFailure.CRASHED
        ]
        for index, result in zip(crashed, self._once([items[index] for index in crashed]), strict=True):
            results[index] = result
        return results

    def _once(self, items: Sequence[T]) -> list[R | Failed]:
        results: dict[int, R | Failed] = {}
        waiting = list(enumerate(items))[::-1]
        while len(results) < len(items):
            for worker in self._workers:
                if worker.idle and waiting:
                    index, item = waiting.pop()
                    worker.start(index, item, self._limits.seconds + self._more_seconds(item))
            for worker in self._ready():
                index, result = worker.finish()
                results[index] = result
                if not worker.alive:
                    self._replace(worker)
        return [results[index] for index in range(len(items))]

    def close(self) -> None:
        """Ends the processes."""
        for worker in self._workers:
            worker.kill()

    def __enter__(self) -> "WorkerPool[T, R]":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ready(self) -> "list[_Worker[T, R]]":
        """Busy workers that have answered, died, or run out of time."""
        busy = [worker for worker in self._workers if not worker.idle]
        deadline = min(worker.deadline for worker in busy)
        answered = wait([worker.connection for worker in busy], max(0.0, deadline - time.monotonic()))
        now = time.monotonic()
        return [worker for worker in busy if worker.connection in answered or worker.deadline <= now]

    def _replace(self, worker: "_Worker[T, R]") -> None:
        worker.kill()
        self._workers[self._workers.index(worker)] = _Worker(self._function, self._limits)


@dataclass(frozen=True, slots=True)
class _Limits:
    """What one item may take."""

    seconds: float
    memory_bytes: int
    shared_bytes: int


class _Worker(Generic[T, R]):
    """One process, idle or busy with one item."""

    def __init__(self, function: Callable[[T], R], limits: _Limits) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._shared = SharedMemory(limits.shared_bytes)
        arguments = (function, theirs, self._shared, limits)
        self._process: BaseProcess = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        theirs.close()
        self._index = -1
        self.deadline = float("inf")

    @property
    def idle(self) -> bool:
        return self._index < 0

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    def start(self, index: int, item: T, seconds: float) -> None:
        self._index, self.deadline = index, time.monotonic() + seconds
        try:
            self.connection.send((self._shared.pack(item), seconds))
        except OSError:
            self._process.join()  # it died while idle; `finish` reports it

    def finish(self) -> tuple[int, R | Failed]:
        """The item's index and result; a worker that has none to give is dead afterwards."""
        index, self._index = self._index, -1
        return index, self._result()

    def kill(self) -> None:
        self._end()
        self.connection.close()
        self._shared.close()

    def _result(self) -> R | Failed:
        late = Failed(WorkerFailure.TIMED_OUT, "no result in time")
        if not self.connection.poll():
            self._end()
            return late
        try:
            result: R | Failed = self.connection.recv()
        except (EOFError, OSError):
            self._end()
            exit_code = self._process.exitcode
            return late if exit_code == -signal.SIGALRM else Failed(WorkerFailure.CRASHED, f"exit code {exit_code}")
        return result

    def _end(self) -> None:
        self._process.kill()
        self._process.join()


def _serve(function: Callable[[T], R], connection: Connection, shared: SharedMemory, limits: _Limits) -> None:
    """The worker's life: until the other side goes away. Ctrl-C is for the parent, which then ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    keep_freed_memory()
    if sys.platform == "linux":
        _die_with_parent()
        _limit_memory(limits.memory_bytes)
    while True:
        try:
            packed, seconds = connection.recv()
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, seconds + _SLACK_SECONDS)
        result = _attempt(function, shared.unpack(packed))
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.send(result)


def _attempt(function: Callable[[T], R], item: T) -> R | Failed:
    try:
        return function(item)
    except MemoryError:  # numpy raises a class of its own
        return Failed(WorkerFailure.RAISED, MemoryError.__name__)
    except Exception as error:
        return Failed(WorkerFailure.RAISED, type(error).__name__)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:
        sys.exit()  # it went before the kernel was asked


def _limit_memory(allowance: int) -> None:
    """Let the process map `allowance` bytes on top of what the interpreter and its libraries have mapped already."""
    with open("/proc/self/statm") as counts:
        mapped = int(counts.read().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = mapped + allowance
    resource.setrlimit(resource.RLIMIT_AS, (limit if most == resource.RLIM_INFINITY else min(limit, most), most))
