"""Several processes that are one service to whoever watches: their readiness, and their metrics side by side."""

import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from pydantic import SecretStr

from radiolog.health import Health
from radiolog.instances import instances
from radiolog.probes import ask

LOOK_SECONDS: Final = 2.0
OWN_GAUGE: Final = "radiolog_ready"
_ABSENT: Final = (0, "it does not run yet")


class Crew(Collector):
    """The members, by their names; each is asked at its own probes.

    Args:
        label: Of the metrics: which member they are of.
        state_dir: Where members announce themselves.
        token: Of their probes.
    """

    def __init__(self, label: str, state_dir: Path, token: SecretStr | None) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._label = label
        self._state_dir = state_dir
        self._token = token
        self._pids: Mapping[str, int] = {}
        self._next_look = 0.0

    def look(self, pids: Mapping[str, int], health: Health) -> None:
        """Tells `health`, every few seconds, whether all members are ready; to be called as a loop goes round."""
        health.beat()
        self._pids = pids
        if time.monotonic() < self._next_look:
            return
        answers = self._ask("/ready")
        obstacles = [f"{name}: {said}" for name, (status, said) in answers.items() if status != 200]
        if obstacles and any(answer is not _ABSENT for answer in answers.values()):
            health.unready("; ".join(obstacles))
        else:  # also where members can't announce themselves: each has said by sd_notify(3) that it is ready
            health.ready()
        self._next_look = time.monotonic() + LOOK_SECONDS

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is depends on the members."""
        return []

    def collect(self) -> Iterable[Metric]:
        """What each member shows, with its name as one label more; a member that does not answer is left out."""
        merged: dict[str, Metric] = {}
        for name, (status, text) in self._ask("/metrics").items():
            for family in text_string_to_metric_families(text) if status == 200 else ():
                if family.name == OWN_GAUGE:
                    continue
                into = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                into.samples += [one._replace(labels={**one.labels, self._label: name}) for one in family.samples]
        return merged.values()

    def _ask(self, path: str) -> dict[str, tuple[int, str]]:
        """Each member's answer; status 0 from one that is not there."""
        probes = {instance.pid: instance.probe for instance in instances(self._state_dir)}
        return {
            name: ask(probes[pid], path, self._token) if pid in probes else _ABSENT for name, pid in self._pids.items()
        }
