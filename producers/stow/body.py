"""How long, and how much, the body of a request may be.

A client that sends a byte now and then would hold a connection for good (slow loris). A body may therefore keep us
waiting for so many seconds, and for one more with each `SLOWEST_BYTES_PER_SECOND` that have come. The time in which the
log keeps the client waiting does not count.
"""

import asyncio
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final

from producers.statuses import StoreStatus
from producers.stow.faults import RequestFault

PATIENCE_SECONDS: Final = 30.0
SLOWEST_BYTES_PER_SECOND: Final = 16 * 1024


async def bounded(
    chunks: AsyncIterator[bytes], max_bytes: int, patience: float = PATIENCE_SECONDS
) -> AsyncIterator[bytes]:
    """The chunks of a body, within limits.

    Args:
        chunks: as the server has them.
        max_bytes: of all of them.
        patience: longest wait for a chunk, and for all of them beyond what the slowest rate explains, in seconds.

    Raises:
        RequestFault: 413, there are more than `max_bytes`; or 408, they are too slow.
    """
    clock = asyncio.get_running_loop().time
    received, waited = 0, 0.0
    while True:
        began = clock()
        try:
            async with asyncio.timeout(min(patience, patience + received / SLOWEST_BYTES_PER_SECOND - waited)):
                chunk = await anext(chunks, None)
        except TimeoutError:
            raise RequestFault(
                HTTPStatus.REQUEST_TIMEOUT, "the body comes too slowly; send it again", StoreStatus.OUT_OF_RESOURCES
            ) from None
        if chunk is None:
            return
        waited += clock() - began
        received += len(chunk)
        if received > max_bytes:
            raise too_large(max_bytes)
        yield chunk


def too_large(max_bytes: int) -> RequestFault:
    """413: a body of more than `max_bytes`."""
    return RequestFault(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"the body exceeds the {max_bytes} bytes that are taken: send fewer instances in one request",
        StoreStatus.TOO_LARGE,
    )
