"""Runs services as processes of their own: started, awaited until ready, started again when they die, stopped."""

import os
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import structlog

from radiolog.interrupts import interrupts_deferred
from radiolog.service import LIFELINE

READY_SECONDS = 120.0
STOP_SECONDS = 30.0
POLL_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0

log = structlog.get_logger()


class ServiceFailed(Exception):
    """A service ended before it was ready; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Service:
    """A command that runs until SIGTERM and tells by sd_notify(3) when it is ready.

    Attributes:
        name: of the service.
        command: with its arguments.
        log_file: what takes its output; None for this process's own standard error.
        environment: added to this process's.
        descriptors: open files that it inherits, under the same numbers.
    """

    name: str
    command: Sequence[str]
    log_file: Path | None
    environment: Mapping[str, str] = field(default_factory=dict)
    descriptors: Sequence[int] = ()


class Supervisor:
    """Keeps services running; use it as a context, and none of them outlives it, not even if it is killed.

    Args:
        services: What to run.
        on_round: Called several times a second while it looks after them.
    """

    def __init__(self, services: Sequence[Service], on_round: Callable[[], None] = lambda: None) -> None:
        self._running = [_Running(service) for service in services]
        self.on_round = on_round

    def start(self, stop: threading.Event, *, patient: bool = False) -> None:
        """Starts all and returns when each is ready, or `stop` is set.

        Args:
            stop: Ends the wait.
            patient: Start again what ends before it is ready, as at a boot where the servers come later.

        Raises:
            ServiceFailed: one of them ended, or was not ready in time; never if `patient`.
        """
        for running in self._running:
            running.start()
        for running in self._running:
            running.await_ready(stop, patient, self.on_round)

    def watch(self, stop: threading.Event) -> None:
        """Starts again what dies, ever more slowly, until `stop` is set."""
        while not stop.wait(POLL_SECONDS):
            self.on_round()
            for running in self._running:
                running.revive()

    def pids(self) -> dict[str, int]:
        """The process of each service."""
        return {running.service.name: running.pid for running in self._running}

    def stop(self) -> None:
        """SIGTERM to all, then waits for each; SIGKILL for one that takes longer than half a minute."""
        for running in self._running:
            running.terminate()
        for running in self._running:
            running.reap()

    def __enter__(self) -> "Supervisor":
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


class _Running:
    """One service and its current process."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="radiolog-")
        self._ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ready.bind(f"{self._folder.name}/ready")
        self._started = 0.0
        self._again = 0.0
        self._pause = 0.5

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    def start(self) -> None:
        self._forget_readiness()
        environment = os.environ | self.service.environment | {"NOTIFY_SOCKET": f"{self._folder.name}/ready"}
        # An interrupt in the midst of it would leave a process that nothing stops.
        with self._output() as output, interrupts_deferred():
            ours, theirs = os.pipe()
            # The child inherits the reading end; the writing end closes with this process, however it ends.
            os.set_inheritable(ours, True)
            try:
                self._process = subprocess.Popen(
                    self.service.command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment | {LIFELINE: str(ours)},
                    pass_fds=(ours, *self.service.descriptors),
                    start_new_session=True,
                )
            finally:
                os.close(ours)
            self._lifeline = theirs
        self._started = time.monotonic()

    @contextmanager
    def _output(self) -> Iterator[IO[Any]]:
        if self.service.log_file is None:
            yield sys.stderr
            return
        self.service.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.service.log_file.open("ab") as output:
            yield output

    def await_ready(self, stop: threading.Event, patient: bool, on_round: Callable[[], None]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not stop.is_set():
            if self._told(POLL_SECONDS):
                return
            on_round()
            if patient:
                self.revive()
            elif self._process is None or self._process.poll() is not None:
                raise ServiceFailed(f"{self.service.name} ended at its start:\n{self._tail()}")
            elif time.monotonic() > deadline:
                raise ServiceFailed(f"{self.service.name} was not ready in time:\n{self._tail()}")

    def _told(self, seconds: float) -> bool:
        """Whether the process says within this time that it is ready."""
        if not select.select([self._ready], [], [], seconds)[0]:
            return False
        self._ready.recv(64)
        return True

    def _forget_readiness(self) -> None:
        """Takes what earlier processes said: the socket holds a few messages only, and then makes its senders wait."""
        while self._told(0):
            pass

    def revive(self) -> None:
        """Starts a dead process again, after a pause that doubles until it has run steadily for a minute."""
        if self._process is None or (code := self._process.poll()) is None:
            return
        now = time.monotonic()
        if not self._again:
            self._pause = 0.5 if now - self._started > STEADY_SECONDS else min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            self._again = now + self._pause
            log.warning("service died", name=self.service.name, exit_code=code, restart_in=self._pause)
        elif now >= self._again:
            self._again = 0.0
            os.close(self._lifeline)
            self.start()

    def terminate(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def reap(self) -> None:
        if self._process is not None:
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            os.close(self._lifeline)
            self._process = None
        self._ready.close()
        self._folder.cleanup()

    def _tail(self, lines: int = 12) -> str:
        if self.service.log_file is None:
            return "its log is above"
        return "\n".join(self.service.log_file.read_text(errors="replace").splitlines()[-lines:])
