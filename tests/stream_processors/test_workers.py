"""Worker processes: what one item does never touches the others."""

import os
import signal
import time

import pytest

from stream_processors.workers import Failed, WorkerFailure, WorkerPool


def act(item: str | int | bytes) -> object:
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
        case bytes():
            return len(item)
    return item


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
