"""A log in this process: the twin of Kafka that tests and tools use, behind the same seam (`radiolog.log.api`).

It keeps what the guarantees rest on: transactions with fencing, readers of committed records that stop at the last
stable offset, markers that take offsets, cooperative groups with static members and generations. One suite of tests
runs against it and against Kafka.
"""

from radiolog.log.memory.log import MemoryLog

__all__ = ["MemoryLog"]
