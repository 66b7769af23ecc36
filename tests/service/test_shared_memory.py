"""What goes to another process through memory that both see."""

import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiolog.shared_memory import SharedMemory
from radiolog.workers import Failed, WorkerFailure, WorkerPool

SIZE = 1000
parts = st.lists(st.binary(max_size=SIZE), max_size=4)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")


@dataclass(frozen=True)
class Item:
    """An item whose parts are large."""

    name: str
    parts: tuple[bytes | memoryview, ...]

    def __reduce__(self):
        return Item, (self.name, tuple(map(pickle.PickleBuffer, self.parts)))

    def said(self) -> tuple[str, tuple[bytes, ...], tuple[type, ...]]:
        """What it holds, and in which form."""
        return self.name, tuple(map(bytes, self.parts)), tuple(map(type, self.parts))


def said(item: Item | str) -> object:
    """What the workers run; importable by name, as spawned processes need it."""
    if item == "die":
        os.abort()
    return item.said() if isinstance(item, Item) else item


@given(st.text(), parts)
def test_an_item_is_what_it_was(name, contents):
    memory = SharedMemory(SIZE)
    unpacked = memory.unpack(memory.pack(Item(name, tuple(contents))))
    assert unpacked.said()[:2] == (name, tuple(contents))
    del unpacked  # it looks into the memory
    memory.close()


@linux_only
@given(st.lists(st.binary(min_size=1, max_size=SIZE), min_size=1, max_size=4))
def test_parts_are_shared_as_far_as_they_fit(contents):
    memory = SharedMemory(SIZE)
    packed = memory.pack(Item("", tuple(contents)))
    fits = sum(map(len, contents)) <= SIZE
    assert packed.lengths == (tuple(map(len, contents)) if fits else ())
    assert (max(contents, key=len) in packed.pickled) or fits
    memory.close()


def test_without_shared_memory_everything_goes_with_the_pickle():
    memory = SharedMemory(0)
    packed = memory.pack(Item("a", (b"part",)))
    assert packed.lengths == ()
    assert memory.unpack(packed).said() == ("a", (b"part",), (bytes,))
    memory.close()


@pytest.fixture
def pool():
    with WorkerPool(said, size=2, timeout_seconds=20, shared_bytes=SIZE) as pool:
        yield pool


@linux_only
def test_a_process_sees_its_own_items_parts(pool):
    items = [Item(str(number), (bytes([number]) * number, b"x" * number)) for number in range(1, 200)]
    view = (memoryview, memoryview)
    assert pool.map(items) == [(item.name, item.parts, view) for item in items]


def test_an_item_that_does_not_fit_goes_through_all_the_same(pool):
    assert pool.map([Item("large", (bytes(SIZE + 1),))]) == [("large", (bytes(SIZE + 1),), (bytes,))]


@linux_only
def test_a_new_process_has_memory_of_its_own_and_the_old_ones_is_gone(pool):
    before = _shared()
    crash = pool.map(["die"])
    assert [result.failure for result in crash if isinstance(result, Failed)] == [WorkerFailure.CRASHED]
    assert pool.map([Item("a", (b"part",))] * 2) == [("a", (b"part",), (memoryview,))] * 2
    assert _shared() == before


@linux_only
def test_nothing_is_left_behind():
    before = _shared()
    with WorkerPool(said, size=2, timeout_seconds=20, shared_bytes=SIZE) as pool:
        assert pool.map([Item("a", (b"part",))])
        assert _shared() > before
    assert _shared() == before


def _shared() -> int:
    """How many such memories this process has open."""
    files = list(Path("/proc/self/fd").iterdir())
    return sum("memfd:radiolog" in os.readlink(file) for file in files if file.is_symlink())
