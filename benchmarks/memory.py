"""Whether the memory of a stage stays flat: `radiolog run preprocess` over 5,000 radiographs of 7 MB.

    .venv/bin/python benchmarks/memory.py [--json FILE] [--events 5000] [--distinct 500]

It starts servers of its own and the real command as a process of its own. 500 events, each one radiograph under an id
of its own (RG1_UNCR.dcm, 7.2 MB, de-identified by the real intake), are put on the log ten times over, no further ahead
of the stage than the log keeps: the topic is bounded by `retention.bytes`, so the disk holds a few GB at any time.

Once a second, the resident memory of the stage's process is sampled, and apart from it that of its children, which
decode. The figure is the mean of the last quarter of the samples against that of the second; the first quarter is the
time in which buffers grow to their size. Goal: within 5%.
"""

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psutil
from confluent_kafka import Consumer, TopicPartition
from image_events import another, cr
from own_servers import admin_of, create, own_servers, surroundings

from radiolog.log.clients import base_config
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.log.replay import pin
from radiolog.service import configure_logs
from radiolog.settings import Settings
from schemas.codec import schema_text
from schemas.events import ImageEvent
from schemas.registry import ConfluentRegistry, codec
from schemas.topics import DEAD_LETTERS, IMAGES, PREPROCESSED, TOPICS

PARTITIONS = 4
RETENTION_BYTES = 1 << 30
AHEAD = 60
"""Events that the feeder may be ahead of the stage: less than one partition keeps, should all be of one."""
WIDTH = 72
BARS = "▁▂▃▄▅▆▇█"
GOAL = 0.05


@dataclass(slots=True)
class Samples:
    """Resident memory in bytes, once a second."""

    stage: list[int] = field(default_factory=list)
    children: list[int] = field(default_factory=list)

    def take(self, process: psutil.Process) -> None:
        """One more."""
        self.stage.append(process.memory_info().rss)
        total = 0
        for child in process.children(recursive=True):
            try:
                total += child.memory_info().rss
            except psutil.NoSuchProcess:  # a decode process is replaced now and then
                continue
        self.children.append(total)


class Progress:
    """How many events the stage has committed."""

    def __init__(self, settings: Settings) -> None:
        self._consumer = Consumer(base_config(settings) | {"group.id": f"{settings.app}-preprocess"})
        name = IMAGES.full_name(settings.topic_prefix)
        self._partitions = [TopicPartition(name, number) for number in range(settings.partitions)]

    def committed(self) -> int:
        """As the group has it: the topic is written without transactions, so that offsets count events."""
        return sum(max(0, partition.offset) for partition in self._consumer.committed(self._partitions, 30))


class Feeder(threading.Thread):
    """Puts the events on the log, never far ahead of the stage."""

    def __init__(self, settings: Settings, image: ImageEvent, events: int, distinct: int) -> None:
        super().__init__(name="feeder", daemon=True)
        self._settings = settings
        self._image = image
        self._events = events
        self._distinct = distinct
        self.done = 0
        self.room = threading.Semaphore(AHEAD)

    def run(self) -> None:
        """Until all are there."""
        with KafkaPublisher(self._settings, codec(self._settings)) as publisher:
            for number in range(self._events):
                self.room.acquire()
                publisher.publish([Fact(IMAGES, another(self._image, number % self._distinct))])
                self.done += 1


def prepare(settings: Settings) -> None:
    """Topics and schemas, `images` bounded."""
    admin, registry = admin_of(settings), ConfluentRegistry.from_settings(settings)
    for topic in TOPICS:
        bound = {"retention.bytes": str(RETENTION_BYTES)} if topic is IMAGES else {}
        create(admin, topic, settings, **bound)
        registry.register(f"{topic.full_name(settings.topic_prefix)}-value", schema_text(topic.schema))


