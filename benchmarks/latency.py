"""How much later a row is there than its computation alone would have it: the latency that the log adds.

    .venv/bin/python benchmarks/latency.py [--json FILE] [--turns 3] [--case "CR"]

It starts servers of its own and there the stages as real processes. First the throughput is measured, with a backlog
that appears at once; then images are published at 10%, 50% and 80% of it, as they come from many devices: at moments
drawn beforehand (a Poisson process), whether earlier ones are done or not. The latency of an image goes from the moment
at which it was to be published, so that no wait is left out, to that at which the sink knows of the commit.

From it goes what the stages compute for one image, measured in one process with nothing else under way: decode,
preprocess, the network at batch 1, and the decision. What is left is added by everything else. Both use the engine that
RADIOLOG_ENGINE names.
"""

import json
import logging
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

import numpy as np
from image_events import another, chests, cr, others
from measure import Figure, Result, tell
from report import Options, run
from running_site import RunningSite, running_site

from models.bundle import load_bundle
from models.decision import interpret, screen
from models.engines import load_engine
from models.pixels import decode, to_model_input
from models.predictor import Predictor
from radiolog.demo.report import STEPS, percentiles
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.service import configure_logs
from schemas.events import ImageEvent
from schemas.topics import IMAGES
from sinks.queries import Database, DiagnosisRow

PARTITIONS = 6
PUBLISHERS = 32
REPEATS = 30


@dataclass(frozen=True, slots=True)
class Load:
    """A share of the throughput, how many images, and the greatest latency in ms that may be added, by percentile."""

    share: float
    images: int
    goals: dict[int, float]


LOADS = (Load(0.1, 60, {50: 60.0}), Load(0.5, 300, {99: 250.0}), Load(0.8, 300, {}))


class Arrivals:
    """Publishes images at moments drawn beforehand."""

    def __init__(self, site: RunningSite, images: Sequence[ImageEvent]) -> None:
        self._site = site
        self._images = images
        self._publisher = KafkaPublisher(site.site.settings, site.site.codec)

    def close(self) -> None:
        """Lets go of the log."""
        self._publisher.close()

    def publish(self, count: int, per_second: float, seed: int) -> dict[UUID, datetime]:
        """When each image was to be published, by its event's id; returns when all are."""
        draw, due, intended = random.Random(seed), datetime.now(UTC), {}  # noqa: S311 (no secret)
        with ThreadPoolExecutor(PUBLISHERS) as pool:
            for number in range(count):
                due += timedelta(seconds=draw.expovariate(per_second))
                time.sleep(max(0.0, (due - datetime.now(UTC)).total_seconds()))
                image = another(self._images[number % len(self._images)])
                intended[image.event_id] = due
                pool.submit(self._publisher.publish, [Fact(IMAGES, image)])
        return intended


class Trial:
    """One case on a running site."""

    def __init__(self, site: RunningSite, name: str, images: Sequence[ImageEvent], backlog: int) -> None:
        self._site = site
        self._name = name
        self._images = images
        self._arrivals = Arrivals(site, images)
        settings = site.site.settings
        self._database = Database(settings.database_url.get_secret_value())
        self._log = settings.state_dir / "log" / "sink-0.log"
        cache = settings.state_dir / "compiled"
        self._computed = computation(load_engine(settings.engine, load_bundle(settings.bundle), (1,), cache), images)
        site.site.seconds(backlog, site.site.images(others(images, backlog)))
        self._throughput = backlog / site.site.seconds(backlog, site.site.images(others(images, backlog)))

    def close(self) -> None:
        """Lets go of the servers."""
        self._arrivals.close()
        self._database.close()

    def figures(self, loads: Sequence[Load], turns: int) -> Iterator[Figure]:
        """What is computed, and what is added at each load."""
        tell(f"{self._name}: {self._throughput:.1f} images/s at most")
        yield Figure(f"{self._name}: computed", "ms", [self._computed])
        for load in loads:
            yield from self._at(load, turns)

    def _at(self, load: Load, turns: int) -> Iterator[Figure]:
        added: dict[int, list[float]] = {50: [], 99: []}
        steps: dict[str, list[float]] = {step: [] for step in STEPS}
        for turn in range(turns):
            latencies, rows = self._turn(load, turn)
            for percentile, values in added.items():
                values.append(float(np.percentile(latencies, percentile)) - self._computed)
            for step, ends in STEPS.items():
                steps[step].append(percentiles(rows, *ends)["p50_ms"])
        name = f"{self._name} at {load.share:.0%} load"
        for percentile, values in added.items():
            yield Figure(f"{name}: added, p{percentile}", "ms", values, load.goals.get(percentile))
        for step, values in steps.items():
            yield Figure(f"{name}: {step}, p50", "ms", values)

    def _turn(self, load: Load, seed: int) -> tuple[list[float], list[DiagnosisRow]]:
        """The latency of each image in ms, and their rows."""
        began = datetime.now(UTC)
        intended = self._arrivals.publish(load.images, load.share * self._throughput, seed)
        self._site.site.await_rows(len(intended), began)
        time.sleep(0.2)  # the last line of the sink's log
        rows, stored = self._database.diagnoses(intended), self._stored()
        waited = [(stored[row.event_id] - intended[row.image_event_id]).total_seconds() for row in rows]
        return [1000 * seconds for seconds in waited], rows

    def _stored(self) -> dict[UUID, datetime]:
        """When the sink's process knew of the commit, by the diagnosis's event id: its log says so."""
        lines = (json.loads(line) for line in self._log.read_text().splitlines() if '"stored"' in line)
        return {UUID(line["event_id"]): datetime.fromisoformat(line["timestamp"]) for line in lines}


def computation(engine: Predictor, images: Sequence[ImageEvent]) -> float:
    """Milliseconds that the stages compute for one image, one after the other; the median."""
    engine.warm_up()
    took = []
    for number in range(REPEATS):
        event, began = images[number % len(images)], time.perf_counter()
        pixels, _ = to_model_input(decode(event.payload), engine.bundle.spec)
        screen(engine.bundle, pixels, event.modality, event.body_part)
        interpret(engine.bundle, engine.predict(pixels[None]))
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def measure(options: Options) -> Iterator[Result]:
    """The figures of each case."""
    configure_logs(logging.ERROR)
    with running_site(PARTITIONS) as site:
        settings = site.site.settings
        cases = {"CR of 7.2 MB": ([cr(settings)], 48)}
        if small := chests(settings, 64):
            cases["radiographs of 224 pixels"] = small, 240
        for name, (images, backlog) in cases.items():
            if options.wanted(name):
                trial = Trial(site, name, images, backlog)
                yield from trial.figures(LOADS[:2] if options.quick else LOADS, 1 if options.quick else options.turns)
                trial.close()


if __name__ == "__main__":
    sys.exit(run(__doc__, measure, turns=3))
