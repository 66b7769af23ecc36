"""A server as a process of its own: started detached, found again by a later command, stopped for certain."""

import json
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TypeVar

import psutil

from radiolog.interrupts import interrupts_deferred
from radiolog.stack.command import Command
from radiolog.stack.errors import ServerStartError, ServerStopError
from radiolog.stack.state import StateFolder

T = TypeVar("T")

STOP_SECONDS = 20.0
LOG_TAIL_LINES = 20
# psutil derives a create time from the boot time, which moves a little when the clock is set.
CREATE_TIME_TOLERANCE_SECONDS = 2.0


class ServerProcess:
    """One named server of one state folder.

    `STATE/run/<name>.pid` holds the process id and its create time: together they name one process for good, while
    a process id alone is given to another program sooner or later. Output goes to `STATE/log/<name>.log`; the log of
    the run before is kept beside it.
    """

    def __init__(self, name: str, state: StateFolder, stop_signal: signal.Signals = signal.SIGTERM) -> None:
        self.name = name
        self.pid_file = state.path / "run" / f"{name}.pid"
        self.log_file = state.path / "log" / f"{name}.log"
        self._state = state
        self._stop_signal = stop_signal

    def find(self) -> psutil.Process | None:
        """The running process that `start` made, whoever called it; None if it is gone."""
        try:
            record = json.loads(self.pid_file.read_text())
            process = psutil.Process(record["pid"])
            difference = abs(process.create_time() - record["create_time"])
        except (FileNotFoundError, ValueError, KeyError, TypeError, psutil.NoSuchProcess):
            return None
        is_ours = difference <= CREATE_TIME_TOLERANCE_SECONDS
        return process if is_ours and not _is_gone(process) else None

    def prepare(self, purpose: str, command: Command, standard_input: str = "") -> None:
        """Run a program to its end before the server starts; what it prints goes to the server's log.

        Raises:
            ServerStartError: it failed; the message says for what `purpose` it ran.
        """
        if not self._with_new_log(lambda log: command.run(log, standard_input)):
            raise ServerStartError(f"{self.name} could not {purpose}", self.log_file, self.log_tail())

    def start(self, command: Command) -> None:
        """Start detached: neither the terminal's Ctrl-C nor its end reaches the server.

        Raises:
            ServerStartError: the program could not be executed.
        """
        self._state.subfolder("run")
        with interrupts_deferred():
            pid = self._with_new_log(command.spawn)
            record = {"pid": pid, "create_time": psutil.Process(pid).create_time()}
            self._state.write_private(self.pid_file, json.dumps(record))

    def _with_new_log(self, execute: Callable[[int], T]) -> T:
        self._state.subfolder("log")
        if self.log_file.exists():
            os.replace(self.log_file, self.log_file.with_suffix(".log.1"))
        log = os.open(self.log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return execute(log)
        except OSError as error:
            raise ServerStartError(f"{self.name} could not be executed: {error}", self.log_file) from error
        finally:
            os.close(log)

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end of the process; False if it still runs after `seconds`."""
        process = self.find()
        return process is None or _wait_gone(process, seconds)

    def stop(self) -> None:
        """Ask the server to stop, then kill it and its children; returns once they are gone. Idempotent.

        Raises:
            ServerStopError: it belongs to another user, or outlived SIGKILL.
        """
        if process := self.find():
            try:
                self._stop(process)
            except psutil.AccessDenied:
                raise ServerStopError(
                    f"{self.name} (pid {process.pid}) belongs to another user", self.log_file
                ) from None
        self.pid_file.unlink(missing_ok=True)

    def _stop(self, process: psutil.Process) -> None:
        family = _family(process)
        _signal(process, self._stop_signal)
        if not _all_gone(family, STOP_SECONDS):
            for member in family:
                _signal(member, signal.SIGKILL)
            if not _all_gone(family, STOP_SECONDS):
                raise ServerStopError(f"{self.name} (pid {process.pid}) is still there after SIGKILL", self.log_file)

    def log_tail(self) -> str:
        """The last lines of the log."""
        try:
            with self.log_file.open(errors="replace") as lines:
                return "".join(deque(lines, LOG_TAIL_LINES)).rstrip()
        except FileNotFoundError:
            return ""


def _family(process: psutil.Process) -> list[psutil.Process]:
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return [process]


def _is_gone(process: psutil.Process) -> bool:
    """A zombie counts as gone, since under an init that does not reap it stays one; our own child is reaped here.

    Not so while it has threads left: a JVM's first thread is a zombie before the others have let go of their files.
    """
    with suppress(psutil.NoSuchProcess, ChildProcessError):
        if process.is_running() and (process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1):
            return False
        os.waitpid(process.pid, os.WNOHANG)
    return True


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def _wait_gone(process: psutil.Process, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not _is_gone(process):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        try:
            process.wait(timeout=min(remaining, 0.2))
        except psutil.TimeoutExpired:
            continue
    return True


def _all_gone(processes: Sequence[psutil.Process], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    return all(_wait_gone(process, max(0.0, deadline - time.monotonic())) for process in processes)
