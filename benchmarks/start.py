"""How long processes take from their start: services until they are ready, and `radiolog --help` until it has answered.

    .venv/bin/python benchmarks/start.py --case inference --json build/bench/start.json

Services are started as `radiolog run all` starts them, on servers of their own, and are ready when they say so. Then
inference has its programs, from the compilation cache that its first start, which is not counted, has filled.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from measure import Figure, Result, take_turns
from own_servers import own_servers
from report import Options, run
from running_site import equip

from radiolog.services import COMMANDS
from radiolog.settings import Settings
from radiolog.supervisor import Service, Supervisor

ROOT = Path(__file__).resolve().parents[1]
HELP = "radiolog --help"
GOALS = {HELP: 0.3, "inference": 5.0}
CEILINGS = {HELP: 1.5, "inference": 20.0}
ENVIRONMENT = {"PYTHONPATH": str(ROOT)}


def measure(options: Options) -> Iterator[Result]:
    """A figure for the command line and for each service."""
    if options.wanted(HELP):
        yield _figure(HELP, _helped, options.turns)
    wanted = [name for name in COMMANDS if options.wanted(name) and (not options.quick or name in GOALS)]
    if wanted:
        with own_servers(partitions=2) as settings:
            equip(settings)
            for name in wanted:
                yield _figure(name, partial(_served, name, settings), options.turns)


def _figure(name: str, seconds: Callable[[], float], turns: int) -> Figure:
    return Figure(name, "s", take_turns({name: seconds}, turns)[name], GOALS.get(name), CEILINGS.get(name))


def _helped() -> float:
    began = time.perf_counter()
    command = (sys.executable, "-m", "radiolog", "--help")
    subprocess.run(command, stdout=subprocess.DEVNULL, env=os.environ | ENVIRONMENT, check=True)
    return time.perf_counter() - began


def _served(name: str, settings: Settings) -> float:
    """Until the service is ready; it is stopped afterwards."""
    environment = ENVIRONMENT | {
        "RADIOLOG_STATE_DIR": str(settings.state_dir),
        "RADIOLOG_TOPIC_PREFIX": settings.topic_prefix,
        "RADIOLOG_PARTITIONS": str(settings.partitions),
        "RADIOLOG_SITE_SECRET": settings.site_secret.get_secret_value(),
        "RADIOLOG_DICOM_PORT": "0",
    }
    command = (sys.executable, "-m", "radiolog", *COMMANDS[name])
    service = Service(name, command, settings.state_dir / "log" / f"{name}.log", environment)
    with Supervisor([service]) as supervisor:
        began = time.perf_counter()
        supervisor.start(threading.Event())
        return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(run(__doc__, measure))
