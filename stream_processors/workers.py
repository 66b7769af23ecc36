"""Worker processes that run one function on one item at a time, each with a deadline.

Native decoders hang, crash and run out of memory on hostile input. In a process of its own such an item costs itself
and nothing else: the process is killed and replaced, and the others never notice.
"""

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


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

    Args:
        function: What they run; importable by name, since the processes are spawned (forking a process whose Kafka
            client has threads is not safe).
        size: How many processes.
        timeout_seconds: How long one item may take.
    """

    def __init__(self, function: Callable[[T], R], size: int, timeout_seconds: float) -> None:
        self._function = function
        self._timeout = timeout_seconds
        self._workers = [_Worker(function) for _ in range(size)]

    def map(self, items: Sequence[T]) -> list[R | Failed]:
        """The result of each item, in order, or why there is none.

        An item whose process died is tried once more, alone: the process may have been killed for another reason.
        """
        results = self._once(items)
        for index, result in enumerate(results):
            if isinstance(result, Failed) and result.failure is WorkerFailure.CRASHED:
                (results[index],) = self._once([items[index]])
        return results

    def _once(self, items: Sequence[T]) -> list[R | Failed]:
        results: dict[int, R | Failed] = {}
        waiting = list(enumerate(items))[::-1]
        while len(results) < len(items):
            for worker in self._workers:
                if worker.idle and waiting:
                    worker.start(*waiting.pop(), self._timeout)
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
        self._workers[self._workers.index(worker)] = _Worker(self._function)


class _Worker(Generic[T, R]):
    """One process, idle or busy with one item."""

    def __init__(self, function: Callable[[T], R]) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(target=_serve, args=(function, theirs), daemon=True)
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

    def start(self, index: int, item: T, timeout: float) -> None:
        self._index, self.deadline = index, time.monotonic() + timeout
        try:
            self.connection.send(item)
        except OSError:
            self._process.join()  # it died while idle; `finish` reports it

    def finish(self) -> tuple[int, R | Failed]:
        """The item's index and result; a worker that has none to give is dead afterwards."""
        index, self._index = self._index, -1
        return index, self._result()

    def kill(self) -> None:
        self._end()
        self.connection.close()

    def _result(self) -> R | Failed:
        if not self.connection.poll():
            self._end()
            return Failed(WorkerFailure.TIMED_OUT, "no result in time")
        try:
            result: R | Failed = self.connection.recv()
        except (EOFError, OSError):
            self._end()
            return Failed(WorkerFailure.CRASHED, f"exit code {self._process.exitcode}")
        return result

    def _end(self) -> None:
        self._process.kill()
        self._process.join()


def _serve(function: Callable[[T], R], connection: Connection) -> None:
    """The worker's life: until the other side goes away. Ctrl-C is for the parent, which then ends this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            item: T = connection.recv()
        except EOFError:
            return
        result: R | Failed
        try:
            result = function(item)
        except Exception as error:
            result = Failed(WorkerFailure.RAISED, type(error).__name__)
        connection.send(result)
