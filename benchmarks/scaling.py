"""Whether the formula of docs/scaling.md holds on a real site: what it predicts, and what is measured then.

    .venv/bin/python benchmarks/scaling.py [--json FILE] [--case "radiographs"] [--turns 1]

It starts servers of its own and there the stages as real processes. It calibrates with a backlog, which says what the
site does a second at most, and with a low load, which says what an image burns and how long it takes when it waits for
nobody. Then images come as from many devices (a Poisson process, whether earlier ones are done or not) at 30%, 60%, 90%
and 120% of the predicted limit, and what comes out is compared with what was predicted beforehand: cores burnt, the
lag and its growth, and the latency. Beside it stand the bytes of an image on the log and in PostgreSQL.

The predictions are the utilisation law, Little's law, and `queues.py` with the calibrated times. Whoever else works on
the machine is in the measured figures and not in the predictions.
"""

import logging
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import psutil
from formula import lag_growth
from image_events import chests, cr, others
from latency import Arrivals
from measure import Figure, Result, tell
from queues import Instances, arrivals, percentile, waits
from report import Options, run
from running_site import STAGES, RunningSite, Site, running_site

from radiolog.service import configure_logs
from schemas.events import ImageEvent
from sinks.connection import DatabaseClient

PARTITIONS = 6
SHARES = (0.3, 0.6, 0.9, 1.2)
LOW = 0.15
SECONDS, QUICK_SECONDS = 30.0, 15.0
IDLE_SECONDS = 8.0
SIMULATED = 20_000
BATCHES = {"preprocess": 8, "inference": 4, "sink": 500}
"""What the stages take at a time on two cores (`radiolog.cli.stages`, `models.engine`)."""
PUBLISHER = "publisher"
BACKLOGS = 3


@dataclass(frozen=True, slots=True)
class Load:
    """What was seen of images that came at a rate.

    Attributes:
        per_second: images that came.
        done: images a second that had their row before the last one came.
        burnt: cores of each process while they came.
        took: seconds from an image's coming to its row, in the order in which they came.
        lag: images that had come and had no row, on average while they came.
        growth: of the lag, images a second, in the second half of that time.
        others: cores that the rest of the machine had meanwhile.
    """

    per_second: float
    done: float
    burnt: Mapping[str, float]
    took: Sequence[float]
    lag: float
    growth: float
    others: float

    @property
    def cores(self) -> float:
        """Of all processes."""
        return sum(self.burnt.values())


@dataclass(frozen=True, slots=True)
class Calibration:
    """What is known beforehand.

    Attributes:
        limit: images a second, as a backlog goes through while nobody publishes.
        idle: cores of all processes when nothing comes.
        cpu_seconds: of an image at a low load, by process; the publisher is one of them.
        alone: seconds of an image that waits for nobody, the median at a low load.
        busy_seconds: of CPU of an image of a backlog, by process.
    """

    limit: float
    idle: float
    cpu_seconds: Mapping[str, float]
    alone: float
    busy_seconds: Mapping[str, float]

    @property
    def capacity(self) -> float:
        """Images a second while somebody publishes them, who needs cores as well."""
        stages = sum(self.busy_seconds.values())
        return self.limit * stages / (stages + self.cpu_seconds[PUBLISHER])

    def cores(self, per_second: float) -> float:
        """Predicted by the utilisation law; an image costs less the fuller the batches are, and they fill evenly."""
        rate = min(per_second, self.capacity)
        full = rate / self.capacity
        alone, together = sum(self.cpu_seconds.values()), sum(self.busy_seconds.values()) + self.cpu_seconds[PUBLISHER]
        return self.idle + rate * (alone + full * (together - alone))

    def stages(self) -> list[Instances]:
        """For a simulation: the stage that burns most is the one that bounds the site, the others are in proportion."""
        burnt = {stage: self.busy_seconds[f"{stage}-0"] for stage in STAGES}
        slowest = max(burnt.values())
        seconds = {stage: spent / slowest / self.capacity for stage, spent in burnt.items()}
        commit = max(0.0, (self.alone - sum(seconds.values())) / len(STAGES))
        return [
            Instances(count=1, seconds=seconds[stage], variation=0.3, batch=BATCHES[stage], commit_seconds=commit)
            for stage in STAGES
        ]

    def simulated(self, per_second: float, count: int = SIMULATED) -> list[float]:
        """Seconds of each image."""
        draw = random.Random(0)  # noqa: S311 (no secret)
        return waits(arrivals(per_second, count, PARTITIONS, draw), self.stages(), draw)


