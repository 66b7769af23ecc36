"""How long processes take from their start to their first result, and `radiolog --help` until it has answered.

    .venv/bin/python benchmarks/start.py --case inference --json build/bench/start.json

Services are started as `radiolog run all` starts them, on servers of their own. A stage finds an event on the log, and
its first result is there when it is committed: a record, or a row. An adapter is done when it is ready for devices.
Inference finds its programs in the compilation cache, which its first start, that is not counted, has filled.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from image_events import another, cr
from measure import Figure, Result, take_turns
from own_servers import own_servers
from report import Options, run
from rows import diagnoses
from running_site import STAGES, Site, equip

from models.bundle import load_bundle
from radiolog.log.follow import Follower
from radiolog.log.stage import Coordinates, Received
from radiolog.services import COMMANDS
from radiolog.settings import Settings
from radiolog.supervisor import Service, Supervisor
from schemas.events import Event
from schemas.topics import DIAGNOSES, IMAGES, PREPROCESSED, Topic
from stream_processors import decoding
from stream_processors.preprocess import preprocessed

ROOT = Path(__file__).resolve().parents[1]
HELP = "radiolog --help"
GOALS = {HELP: 0.3, "inference": 5.0}
CEILINGS = {HELP: 1.5, "inference": 20.0}
POLL_SECONDS = 0.01
ENVIRONMENT = {"PYTHONPATH": str(ROOT)}


def measure(options: Options) -> Iterator[Result]:
    """A figure for the command line and for each service."""
    if options.wanted(HELP):
        yield _figure(HELP, _helped, options.turns)
    wanted = [name for name in COMMANDS if options.wanted(name) and (not options.quick or name in GOALS)]
    if wanted:
        with own_servers(partitions=2) as settings:
            equip(settings)
            with Site(settings) as site:
                for name in wanted:
                    way = partial(_first_result, name, site) if name in STAGES else partial(_ready, name, settings)
                    yield _figure(name, way, options.turns)


def _figure(name: str, seconds: Callable[[], float], turns: int) -> Figure:
    return Figure(name, "s", take_turns({name: seconds}, turns)[name], GOALS.get(name), CEILINGS.get(name))


def _helped() -> float:
    began = time.perf_counter()
    command = (sys.executable, "-m", "radiolog", "--help")
    subprocess.run(command, stdout=subprocess.DEVNULL, env=os.environ | ENVIRONMENT, check=True)
    return time.perf_counter() - began


def _ready(name: str, settings: Settings) -> float:
    """Until the service is ready; it is stopped afterwards."""
    began = time.perf_counter()
    with _started(name, settings):
        return time.perf_counter() - began


def _first_result(name: str, site: Site) -> float:
    """Until the stage's first result is committed, of an event that was there before it."""
    source, event, target = _work(name, site.settings)
    stop = threading.Event()
    results = Follower(site.settings, site.codec, [target]).events(stop) if target is not None else None
    put = site.put([site.record(source, event)])
    began = time.perf_counter()
    with _started(name, site.settings):
        if results is None:
            while not site.rows.since(put).rows:
                time.sleep(POLL_SECONDS)
        else:
            next(results)
        took = time.perf_counter() - began
    if results is not None:
        results.close()
    return took


@contextmanager
def _started(name: str, settings: Settings) -> Iterator[None]:
    environment = ENVIRONMENT | {
        "RADIOLOG_STATE_DIR": str(settings.state_dir),
        "RADIOLOG_TOPIC_PREFIX": settings.topic_prefix,
        "RADIOLOG_PARTITIONS": str(settings.partitions),
        "RADIOLOG_SITE_SECRET": settings.require_site_secret().hex(),
        "RADIOLOG_DICOM_PORT": "0",
    }
    command = (sys.executable, "-m", "radiolog", *COMMANDS[name])
    with Supervisor([Service(name, command, settings.state_dir / "log" / f"{name}.log", environment)]) as supervisor:
        supervisor.start(threading.Event())
        yield


def _work(name: str, settings: Settings) -> tuple[Topic[Event], Event, Topic[Event] | None]:
    """What a stage is given, and the topic of what it makes of it; None for rows."""
    image = another(cr(settings))
    if name == "preprocess":
        return IMAGES, image, PREPROCESSED
    if name == "sink":
        return DIAGNOSES, diagnoses(1)[0], None
    spec = load_bundle(settings.bundle).spec
    made = decoding.run(decoding.Job(image.payload, spec))
    assert isinstance(made, decoding.ModelPixels)  # noqa: S101 (the file is the project's own)
    received = Received(image, Coordinates(IMAGES.full_name(settings.topic_prefix), 0, 0))
    return PREPROCESSED, preprocessed(received, spec, made), DIAGNOSES


if __name__ == "__main__":
    sys.exit(run(__doc__, measure))
