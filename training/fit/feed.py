"""Batches read and sent to the devices ahead of the step that takes them, so that it does not wait."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from training.fit.columns import Columns
from training.fit.task import Batch
from training.parallel import Layout

AHEAD = 3
"""Batches that are read before they are asked for; each takes memory on the devices."""
_READERS = 2


def feed(columns: Columns, plan: Iterable[NDArray[np.intp]], layout: Layout) -> Iterator[Batch]:
    """Yield the batches of a plan in order.

    Each process reads only the rows that its own devices take. Threads end when the iterator is exhausted or closed.

    Args:
        columns: where rows are read from.
        plan: rows `[batch]` of each batch, the same in every process.
        layout: the devices that batches are split over.
    """
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="feed")
    waiting: deque[Future[Batch]] = deque()
    try:
        for rows in plan:
            waiting.append(pool.submit(_load, columns, rows, layout))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _load(columns: Columns, rows: NDArray[np.intp], layout: Layout) -> Batch:
    return layout.split(columns.take(layout.own_rows(rows)))
