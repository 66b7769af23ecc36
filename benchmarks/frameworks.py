"""The pipeline against what a user would build it on: Quix Streams, and plain loops of confluent-kafka.

    make peers
    .venv/bin/python benchmarks/frameworks.py [--json FILE] [--turns 5] [--case "CR"]

It starts servers of its own, on the cores that this process may use, and there `radiolog run preprocess`, `infer` and
`sink` and each peer's stages as real processes, all exactly once up to the sink. A backlog appears all at once on a
side's topic, and the rate is that of the time from this moment to its last committed row; the other sides have nothing
to do meanwhile. All read the same events, from as many partitions.

- radiolog: one process a stage, with a decode process for each core, as it comes.
- plain loop: consume, transform and produce in transactions of confluent-kafka, as its example shows; a preprocess
  process for each core, one for inference, in batches, and one for the sink, which inserts rows and commits offsets.
- Quix Streams: processing_guarantee="exactly-once", as many processes, and a BatchingSink.

The peers decode with pydicom (pixel_array, apply_voi_lut), resize with scikit-image, and ask the same network through
radiolog's own engine. They do less: they validate nothing, keep no lineage, crop no borders, set nothing aside that
cannot be read, and write one row an image where radiolog writes one and one for each finding.

The CPU time of an image, the servers' included, tells how much of a ratio is work, on a machine that has other work.
"""

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

import psutil
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient
from image_events import chests, cr, others
from measure import Comparison, Figure, Result, take_turns, tell
from own_servers import admin_of, create
from peer import PYTHON, ROOT
from report import Options, run
from running_site import KEPT_BYTES, STAGES, RunningSite, Site, cpu_seconds, execute, running_site

from radiolog.service import configure_logs
from schemas.events import ImageEvent
from schemas.topics import DIAGNOSES, IMAGES, PREPROCESSED

PARTITIONS = 6
GOAL = 2.0
OURS = "radiolog"
PEERS = {"plain loop": "plain", "Quix Streams": "quix"}
READY_SECONDS = 180.0
TABLE = """
create table {} (
    image uuid primary key, patient_pseudonym text not null, study_uid text not null,
    probabilities double precision[] not null, decisions text[] not null, maps bytea not null, lungs bytea not null,
    stored_at timestamptz not null default now()
)
"""


@dataclass(frozen=True, slots=True)
class Case:
    """Radiographs, and how many make a turn."""

    name: str
    images: Sequence[ImageEvent]
    turn: int