class Sizes(DatabaseClient):
    """How much the site's database holds, and its log."""

    def __init__(self, site: Site) -> None:
        super().__init__(site.settings.database_url.get_secret_value())
        self._data = site.settings.state_dir / "kafka" / "data"
        self._prefix = site.settings.topic_prefix

    def database(self) -> int:
        """Bytes."""
        return self.run(self._database())

    def topics(self) -> dict[str, int]:
        """Bytes of records of each of the site's topics; what Kafka sets aside for indexes is not counted."""
        found: dict[str, int] = {}
        for file in self._data.glob(f"{self._prefix}*/*.log"):
            topic = file.parent.name.removeprefix(self._prefix).rpartition("-")[0]
            found[topic] = found.get(topic, 0) + file.stat().st_size
        return found

    async def _database(self) -> int:
        tables = "('diagnosis'), ('finding')"
        query = f"select sum(pg_total_relation_size(name::regclass))::bigint from (values {tables}) as t(name)"  # noqa: S608
        return int(await (await self.connected()).fetchval(query))


class Trial:
    """One kind of image on a running site."""

    def __init__(
        self, site: RunningSite, name: str, images: Sequence[ImageEvent], backlog: int, seconds: float
    ) -> None:
        self._site = site
        self.name = name
        self._images = images
        self._backlog = backlog
        self._seconds = seconds
        self._arrivals = Arrivals(site, images)
        self._sizes = Sizes(site.site)

    def close(self) -> None:
        """Lets go of the servers."""
        self._arrivals.close()
        self._sizes.close()

    def results(self) -> Iterator[Result]:
        """Bytes, then what was predicted and what was measured at each load."""
        self._through(self._backlog)  # the first goes through cold stages
        yield from self._bytes()
        known = self._calibrated()
        tell(f"{self.name}: {known}")
        yield Figure(f"{self.name}: predicted limit", "images/s", [known.capacity])
        for share in SHARES:
            yield from self._compared(share, known)

    def _compared(self, share: float, known: Calibration) -> Iterator[Result]:
        rate = share * known.capacity
        seen = self._load(rate, round(rate * self._seconds), seed=round(100 * share))
        name = f"{self.name} at {share:.0%}"
        yield Figure(f"{name}: came", "images/s", [seen.per_second])
        yield Figure(f"{name}: cores, predicted", "cores", [known.cores(seen.per_second)])
        yield Figure(f"{name}: cores, measured", "cores", [seen.cores])
        yield Figure(f"{name}: done", "images/s", [seen.done])
        yield Figure(f"{name}: cores for what was done, predicted", "cores", [known.cores(seen.done)])
        yield Figure(f"{name}: cores of others", "cores", [seen.others])
        yield Figure(f"{name}: lag grows, predicted", "images/s", [lag_growth(seen.per_second, known.capacity)])
        yield Figure(f"{name}: lag grows, measured", "images/s", [seen.growth])
        if share < 1:
            foreseen = known.simulated(seen.per_second)
            yield Figure(f"{name}: lag, predicted", "images", [seen.per_second * statistics.mean(foreseen)])
            yield Figure(f"{name}: lag, measured", "images", [seen.lag])
            for percent in (50, 99):
                yield Figure(f"{name}: p{percent}, predicted", "s", [percentile(foreseen, percent / 100)])
                yield Figure(f"{name}: p{percent}, measured", "s", [percentile(seen.took, percent / 100)])

    def _bytes(self) -> Iterator[Result]:
        count, topics, rows = self._backlog, self._sizes.topics(), self._sizes.database()
        self._through(count)
        for topic, size in sorted(self._sizes.topics().items()):
            if grown := size - topics.get(topic, 0):
                yield Figure(f"{self.name}: on {topic}", "bytes an image", [grown / count])
        yield Figure(f"{self.name}: in PostgreSQL", "bytes an image", [(self._sizes.database() - rows) / count])

    def _calibrated(self) -> Calibration:
        idle, _ = self._burnt_while(lambda: time.sleep(IDLE_SECONDS))
        turns = [self._burnt_while(lambda: self._through(self._backlog)) for _ in range(BACKLOGS)]
        busy = {
            name: statistics.median(burnt[name] * seconds for burnt, seconds in turns) / self._backlog
            for name in idle
            if name != PUBLISHER
        }
        rate = self._backlog / statistics.median(seconds for _, seconds in turns)
        low = self._load(LOW * rate, round(LOW * rate * self._seconds), seed=1)
        burnt = {name: max(0.0, spent - idle[name]) / low.per_second for name, spent in low.burnt.items()}
        return Calibration(rate, sum(idle.values()), burnt, statistics.median(low.took), busy)

    def _through(self, count: int) -> float:
        return self._site.site.seconds(count, self._site.site.images(others(self._images, count)))

    def _load(self, rate: float, count: int, seed: int) -> Load:
        came: dict[UUID, datetime] = {}
        began = datetime.now(UTC)
        machine = _machine()
        burnt, seconds = self._burnt_while(lambda: came.update(self._arrivals.publish(count, rate, seed)))
        others = (_machine() - machine) / seconds - sum(burnt.values())
        self._site.site.await_rows(count, began)
        stored = self._site.site.rows.latencies(began)
        took = [(stored[str(image)] - moment).total_seconds() for image, moment in came.items()]
        moments = [moment.timestamp() for moment in came.values()]
        lags = lag_over_time(moments, [moment.timestamp() for moment in stored.values()])
        lasted = moments[-1] - moments[0]
        per_second, done = (len(moments) - 1) / lasted, (len(moments) - lags[-1][1]) / lasted
        lag = statistics.mean(waiting for _, waiting in lags)
        return Load(per_second, done, burnt, took, lag, growth(lags[len(lags) // 2 :]), max(0.0, others))

    def _burnt_while(self, work: Callable[[], object]) -> tuple[dict[str, float], float]:
        """Cores of each process meanwhile, with this one as the publisher; and how many seconds it took."""
        before, began = self._spent(), time.monotonic()
        work()
        seconds, after = time.monotonic() - began, self._spent()
        burnt = {name: (spent - before[name]) / seconds for name, spent in after.items()}
        return burnt, seconds

    def _spent(self) -> dict[str, float]:
        """CPU seconds of each so far."""
        own = psutil.Process().cpu_times()
        return self._site.burnt() | {PUBLISHER: own.user + own.system}


def _machine() -> float:
    """CPU seconds that the whole machine has spent."""
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - times.iowait)


def lag_over_time(came: Sequence[float], stored: Sequence[float], every: float = 0.25) -> list[tuple[float, int]]:
    """Moments from the first arrival to the last, and how many images had come by then and had no row."""
    moments, lags = sorted(came), []
    rows, arrived, done, moment = sorted(stored), 0, 0, moments[0]
    while moment <= moments[-1]:
        while arrived < len(moments) and moments[arrived] <= moment:
            arrived += 1
        while done < len(rows) and rows[done] <= moment:
            done += 1
        lags.append((moment, arrived - done))
        moment += every
    return lags


def growth(lags: Sequence[tuple[float, int]]) -> float:
    """The slope of the lag, images a second, by least squares."""
    return statistics.linear_regression(*zip(*lags, strict=True)).slope


def measure(options: Options) -> Iterator[Result]:
    """The figures of each case."""
    configure_logs(logging.ERROR)
    seconds = QUICK_SECONDS if options.quick else SECONDS
    with running_site(PARTITIONS) as site:
        cases = {"CR of 7.2 MB": ([cr(site.site.settings)], 48)}
        if small := chests(site.site.settings, 64):
            cases["radiographs of 224 pixels"] = small, 240
        for name, (images, backlog) in cases.items():
            if options.wanted(name):
                trial = Trial(site, name, images, backlog, seconds)
                yield from trial.results()
                trial.close()


if __name__ == "__main__":
    sys.exit(run(__doc__, measure, turns=1))
