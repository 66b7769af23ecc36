"""The formula of docs/scaling.md: what a demand needs, from the measured costs of an image.

With λ images a second in the busiest hour, and a stage whose instance takes s seconds an image:

- an instance is busy for the share λs/c of the time, if c of them share the load (utilisation law);
- of these c, one may be gone, and the others are to stay at or below the target utilisation;
- after an outage of T hours they are to be done with what waited within D hours, while images keep coming:
  c/s ≥ λ(1 + T/D);
- a partition is one instance's at a time, so an image waits in the queue of its instance, not in one for all: M/G/1,
  Pollaczek and Khinchine's mean. What waits is λ times how long it waits (Little's law).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

DAY, HOUR = 86_400.0, 3_600.0
MOST_PARTITIONS = 1000
"""What `RADIOLOG_PARTITIONS` takes at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What comes, and what is asked for. Every default is an assumption, to be replaced by figures of one's own.

    Attributes:
        images_per_day: of one hospital.
        peak_hour_share: of a day's images, those of the busiest hour; all hospitals have it at the same time.
        retention_days: how long images are kept on the log.
        replicas: of each partition.
        utilisation: the share of the time that an instance may be busy in the busiest hour.
        outage_hours: how long a stage may have been away, in the busiest hours.
        drain_hours: within which it has to be done with what waited.
        partitions_per_instance: so that partitions share evenly, and there is room to grow.
    """

    hospitals: int = 1
    images_per_day: float = 500.0
    peak_hour_share: float = 0.12
    retention_days: float = 365.0
    replicas: int = 3
    utilisation: float = 0.6
    outage_hours: float = 1.0
    drain_hours: float = 2.0
    partitions_per_instance: int = 4

    @property
    def per_day(self) -> float:
        """Images of all hospitals."""
        return self.hospitals * self.images_per_day

    @property
    def per_second(self) -> float:
        """Images in the busiest hour, λ."""
        return self.per_day * self.peak_hour_share / HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage, as it was measured.

    Attributes:
        cpu_seconds: of one image, with all processes that the instance has started.
        cores: that an instance is given.
        efficiency: the share of these cores that it has work for when there is a backlog; the rest is waiting.
        variation: standard deviation of the time an image takes, over its mean.
    """

    cpu_seconds: float
    cores: float = 1.0
    efficiency: float = 0.85
    variation: float = 1.0

    @property
    def seconds(self) -> float:
        """Of one instance for one image while there is a backlog, s."""
        return self.cpu_seconds / (self.cores * self.efficiency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """One broker: what it is measured to burn, and what it is assumed to hold."""

    cpu_seconds: float
    cores: float = 4.0
    bytes_per_second: float = 100e6
    disk_bytes: float = 20e12
    disk_fill: float = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What one image costs.

    Attributes:
        log_bytes: on the log by topic, before replication.
        object_bytes: in the object store, where it is too large for an event.
        row_bytes: in PostgreSQL, with indexes.
        accelerator_per_second: images that an accelerator infers a second; None where CPUs do.
    """

    stages: Mapping[str, Stage]
    broker: Broker
    log_bytes: Mapping[str, float]
    row_bytes: float
    object_bytes: float = 0.0
    accelerator_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class StageNeed:
    """What a stage needs, and how it then fares in the busiest hour.

    Attributes:
        instances: with one that may be gone.
        cores: of all of them.
        busy: utilisation of the busiest instance, which has most partitions.
        busy_without_one: the same, one instance gone.
        waits_seconds: mean wait in front of the stage.
        lag: images that wait or are worked on, on average.
        drain_hours: to be done with an outage.
    """

    instances: int
    cores: float
    busy: float
    busy_without_one: float
    waits_seconds: float
    lag: float
    drain_hours: float


@dataclass(frozen=True, slots=True)
class Need:
    """What all of it needs; `replay_days` is what reading a year of images again takes, beside the usual load."""

    per_second: float
    stages: Mapping[str, StageNeed]
    partitions: int
    brokers: int
    log_bytes_per_second: float
    log_disk_bytes: float
    object_bytes: float
    rows_bytes_per_year: float
    accelerators: int
    replay_days: float
    notes: Sequence[str] = field(default_factory=tuple)


CR = Costs(
    stages={
        "adapter": Stage(cpu_seconds=0.0255, cores=2),
        "preprocess": Stage(cpu_seconds=0.022, cores=2),
        "inference": Stage(cpu_seconds=0.0165, cores=2),
        "sink": Stage(cpu_seconds=0.0003),
    },
    broker=Broker(cpu_seconds=0.007),
    log_bytes={"images": 7.2e6, "preprocessed": 51e3, "diagnoses": 6.3e3, "identities": 600.0},
    row_bytes=5.9e3,
)
"""A radiograph of 7.2 MB with the bundle that the package ships (docs/scaling.md says where each figure is from)."""


def need(demand: Demand, costs: Costs) -> Need:
    """What the demand needs.

    Raises:
        ValueError: a figure of the demand makes no sense.
    """
    _check(demand)
    measured = _with_accelerator(costs)
    counts = {name: instances(demand, stage) for name, stage in measured.items()}
    partitions = partitions_for(demand, [count for name, count in counts.items() if name != "adapter"])
    stages = {name: stage_need(demand, stage, counts[name], partitions) for name, stage in measured.items()}
    per_image = sum(costs.log_bytes.values())
    kept = demand.per_day * demand.retention_days
    disk = kept * per_image * demand.replicas / costs.broker.disk_fill
    return Need(
        per_second=demand.per_second,
        stages=stages,
        partitions=partitions,
        brokers=brokers(demand, costs, disk),
        log_bytes_per_second=demand.per_second * per_image,
        log_disk_bytes=disk,
        object_bytes=kept * costs.object_bytes,
        rows_bytes_per_year=demand.per_day * 365 * costs.row_bytes,
        accelerators=counts["inference"] if costs.accelerator_per_second else 0,
        replay_days=replay_days(demand, measured, counts),
        notes=_notes(stages, partitions),
    )


def instances(demand: Demand, stage: Stage) -> int:
    """How many: enough in the busiest hour and after an outage, and one more."""
    steady = demand.per_second * stage.seconds / demand.utilisation
    catch_up = demand.per_second * stage.seconds * (1 + demand.outage_hours / demand.drain_hours)
    return max(1, math.ceil(round(max(steady, catch_up), 9))) + 1


def partitions_for(demand: Demand, counts: Sequence[int]) -> int:
    """Of each topic: some for each instance of the largest stage, in sixes, which 2 and 3 instances share evenly."""
    return 6 * math.ceil(max(counts) * demand.partitions_per_instance / 6)


def stage_need(demand: Demand, stage: Stage, count: int, partitions: int) -> StageNeed:
    """How so many instances fare."""
    rate, busy = demand.per_second, busiest(demand.per_second, stage, count, partitions)
    waits = mean_wait(busy, stage)
    return StageNeed(
        instances=count,
        cores=count * stage.cores,
        busy=busy,
        busy_without_one=busiest(rate, stage, count - 1, partitions),
        waits_seconds=waits,
        lag=rate * (waits + stage.seconds),
        drain_hours=drain_seconds(rate, demand.outage_hours * HOUR, count / stage.seconds) / HOUR,
    )


def busiest(rate: float, stage: Stage, count: int, partitions: int) -> float:
    """Utilisation of the instance that has most partitions."""
    return rate * stage.seconds * math.ceil(partitions / count) / partitions


def mean_wait(busy: float, stage: Stage) -> float:
    """Seconds in the queue of an instance, M/G/1 (Pollaczek and Khinchine); infinite where it is not stable."""
    if busy >= 1:
        return math.inf
    return busy * stage.seconds * (1 + stage.variation**2) / (2 * (1 - busy))


def drain_seconds(rate: float, outage_seconds: float, capacity: float) -> float:
    """From the end of an outage until nothing waits that came in it, while as much comes as ever."""
    return rate * outage_seconds / (capacity - rate) if capacity > rate else math.inf


def replay_days(demand: Demand, stages: Mapping[str, Stage], counts: Mapping[str, int]) -> float:
    """Days in which the stages read a year of images again, with what the mean load of a day leaves of them."""
    least = min(counts[name] / stage.seconds for name, stage in stages.items() if name != "adapter")
    return 365 * demand.per_day / (least - demand.per_day / DAY) / DAY


def lag_threshold(stage: Stage, seconds: float) -> int:
    """Records for each instance from which one more is wanted: what an instance does in so many seconds."""
    return round(seconds / stage.seconds)


def lag_growth(rate: float, capacity: float) -> float:
    """Images a second by which the lag grows."""
    return max(0.0, rate - capacity)


def brokers(demand: Demand, costs: Costs, disk: float) -> int:
    """As many as bytes, CPU or disk ask for, with one that may be gone; never fewer than replicas."""
    broker, copies = costs.broker, demand.replicas
    written = demand.per_second * sum(costs.log_bytes.values()) * copies
    cpu = demand.per_second * broker.cpu_seconds * copies
    running = max(written / broker.bytes_per_second, cpu / broker.cores) / demand.utilisation
    return max(copies, math.ceil(running) + 1, math.ceil(disk / broker.disk_bytes))


def _with_accelerator(costs: Costs) -> Mapping[str, Stage]:
    if costs.accelerator_per_second is None:
        return costs.stages
    inference = costs.stages["inference"]
    seconds = inference.cores * inference.efficiency / costs.accelerator_per_second
    return {**costs.stages, "inference": replace(inference, cpu_seconds=seconds)}


def _check(demand: Demand) -> None:
    if min(demand.hospitals, demand.images_per_day, demand.drain_hours) <= 0:
        raise ValueError("hospitals, images a day and hours to drain must be above 0")
    if not 0 < demand.utilisation < 1 or not 0 < demand.peak_hour_share <= 1:
        raise ValueError("the utilisation must be between 0 and 1, and the busiest hour's share above 0 and at most 1")
    if demand.replicas < 1 or demand.partitions_per_instance < 1:
        raise ValueError("there is at least one replica, and one partition for each instance")


def _notes(stages: Mapping[str, StageNeed], partitions: int) -> Sequence[str]:
    notes = []
    if partitions > MOST_PARTITIONS:
        notes.append(f"{partitions} partitions are more than one log takes: split the hospitals among several")
    notes += [f"{name} does not keep up with one instance gone" for name, one in stages.items() if _falls_behind(one)]
    return tuple(notes)


def _falls_behind(stage: StageNeed) -> bool:
    return stage.busy_without_one >= 1