class PeerPipeline:
    """A peer's topics, its table and its processes."""

    def __init__(self, site: Site, name: str, stages: Mapping[str, int]) -> None:
        self._site = site
        self._name = name
        self._stages = stages
        self._processes: list[subprocess.Popen[bytes]] = []

    @contextmanager
    def running(self) -> Iterator["PeerPipeline"]:
        """All of its processes, until afterwards."""
        self._equip()
        try:
            for stage, count in self._stages.items():
                self._processes += [self._start(stage, ordinal) for ordinal in range(count)]
            self._await_members()
            yield self
        finally:
            for process in self._processes:
                process.kill()
                process.wait()

    def burnt(self) -> float:
        """CPU seconds of its processes so far."""
        return sum(cpu_seconds(psutil.Process(process.pid)) for process in self._processes)

    def turn(self, images: Sequence[ImageEvent]) -> float:
        """Images of a backlog per second."""
        records = [replace(self._site.record(IMAGES, image), topic=f"{self._name}.images") for image in images]
        try:
            return len(images) / self._site.seconds(len(images), self._site.put(records), self._name)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{self._said()}") from None

    def _equip(self) -> None:
        settings = self._site.settings.model_copy(update={"topic_prefix": f"{self._name}."})
        admin = admin_of(settings)
        for topic in (IMAGES, PREPROCESSED, DIAGNOSES):
            create(admin, topic, settings, **{"retention.bytes": str(KEPT_BYTES)})
        asyncio.run(execute(settings.database_url.get_secret_value(), TABLE.format(self._name)))

    def _start(self, stage: str, ordinal: int) -> "subprocess.Popen[bytes]":
        """The process ends when its standard input does, so that it never outlives this one."""
        settings = self._site.settings
        place = {
            "name": self._name,
            "bootstrap": settings.bootstrap_servers,
            "registry": settings.schema_registry_url,
            "database": settings.database_url.get_secret_value(),
            "bundle": settings.bundle,
            "compiled": str(settings.state_dir / "compiled"),
            "ordinal": ordinal,
        }
        script = ROOT / "benchmarks" / "peers" / f"pipeline_{self._name}.py"
        log = settings.state_dir / "log" / f"{self._name}-{stage}-{ordinal}.log"
        with log.open("wb") as output:
            return subprocess.Popen(
                [str(PYTHON), str(script), stage, json.dumps(place)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                start_new_session=True,  # as radiolog's stages: Linux shares out the cores by session
            )

    def _await_members(self) -> None:
        """Until each group has its members, and they have their partitions.

        Raises:
            RuntimeError: a process ended, or is not there in time.
        """
        admin, deadline = admin_of(self._site.settings), time.monotonic() + READY_SECONDS
        for stage, count in self._stages.items():
            while not _joined(admin, f"{self._name}-{stage}", count):
                if time.monotonic() > deadline or any(process.poll() is not None for process in self._processes):
                    raise RuntimeError(self._said())
                time.sleep(0.2)

    def _said(self) -> str:
        logs = self._site.settings.state_dir.glob(f"log/{self._name}-*.log")
        return "\n".join(f"{log.stem}: ... {log.read_text()[-1000:]}" for log in logs)


def _joined(admin: AdminClient, group: str, members: int) -> bool:
    found = admin.describe_consumer_groups([group])[group].result(30)
    placed = [member for member in found.members if member.assignment.topic_partitions]
    return found.state is ConsumerGroupState.STABLE and len(placed) == members


def measure(options: Options) -> Iterator[Result]:
    """The ratio to each peer, case by case."""
    configure_logs(logging.ERROR)
    os.sched_setaffinity(0, cores := os.sched_getaffinity(0))  # whatever is started from here on has these and no other
    stages = {"preprocess": len(cores), "inference": 1, "sink": 1}
    share = 4 if options.quick else 1
    with running_site(PARTITIONS) as running, ExitStack() as stack:
        site = running.site
        tell("starting the peers")
        peers = {
            name: stack.enter_context(PeerPipeline(site, short, stages).running()) for name, short in PEERS.items()
        }
        cases = [Case("CR of 7.2 MB", [cr(site.settings)], 48 // share)]
        if small := chests(site.settings, 64):
            cases.append(Case("radiographs of 224 pixels", small, 480 // share))
        for case in cases:
            if options.wanted(case.name):
                yield from compared(running, peers, case, options.turns)


class Side:
    """One way to have a case's images read.

    Args:
        running: the site, whose servers all sides use.
        case: what is read.
        pipeline: the peer's; radiolog's stages without one.
    """

    def __init__(self, running: RunningSite, case: Case, pipeline: PeerPipeline | None = None) -> None:
        self._running = running
        self._case = case
        self._pipeline = pipeline
        self.burnt: list[float] = []

    def turn(self) -> float:
        """Images per second."""
        images, before = others(self._case.images, self._case.turn), self._burnt()
        rate = self._pipeline.turn(images) if self._pipeline else self._ours(images)
        self.burnt.append(1000 * (self._burnt() - before) / len(images))
        return rate

    def _ours(self, images: Sequence[ImageEvent]) -> float:
        site = self._running.site
        return len(images) / site.seconds(len(images), site.images(images))

    def _burnt(self) -> float:
        """CPU seconds of the side's processes and of the servers."""
        burnt = self._running.burnt()
        servers = sum(spent for name, spent in burnt.items() if not name.startswith(STAGES))
        return servers + (self._pipeline.burnt() if self._pipeline else sum(burnt.values()) - servers)


def compared(running: RunningSite, peers: Mapping[str, PeerPipeline], case: Case, turns: int) -> Iterator[Result]:
    """All sides in turn: the ratio to each peer, and what an image cost."""
    sides = {OURS: Side(running, case)} | {name: Side(running, case, pipeline) for name, pipeline in peers.items()}
    reached = take_turns({name: side.turn for name, side in sides.items()}, turns)
    for name in peers:
        both = {side: reached[side] for side in (OURS, name)}
        yield Comparison(f"{case.name}, {name}", "images/s", OURS, name, both, GOAL)
    for name, side in sides.items():
        yield Figure(f"{case.name}: CPU time of {name}, servers included", "ms/image", side.burnt[1:])


if __name__ == "__main__":
    sys.exit(run(__doc__, measure, turns=5))
