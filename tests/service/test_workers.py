"""Worker processes: what one item does never touches the others."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from radiolog.workers import Failed, WorkerFailure, WorkerPool

MEGABYTE = 1 << 20
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")


def act(item: str | int | bytes | Path) -> object:
    """What the workers run; importable by name, as spawned processes need it."""
    match item:
        case "raise":
            raise ValueError("SECRET")
        case "hang":
            time.sleep(600)
        case "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "pid":
            return os.getpid()
        case "eat":
            return len(bytearray(4096 * MEGABYTE))
        case bytes():
            return len(item)
        case Path():
            return crash_then_meet(item)
    return item


def crash_then_meet(end: Path) -> str:
    """Dies the first time; the second time it waits for whoever opens the other end of the named pipe beside it."""
    crashed = end.with_suffix(".crashed")
    if not crashed.exists():
        crashed.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    with open(end.parent / "pipe", end.name):
        return end.name


@pytest.fixture
def pool():
    with WorkerPool(act, size=2, timeout_seconds=20) as pool:
        yield pool


def test_results_are_in_order(pool):
    assert pool.map(list(range(50))) == list(range(50))


def test_nothing_gives_nothing(pool):
    assert pool.map([]) == []


def test_large_items_go_through(pool):
    assert pool.map([bytes(20_000_000)] * 3) == [20_000_000] * 3


def test_an_item_that_raises_fails_alone_and_says_nothing_of_its_content(pool):
    assert pool.map([1, "raise", 2]) == [1, Failed(WorkerFailure.RAISED, "ValueError"), 2]


def test_an_item_that_crashes_fails_alone(pool):
    results = pool.map([1, "die", 2, "die", 3, 4])
    crash = Failed(WorkerFailure.CRASHED, f"exit code {-signal.SIGSEGV}")
    assert results == [1, crash, 2, crash, 3, 4]
    assert pool.map([5, 6]) == [5, 6]


def test_an_item_that_hangs_is_stopped():
    with WorkerPool(act, size=2, timeout_seconds=3) as pool:
        pool.map([0, 0])  # both processes are up, so that the deadline measures the item alone
        began = time.monotonic()
        assert pool.map(["hang", 1, 2]) == [Failed(WorkerFailure.TIMED_OUT, "no result in time"), 1, 2]
        assert time.monotonic() - began < 20


def test_an_item_may_have_more_time_than_others():
    with WorkerPool(act, size=2, timeout_seconds=0, more_seconds=lambda item: 0 if item == "hang" else 60) as pool:
        assert pool.map([1, "hang", 2]) == [1, Failed(WorkerFailure.TIMED_OUT, "no result in time"), 2]


def test_a_worker_killed_while_idle_is_replaced(pool):
    for pid in set(pool.map(["pid"] * 8)):
        os.kill(pid, signal.SIGKILL)
    assert pool.map([1, 2, 3, 4]) == [1, 2, 3, 4]


def test_close_ends_the_processes(pool):
    pids = set(pool.map(["pid"] * 8))
    pool.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_crashed_items_are_tried_again_side_by_side(pool, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert pool.map([tmp_path / "r", tmp_path / "w"]) == ["r", "w"]


@linux_only
def test_an_item_that_eats_memory_fails_alone():
    with WorkerPool(act, size=1, timeout_seconds=20, memory_bytes=1024 * MEGABYTE) as pool:
        (before,) = pool.map(["pid"])
        results = pool.map([bytes(MEGABYTE), "eat", bytes(300 * MEGABYTE)])
        assert results == [MEGABYTE, Failed(WorkerFailure.RAISED, "MemoryError"), 300 * MEGABYTE]
        assert pool.map(["pid"]) == [before]


HANG = """
import ctypes
import os

from radiolog.workers import WorkerPool


def hang(item):
    print(os.getpid(), flush=True)
    ctypes.PyDLL(None).sleep(600)  # native code that never comes back and holds the interpreter's lock


if __name__ == "__main__":
    with WorkerPool(hang, size=1, timeout_seconds={timeout}) as pool:
        print(pool.map([1])[0].failure, flush=True)
"""


@contextmanager
def hanging(folder: Path, timeout: float) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process with a pool of one worker that hangs in native code, and a descriptor of the worker."""
    script = folder / "hang.py"
    script.write_text(HANG.format(timeout=timeout))
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        worker = os.pidfd_open(int(parent.stdout.readline()))
        try:
            yield parent, worker
        finally:
            if not ended(worker, 0):
                signal.pidfd_send_signal(worker, signal.SIGKILL)
            os.close(worker)
            parent.kill()


def ended(worker: int, seconds: float) -> bool:
    return bool(select.select([worker], [], [], seconds)[0])


@linux_only
def test_a_native_hang_ends_with_its_parent(tmp_path):
    with hanging(tmp_path, timeout=600) as (parent, worker):
        parent.kill()
        assert ended(worker, 20)


@linux_only
def test_a_native_hang_ends_at_its_deadline_whatever_the_parent_does(tmp_path):
    with hanging(tmp_path, timeout=3) as (parent, worker):
        parent.send_signal(signal.SIGSTOP)
        assert ended(worker, 20)
        parent.send_signal(signal.SIGCONT)
        assert parent.stdout.readline().strip() == WorkerFailure.TIMED_OUT
