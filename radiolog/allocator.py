"""Has the C library keep memory that was freed, for what is allocated next."""

import ctypes
import sys
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 128 << 20
_LARGEST_BYTES: Final = 32 << 20


def keep_freed_memory() -> None:
    """Keep up to 128 MB that is free, and blocks of up to 32 MB among it, which is glibc's limit (mallopt(3)).

    A radiograph passes through a dozen arrays of some MB. By default each of them goes back to the kernel as soon as it
    is freed, and the next one is given new pages, each of which the kernel has to clear when it is first touched. That
    took as long as the decoding. Where the C library is another one, nothing is done.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl has none
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