@contextmanager
def preprocess(settings: Settings, log_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The real command, on these servers."""
    environment = {"RADIOLOG_STATE_DIR": str(settings.state_dir), "RADIOLOG_TOPIC_PREFIX": settings.topic_prefix}
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RADIOLOG_")}
    with log_file.open("wb") as output:
        command = [sys.executable, "-m", "radiolog", "run", "preprocess"]
        process = subprocess.Popen(command, env=kept | environment, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)


def measure(settings: Settings, events: int, distinct: int) -> tuple[Samples, float]:
    """Samples from the first committed event to the last, and the seconds in between."""
    prepare(settings)
    feeder, progress, samples = Feeder(settings, cr(settings), events, distinct), Progress(settings), Samples()
    log_file = settings.state_dir / "preprocess.log"
    began, committed, told = 0.0, 0, 0
    with preprocess(settings, log_file) as process:
        feeder.start()
        while committed < events:
            time.sleep(1.0)
            if process.poll() is not None or not (feeder.is_alive() or feeder.done == events):
                raise RuntimeError(f"the stage or the feeder ended: {log_file.read_text()[-2000:]}")
            before, committed = committed, progress.committed()
            if committed > before:
                feeder.room.release(committed - before)
            if committed:
                began = began or time.monotonic()
                samples.take(psutil.Process(process.pid))
            if committed - told >= 250:
                told = committed
                print(f"{committed} events, {samples.stage[-1] / 1e6:.0f} MB", file=sys.stderr, flush=True)
        took = time.monotonic() - began
    letters, results = pin(settings, DEAD_LETTERS).end, pin(settings, PREPROCESSED).end
    if sum(letters.values()) or sum(results.values()) < events:
        raise RuntimeError(f"not every event gave a result: {letters} letters, {results} results")
    return samples, took


def quarters(values: Sequence[int]) -> list[float]:
    """The mean of each quarter, in MB."""
    bounds = [len(values) * quarter // 4 for quarter in range(5)]
    return [statistics.mean(values[a:b]) / 1e6 for a, b in pairwise(bounds)]


def sparkline(values: Sequence[int]) -> str:
    """The values over time, from 0 to the greatest."""
    width = min(WIDTH, len(values))
    bounds = [len(values) * column // width for column in range(width + 1)]
    means = [statistics.mean(values[a:b]) for a, b in pairwise(bounds)]
    return "".join(BARS[min(len(BARS) - 1, int(len(BARS) * mean / max(means)))] for mean in means)


def main() -> int:
    """Prints the figure and the picture; exit code 1 if the memory is not flat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=5000)
    parser.add_argument("--distinct", type=int, default=500)
    parser.add_argument(
        "--json", metavar="FILE", help="write everything that was measured there, - for standard output"
    )
    arguments = parser.parse_args()
    configure_logs(logging.ERROR)
    around = surroundings()
    with own_servers(PARTITIONS) as settings:
        samples, took = measure(settings, arguments.events, arguments.distinct)
    stage, children = quarters(samples.stage), quarters(samples.children)
    change = stage[3] / stage[1] - 1
    document = {
        "surroundings": around,
        "events": arguments.events,
        "seconds": took,
        "last quarter against second": change,
        "quarters, MB": {"stage": stage, "children": children},
        "greatest, MB": {"stage": max(samples.stage) / 1e6, "children": max(samples.children) / 1e6},
        "samples": {"stage": samples.stage, "children": samples.children},
    }
    if arguments.json == "-":
        print(json.dumps(document))
    else:
        print(", ".join(f"{name} {value}" for name, value in around.items()))
        print(f"{arguments.events} events in {took:.0f} s, {arguments.events / took:.1f} a second")
        for name, values in (("stage", samples.stage), ("children", samples.children)):
            means = ", ".join(f"{mean:.0f}" for mean in quarters(values))
            print(f"{name:<9} quarters {means} MB, greatest {max(values) / 1e6:.0f} MB\n  {sparkline(values)}")
        print(f"the last quarter against the second: {change:+.1%}")
        if arguments.json:
            Path(arguments.json).write_text(json.dumps(document))
    return int(abs(change) > GOAL)


if __name__ == "__main__":
    sys.exit(main())
