"""What a unit of work costs as something grows: events, the size of images, partitions, instances, the log to replay.

    .venv/bin/python benchmarks/growth.py [--json FILE] [--turns 3] [--case "events"]

It starts servers of its own. Every size of a case has processes and topics of its own, so that its memory is its own,
too, and the sizes take turns. A backlog appears all at once, in one transaction, and the time is that from this moment
to the end of the stage's last transaction, by the real loop (`radiolog.log.runtime.StageMember`).

- events, partitions, instances: a stage that does no work but emits one record for each event, both of 1 kB, so that
  what is measured is the log's cost and the loop's. Instances share a backlog, and the cores of the machine.
- image: `PreprocessStage` on a radiograph of that many megabytes as the intake publishes it, so that larger ones come
  through the object store. The cost is that of a megabyte.
- replay: `radiolog.log.replay`, of all events of a topic, and of its last hundred by their time, however many there are
  before them.

Growth is the cost at the greatest size against the cheapest of the others: at most 1 is linear or better, and the goal
leaves something to the noise of the machine. Memory is the peak of one process.
"""

import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from exactly_once import image
from growing import RECORD_BYTES, Instances, Replay, equipped
from image_events import of_file, others
from measure import Curve, Result, take_turns, tell
from own_servers import own_servers
from radiographs import enlarged
from report import Options, run

from radiolog.service import configure_logs
from radiolog.settings import Settings
from schemas.events import ImageEvent

GOAL = 1.3
FLAT = 1.5
"""Room for the buffers of Kafka's client, some 40 MB, which few events do not fill; 100,000 events would take more."""
LAST = 100
LENGTHS = (100, 1_000, 10_000, 100_000)
MANY = 10_000
PARTITIONS = 6


@dataclass(frozen=True, slots=True)
class Size:
    """One size of a case.

    Attributes:
        size: of what grows.
        events: of a turn.
        units: of work in a turn, by which its time is divided.
        partitions: of the topics.
        instances: of the stage.
    """

    size: float
    events: int
    units: float
    partitions: int = PARTITIONS
    instances: int = 1


@dataclass(frozen=True, slots=True)
class Case:
    """A stage, and sizes in ascending order.

    Attributes:
        name: of the case.
        over: what grows, in its unit.
        sizes: at least two.
        decodes: whether the stage is PreprocessStage, and sizes are those of images in MB.
    """

    name: str
    over: str
    sizes: Sequence[Size]
    decodes: bool = False

    @property
    def unit(self) -> tuple[str, float]:
        """Of the cost, and how many of it make a second for one unit of work."""
        return ("ms/MB", 1e3) if self.decodes else ("µs/event", 1e6)


IMAGES_OF_A_TURN = {0.1: 100, 1: 40, 7: 16, 20: 8, 50: 4}
CASES = (
    Case("events", "events", [Size(count, count, count) for count in LENGTHS]),
    Case("image", "MB", [Size(mb, n, mb * n) for mb, n in IMAGES_OF_A_TURN.items()], decodes=True),
    Case("partitions", "partitions", [Size(n, MANY, MANY, partitions=n) for n in (1, 2, 6, 12, 24)]),
    Case("instances", "instances", [Size(n, MANY, MANY, partitions=12, instances=n) for n in (1, 2, 3, 4)]),
)


def measure(options: Options) -> Iterator[Result]:
    """The curves of each case: time, and memory."""
    configure_logs(logging.ERROR)
    with own_servers(PARTITIONS) as settings:
        for case in filter(lambda case: options.wanted(case.name), CASES):
            tell(f"{case.name} ...")
            yield from stage_curves(settings, case, options)
        if options.wanted("replay"):
            tell("replay ...")
            yield from replay_curves(settings, options)


def stage_curves(settings: Settings, case: Case, options: Options) -> Iterator[Curve]:
    """What a stage costs at each size."""
    sizes = case.sizes[:-1] if options.quick else case.sizes
    unit, factor = case.unit
    with ExitStack() as stack:
        all_instances = {size: stack.enter_context(closing(_instances(settings, case, size))) for size in sizes}
        turns = {str(size.size): partial(instances.seconds, size.events) for size, instances in all_instances.items()}
        reached = take_turns(turns, options.turns)
        costs = {size.size: [factor * took / size.units for took in reached[str(size.size)]] for size in sizes}
        yield Curve(case.name, unit, case.over, costs, GOAL)
        peaks = {size.size: [instances.peak] for size, instances in all_instances.items()}
        yield Curve(f"{case.name}: memory", "MB", case.over, peaks, None if case.decodes else FLAT)


def _instances(settings: Settings, case: Case, size: Size) -> Instances:
    own = equipped(settings, f"{case.name}-{size.size:g}", size.partitions)
    return Instances(own, case.decodes, size.instances, _images(own, case, size))


def _images(settings: Settings, case: Case, size: Size) -> list[ImageEvent]:
    """Some, so that they spread over all partitions."""
    if not case.decodes:
        return [image(number, b"\x55" * RECORD_BYTES) for number in range(1_000)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "radiograph.dcm"
        path.write_bytes(enlarged(size.size))
        return others([of_file(settings, path)], size.events)


def replay_curves(settings: Settings, options: Options) -> Iterator[Curve]:
    """What it costs to read a topic again, and the last events of it."""
    with ExitStack() as stack:
        replays = {
            length: stack.enter_context(closing(_replay(settings, length)))
            for length in (LENGTHS[:-1] if options.quick else LENGTHS)
        }
        reached = take_turns({str(length): replay.all for length, replay in replays.items()}, options.turns)
        costs = {length: [1e6 * took / length for took in reached[str(length)]] for length in replays}
        yield Curve("replay", "µs/event", "events", costs, GOAL)
        peaks = {length: [replay.peak] for length, replay in replays.items()}
        yield Curve("replay: memory", "MB", "events", peaks, FLAT)
        reached = take_turns({str(length): replay.slice for length, replay in replays.items()}, options.turns)
        costs = {length: [1e3 * took for took in reached[str(length)]] for length in replays}
        yield Curve(f"replay of the last {LAST}", "ms", "events on the log", costs, GOAL)


def _replay(settings: Settings, length: int) -> Replay:
    own = equipped(settings, f"replay-{length}", PARTITIONS)
    return Replay(own, length, LAST, image(0, b"\x55" * RECORD_BYTES))


if __name__ == "__main__":
    sys.exit(run(__doc__, measure, turns=3))
