"""Several devices, and several hosts: batches are split over them, the network is the same on each.

One process drives all devices of its host; with several hosts, one process on each runs the same command. Process 0
alone writes. The compiler puts the exchange of gradients into the step (GSPMD, Xu et al. 2021): no code here knows how
many devices there are.
"""

import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from numpy.typing import NDArray

from training.errors import ParallelError

_AXIS = "data"
_CONNECT_SECONDS = 120
_LOST_SECONDS = 60
"""After which a host that says nothing is taken for dead."""
_RETRY_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosts:
    """Which process of several this is.

    Attributes:
        coordinator: `host:port` where process 0 listens; the others reach it there.
        count: of processes.
        index: of this one, from 0.
    """

    coordinator: str
    count: int
    index: int

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ParallelError(f"host {self.index} of {self.count}: hosts are numbered from 0")
        if not self.coordinator.rpartition(":")[2].isdigit() or ":" not in self.coordinator:
            raise ParallelError(f"the coordinator is host:port, not {self.coordinator!r}")


def join(hosts: Hosts) -> None:
    """Connect to the other hosts; before anything else is asked of JAX.

    Process 0 listens on the coordinator's address alone, without authentication or encryption: hosts need a network of
    their own.

    Raises:
        ParallelError: host 0 cannot be reached. When host 0 waits in vain, JAX ends the process itself.
    """
    if hosts.count == 1:
        return
    if hosts.index:
        _wait_for(hosts.coordinator, _CONNECT_SECONDS)
    try:
        jax.distributed.initialize(
            hosts.coordinator,
            hosts.count,
            hosts.index,
            initialization_timeout=_CONNECT_SECONDS,
            heartbeat_timeout_seconds=_LOST_SECONDS,
            shutdown_timeout_seconds=_LOST_SECONDS,
            coordinator_bind_address=hosts.coordinator if hosts.index == 0 else None,
        )
    except RuntimeError as error:
        raise ParallelError(f"{hosts.count} hosts did not meet at {hosts.coordinator}: {error}") from error


@contextmanager
def lost_hosts_told() -> Iterator[None]:
    """Say of a failed exchange between hosts what it means.

    Raises:
        ParallelError: another host is gone.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        raise ParallelError("another host is gone: start all of them again with --resume") from error


def _wait_for(coordinator: str, seconds: float) -> None:
    """Wait until somebody listens: JAX would end the process with a stack trace if nobody ever did."""
    host, _, port = coordinator.rpartition(":")
    until = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_RETRY_SECONDS).close()
        except OSError as error:
            if time.monotonic() > until:
                raise ParallelError(
                    f"host 0 cannot be reached at {coordinator} ({error}): is it started, and is the address its own?"
                ) from error
            time.sleep(_RETRY_SECONDS)
        else:
            return


def is_primary() -> bool:
    """Whether this process writes and speaks for all."""
    return jax.process_index() == 0


@dataclass(frozen=True, slots=True)
class Layout:
    """The devices of a fit, in one row."""

    mesh: Mesh

    @classmethod
    def over(cls, devices: Sequence[jax.Device] | None = None) -> Self:
        """All devices of all processes, or those given."""
        return cls(Mesh(np.asarray(devices if devices is not None else jax.devices()), (_AXIS,)))

    @property
    def count(self) -> int:
        """How many devices there are."""
        return int(self.mesh.size)

    @property
    def replicated(self) -> NamedSharding:
        """The whole array on every device."""
        return _sharding(self.mesh)

    def fits(self, batch: int) -> int:
        """The least size of at least `batch` that splits evenly."""
        return -(-batch // self.count) * self.count

    def own_rows(self, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """Of the rows of a batch, those that the devices of this process take."""
        share = len(rows) // jax.process_count()
        first = share * jax.process_index()
        return rows[first : first + share]

    def split(self, own: Mapping[str, NDArray[Any]]) -> dict[str, jax.Array]:
        """A batch over all devices, of the rows that each process has read."""
        sharding = _sharding(self.mesh, _AXIS)
        return {name: _global(sharding, array) for name, array in own.items()}

    def replicate(self, tree: Any) -> Any:
        """Put the same host arrays on every device, in arrays of their own."""
        return jax.tree.map(lambda array: _global(self.replicated, np.asarray(array)), tree)


def _sharding(mesh: Mesh, *axes: str) -> NamedSharding:
    return NamedSharding(mesh, PartitionSpec(*axes))  # type: ignore[no-untyped-call]


def _global(sharding: NamedSharding, own: NDArray[Any]) -> jax.Array:
    made: jax.Array = jax.make_array_from_process_local_data(sharding, own)  # type: ignore[no-untyped-call]
    return made


def told(message: bytes | None) -> bytes:
    """What process 0 says, in every process; the others pass None."""
    if jax.process_count() == 1:
        return message or b""
    length = multihost_utils.broadcast_one_to_all(np.int64(len(message or b"")))
    buffer = np.zeros(int(length), np.uint8)
    if message is not None:
        buffer[:] = np.frombuffer(message, np.uint8)
    return bytes(np.asarray(multihost_utils.broadcast_one_to_all(buffer)).tobytes())


def told_tree(tree: Any) -> Any:
    """The arrays of process 0, in every process; the others pass arrays of the same shapes."""
    return tree if jax.process_count() == 1 else multihost_utils.broadcast_one_to_all(tree)
