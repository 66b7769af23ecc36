"""The processes of this state folder, by what each says of itself."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from radiolog.instances import Instance, instances
from radiolog.probes import ask
from radiolog.settings import Settings
from radiolog.status.counters import Counters

READY, WAITING, STUCK, SILENT = "ready", "waiting", "stuck", "silent"


@dataclass(frozen=True, slots=True)
class Process:
    """One process at one moment.

    Attributes:
        instance: which.
        state: `ready`; `waiting` for what `obstacle` says; `stuck`, its loop does not go round; `silent`, no answer.
        obstacle: what it lacks; None if it is ready.
        counters: since it began; None if it does not tell.
        per_second: records since the look before; None at the first look.
        at: when its counters were read, in seconds that only ever grow.
    """

    instance: Instance
    state: str
    obstacle: str | None
    counters: Counters | None
    per_second: float | None = None
    at: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> tuple[str, int, float]:
        """The same for the same process, and for no other."""
        return self.instance.name, self.instance.pid, self.instance.process_started


class Processes:
    """Looks at all of them, and remembers the look before for the rates."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._before: Mapping[tuple[str, int, float], Process] = {}

    def look(self) -> list[Process]:
        """All that live, by name."""
        found = [self._with_rate(self._asked(instance)) for instance in instances(self._settings.state_dir)]
        self._before = {process.key: process for process in found}
        return found

    def _asked(self, instance: Instance) -> Process:
        status, text = self._ask(instance, "/ready")
        if status not in (200, 503):
            says = f"HTTP status {status}" if status else text
            return Process(instance, SILENT, f"its probes give no answer ({says})", None)
        alive, why = self._ask(instance, "/live")
        if alive == 503:
            return Process(instance, STUCK, why, self._counters(instance))
        if status == 503:
            return Process(instance, WAITING, text, self._counters(instance))
        return Process(instance, READY, None, self._counters(instance))

    def _ask(self, instance: Instance, path: str) -> tuple[int, str]:
        return ask(instance.probe, path, self._settings.probe_token)

    def _counters(self, instance: Instance) -> Counters | None:
        status, text = self._ask(instance, "/metrics")
        try:
            return Counters.of(text) if status == 200 else None
        except ValueError:
            return None

    def _with_rate(self, now: Process) -> Process:
        before = self._before.get(now.key)
        if before is None or before.counters is None or now.counters is None or now.at <= before.at:
            return now
        rate = (now.counters.records - before.counters.records) / (now.at - before.at)
        return Process(now.instance, now.state, now.obstacle, now.counters, rate, now.at)
