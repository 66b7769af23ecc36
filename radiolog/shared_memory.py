"""What one process hands to another, with the large parts in memory that both see.

Through a pipe, a radiograph of 7 MB is copied five times, some 200 kB at a time, while both processes wait for each
other. Here it is copied once: objects say with a `pickle.PickleBuffer` which of their parts are large (PEP 574).
"""

import mmap
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from multiprocessing import reduction
from typing import Any


@dataclass(frozen=True, slots=True)
class Packed:
    """An object, pickled, and how long each of its parts is that lie in shared memory."""

    pickled: bytes
    lengths: tuple[int, ...] = ()


class SharedMemory:
    """Memory of this process and of one that it spawns, to which it goes as an argument.

    It has no name and no place in a file system, so that nothing is left of it when its last process is gone, and a
    small /dev/shm, as in containers, is no limit. Pages count once they have been written.

    Args:
        size: bytes; what does not fit goes with the pickle. 0 shares nothing.
        fd: of memory that another process made.
    """

    def __init__(self, size: int, fd: int | None = None) -> None:
        self._fd = self._created(size) if fd is None else fd
        self._size = size
        self._memory = None if self._fd is None else mmap.mmap(self._fd, size)

    def pack(self, item: object) -> Packed:
        """Write the item's large parts into the memory, over what was there before."""
        parts: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(item, protocol=5, buffer_callback=parts.append)
        views = [part.raw() for part in parts]
        lengths = tuple(len(view) for view in views)
        if self._memory is None or sum(lengths) > len(self._memory):
            return Packed(pickle.dumps(item, protocol=5))
        for view, part in zip(self._parts(lengths), views, strict=True):
            view[:] = part
        return Packed(pickled, lengths)

    def unpack(self, packed: Packed) -> Any:
        """The item; its large parts are memoryviews, which hold until something else is packed."""
        return pickle.loads(packed.pickled, buffers=self._parts(packed.lengths))  # noqa: S301 (of our own process)

    def close(self) -> None:
        """Let go of the memory."""
        if self._memory is not None and self._fd is not None:
            self._memory.close()
            os.close(self._fd)
            self._memory = None

    def _parts(self, lengths: Sequence[int]) -> Iterator[memoryview]:
        if self._memory is not None:
            ends = accumulate(lengths, initial=0)
            yield from (memoryview(self._memory)[start:end] for start, end in pairwise(ends))

    @staticmethod
    def _created(size: int) -> int | None:
        """None where the kernel has no such memory; everything goes with the pickle there."""
        if size == 0 or sys.platform != "linux":
            return None
        fd = os.memfd_create("radiolog")
        os.ftruncate(fd, size)
        return fd

    def __reduce__(self) -> "tuple[Callable[[int, Any], SharedMemory], tuple[int, Any]]":
        """For the process that is being spawned; at any other time there is none to share with."""
        return _of_parent, (self._size, None if self._fd is None else reduction.DupFd(self._fd))


def _of_parent(size: int, fd: Any) -> SharedMemory:
    return SharedMemory(size, None if fd is None else fd.detach())
