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
from functools import partial

import asyncpg
from confluent_kafka import ConsumerGroupState
from confluent_kafka.admin import AdminClient
from image_events import chests, cr, others
from measure import Comparison, Result, take_turns, tell
from own_servers import admin_of, create
from peer import PYTHON, ROOT
from report import Options, run
from running_site import KEPT_BYTES, Site, running_site

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
        asyncio.run(_execute(settings.database_url.get_secret_value(), TABLE.format(self._name)))

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


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


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
                yield from compared(site, peers, case, options.turns)


def compared(site: Site, peers: Mapping[str, PeerPipeline], case: Case, turns: int) -> Iterator[Result]:
    """All sides in turn, and the ratio to each."""
    sides = {OURS: partial(_ours, site, case)}
    sides |= {name: partial(_theirs, pipeline, case) for name, pipeline in peers.items()}
    reached = take_turns(sides, turns)
    for name in peers:
        yield Comparison(
            f"{case.name}, {name}", "images/s", OURS, name, {OURS: reached[OURS], name: reached[name]}, GOAL
        )


def _ours(site: Site, case: Case) -> float:
    return case.turn / site.seconds(case.turn, site.images(others(case.images, case.turn)))


def _theirs(pipeline: PeerPipeline, case: Case) -> float:
    return pipeline.turn(others(case.images, case.turn))


if __name__ == "__main__":
    sys.exit(run(__doc__, measure, turns=5))
