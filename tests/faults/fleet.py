"""Stages as real processes, as `radiolog run all` starts them, that can be killed, paused and started again."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from radiolog.service import LIFELINE
from radiolog.settings import ENVIRONMENT_PREFIX, Settings
from tests import sites

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "preprocess": ("run", "preprocess"),
    "inference": ("run", "infer"),
    "sink": ("run", "sink"),
}
STAGES = tuple(COMMANDS)
READY_SECONDS = 120.0
STOP_SECONDS = 60.0
RESTART_SECONDS = 0.5
SUCCESSOR = 100


def environment_of(settings: Settings) -> dict[str, str]:
    """The settings as a process reads them, and whatever else this process has in its environment."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    return outside | sites.environment_of(settings)


class Instance:
    """One instance of a stage: its process, and those that came after it."""

    def __init__(self, stage: str, ordinal: int, command: Sequence[str], environment: Mapping[str, str], log: Path):
        self.stage = stage
        self.ordinal = ordinal
        self.log_file = log
        self.exits: list[int] = []
        self._command = command
        self._environment = environment
        self._folder = tempfile.TemporaryDirectory(prefix="radiolog-")
        self._lock = threading.RLock()
        self.wanted = False
        self._starts = 0
        self._ready = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._lock:
            self.wanted, self._ready = True, threading.Event()
            self._starts += 1
            heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            heard.bind(path := f"{self._folder.name}/{self._starts}")
            threading.Thread(target=_hear, args=(heard, self._ready), daemon=True).start()
            lifeline, self._lifeline = os.pipe()
            with self.log_file.open("ab") as output:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**self._environment, "NOTIFY_SOCKET": path, LIFELINE: str(lifeline)},
                    pass_fds=(lifeline,),
                    start_new_session=True,
                    cwd=self.log_file.parent,
                )
            os.close(lifeline)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def await_ready(self, seconds: float = READY_SECONDS) -> bool:
        """Whether the process that runs now says within this time that it is ready."""
        return self._ready.wait(seconds)

    def kill(self) -> float:
        """SIGKILL; gives the moment at which it was gone."""
        with self._lock:
            self.signal(signal.SIGKILL)
            self.reaped()
            return time.monotonic()

    def signal(self, number: signal.Signals) -> None:
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and no restart; gives the exit code."""
        self.end()
        return self.reaped()

    def end(self) -> None:
        """SIGTERM, and no restart. One is enough: a second would meet a process that has no handler any more."""
        with self._lock:
            self.wanted = False
            self.signal(signal.SIGTERM)

    def revive(self) -> None:
        """Starts it again if it ended by itself."""
        with self._lock:
            if self.wanted and self._process is not None and self._process.poll() is not None:
                self.reaped()
                self.start()

    def close(self) -> None:
        self.wanted = False
        if self._process is not None:
            self.kill()
        self._folder.cleanup()

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def reaped(self) -> int:
        """Waits for the end of the process; gives its exit code."""
        if (process := self._process) is None:
            return self.exits[-1]
        try:
            code = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        with self._lock:
            if self._process is process:
                self._process = None
                self.exits.append(code)
                os.close(self._lifeline)
        return code


def _hear(heard: socket.socket, ready: threading.Event) -> None:
    with heard:
        heard.settimeout(READY_SECONDS)
        try:
            heard.recv(64)
        except TimeoutError:
            return
    ready.set()


class Fleet:
    """Instances of stages; those that end by themselves are started again, as a supervisor would."""

    def __init__(self, settings: Settings, folder: Path, entries: Mapping[str, Sequence[str]] | None = None) -> None:
        self.instances: dict[tuple[str, int], Instance] = {}
        self._settings = settings
        self._folder = folder
        self._entries = entries or {}
        self._ended = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="fleet", daemon=True)
        self._keeper.start()

    def start(self, *stages: str, ordinal: int = 0, wait: bool = True) -> list[Instance]:
        """Starts an instance of each stage; by default, returns when all are ready."""
        started = [self._made(stage, ordinal) for stage in stages or STAGES]
        for instance in started:
            instance.start()
        if wait:
            for instance in started:
                assert instance.await_ready(), f"{instance.stage} is not ready; its log: {instance.log()[-2000:]}"
        return started

    def successor(self, stage: str, ordinal: int = 0) -> Instance:
        """Starts a second process of the same name, as on another machine that takes the first for dead."""
        first, self.instances[stage, ordinal + SUCCESSOR] = (
            self.instances[stage, ordinal],
            (made := self._new(stage, ordinal)),
        )
        first.wanted = False
        made.start()
        return made

    def __getitem__(self, stage: str) -> Instance:
        return self.instances[stage, 0]

    def stop_ready(self) -> list[int]:
        """SIGTERM to all that still run, once they are ready; the exit codes."""
        running = [instance for instance in self.instances.values() if instance.wanted]
        for instance in running:
            assert instance.await_ready(), f"{instance.stage} is not ready"
        for instance in running:
            instance.end()
        return [instance.reaped() for instance in running]

    def close(self) -> None:
        self._ended.set()
        self._keeper.join()
        for instance in self.instances.values():
            instance.close()

    def _made(self, stage: str, ordinal: int) -> Instance:
        if (stage, ordinal) not in self.instances:
            self.instances[stage, ordinal] = self._new(stage, ordinal)
        return self.instances[stage, ordinal]

    def _new(self, stage: str, ordinal: int) -> Instance:
        entry = self._entries.get(stage, ("-m", "radiolog"))
        command = (sys.executable, *entry, *COMMANDS[stage], "--ordinal", str(ordinal))
        log = self._folder / f"{stage}-{len(self.instances)}.log"
        return Instance(stage, ordinal, command, environment_of(self._settings), log)

    def _keep(self) -> None:
        while not self._ended.wait(RESTART_SECONDS):
            for instance in list(self.instances.values()):
                instance.revive()
