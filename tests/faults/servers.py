"""Servers of the fault suite's own, which its tests may stop and kill."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil

from radiolog.stack.kafka import KafkaServer
from radiolog.stack.postgres import PostgresServer
from radiolog.stack.process import ServerProcess
from radiolog.stack.registry import RegistryServer
from radiolog.stack.stack import Stack, StackAddresses
from radiolog.stack.state import StateFolder

Kind = type[KafkaServer] | type[RegistryServer] | type[PostgresServer]


class OwnServers:
    """The embedded servers of one folder; each can be stopped, killed, and started again by `up`."""

    def __init__(self, folder: Path) -> None:
        self._state = StateFolder(folder)
        self._stack = Stack(folder)

    def up(self) -> StackAddresses:
        """Starts what does not run, and returns when all answer."""
        return self._stack.up()

    def down(self) -> None:
        """Their data is of no use any more, so nobody waits for a clean end."""
        for kind in (RegistryServer, PostgresServer, KafkaServer):
            if kind.process_in(self._state).find() is not None:
                self.kill(kind)

    def __enter__(self) -> Self:
        try:
            self.up()
        except BaseException:
            self.down()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self.down()

    def stop(self, kind: Kind) -> None:
        """As an administrator would: the server may finish what it is at."""
        kind.process_in(self._state).stop()

    def pause(self, kind: Kind) -> None:
        """As if the machine under it hung; `resume` lets it go on."""
        self._running(kind).suspend()

    def resume(self, kind: Kind) -> None:
        self._running(kind).resume()

    def kill(self, kind: Kind) -> None:
        """From one moment to the next, with all its children."""
        kill_server(kind.process_in(self._state))

    def _running(self, kind: Kind) -> psutil.Process:
        process = kind.process_in(self._state).find()
        assert process is not None, f"{kind.__name__} does not run"
        return process


def kill_server(server: ServerProcess) -> None:
    process = server.find()
    assert process is not None, f"{server.name} does not run"
    family = [process, *process.children(recursive=True)]
    for member in family:
        with suppress(psutil.NoSuchProcess):
            member.send_signal(signal.SIGKILL)
    until(lambda: server.find() is None, 20)
    psutil.wait_procs(family, 20)
    server.stop()  # forgets its process id


def until(condition: Callable[[], object], seconds: float = 60.0, what: str = "it") -> None:
    """Waits until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true within {seconds:.0f} s"
        time.sleep(0.02)
