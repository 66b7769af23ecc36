"""Loopback ports of the servers: chosen free once, then remembered, since clients remember them too."""

import json
import random
import socket
from dataclasses import asdict, dataclass

from radiolog.stack.errors import PortTakenError
from radiolog.stack.state import StateFolder

LOOPBACK = "127.0.0.1"
# Below what Linux (32768) and the IANA range (49152) hand out to outgoing connections: a port from there could be
# taken by any client while the stack is down.
CANDIDATES = range(20_000, 32_000)
FILE = "ports.json"


@dataclass(frozen=True)
class Ports:
    """One port per listener."""

    kafka: int
    kafka_controller: int
    registry: int
    registry_management: int


def remembered_ports(state: StateFolder) -> Ports | None:
    """The ports of an earlier `up`; None before the first.

    Raises:
        PortTakenError: the file that remembers them is not readable.
    """
    file = state.path / FILE
    try:
        return Ports(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise PortTakenError(f"{file} is not a list of ports: delete it, then new ones are chosen") from None


def choose_ports(state: StateFolder) -> Ports:
    """Free ports, written down for every later `up`."""
    count = len(Ports.__dataclass_fields__)
    free = (port for port in random.SystemRandom().sample(CANDIDATES, len(CANDIDATES)) if is_free(port))
    ports = Ports(*(next(free) for _ in range(count)))
    state.write_private(state.path / FILE, json.dumps(asdict(ports)))
    return ports


def is_free(port: int) -> bool:
    """Whether a server could listen on the loopback port now."""
    with socket.socket() as probe:
        # As servers do: connections of the last run that linger in TIME_WAIT are no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def require_free(state: StateFolder, server: str, *ports: int) -> None:
    """Refuse to start a server whose port is in use.

    Raises:
        PortTakenError: another program listens on one of the ports.
    """
    for port in ports:
        if not is_free(port):
            raise PortTakenError(
                f"port {port} of {server} is taken by another program: stop that program, or stop this stack and "
                f"delete {state.path / FILE} to have new ports chosen"
            )


def accepts_connections(port: int) -> bool:
    """Whether somebody listens on the loopback port."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1).close()
    except OSError:
        return False
    return True
