"""Whether as many instances as the formula gives are enough: a simulation of the busiest hour, a loss and an outage.

    .venv/bin/python benchmarks/hospitals.py [--hospitals 1 10 1000] [--images 30000] [--json]

For each number of hospitals `capacity.py` gives instances and partitions, and `queues.py` sends images through all
stages at the rate of the busiest hour: as it is; with an instance of each stage in turn that goes and does not come
back; and after an outage of preprocess. Seconds go from an image's coming to its row, waits included, and without what
the network and Kafka's commits take. An adapter's instances are dealt out as those of the stages are.
"""

import argparse
import json
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from capacity import hospitals
from formula import CR, HOUR, Costs, Demand, Need, drain_seconds, need
from queues import Image, Instances, arrivals, caught_up_after, percentile, waits

SEED = 7
ROOM = 3
"""Images come for so many times the outage at least."""
USUAL_SHARE = 0.9
"""A stage has caught up once an image takes no longer than nine in ten did before."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What came out, in seconds.

    Attributes:
        p50, p99: of the busiest hour.
        p99_without_one: once the partitions of the lost instance are the others', the worst stage.
        worst_without_one: the longest that an image took, which waited for the group to notice.
        caught_up: from the end of the outage until images take what they usually do.
        caught_up_predicted: the formula's.
    """

    p50: float
    p99: float
    p99_without_one: float
    worst_without_one: float
    caught_up: float
    caught_up_predicted: float


def stages_of(found: Need, costs: Costs) -> dict[str, Instances]:
    """Instances as the formula gives them."""
    return {
        name: Instances(
            count=stage.instances, seconds=costs.stages[name].seconds, variation=costs.stages[name].variation
        )
        for name, stage in found.stages.items()
    }


def simulate(demand: Demand, costs: Costs, count: int) -> Simulated:
    """Sends so many images through: as it is, without one instance of each stage, and after an outage."""
    found, draw = need(demand, costs), random.Random(SEED)  # noqa: S311 (no secret)
    count = max(count, round(ROOM * demand.per_second * demand.outage_hours * HOUR))
    stages, images = stages_of(found, costs), arrivals(demand.per_second, count, found.partitions, draw)
    usual = waits(images, stages.values(), draw)
    lost = [_without_one(images, stages, name, draw) for name in stages if name != "adapter"]
    end = demand.outage_hours * HOUR
    after = waits(images, {**stages, "preprocess": replace(stages["preprocess"], closed_until=end)}.values(), draw)
    capacity = found.stages["preprocess"].instances / costs.stages["preprocess"].seconds
    return Simulated(
        p50=percentile(usual, 0.5),
        p99=percentile(usual, 0.99),
        p99_without_one=max(percentile(took[count // 2 :], 0.99) for took in lost),
        worst_without_one=max(max(took) for took in lost),
        caught_up=caught_up_after(images, after, end, percentile(usual, USUAL_SHARE)),
        caught_up_predicted=drain_seconds(demand.per_second, end, capacity),
    )


def _without_one(
    images: Sequence[Image], stages: Mapping[str, Instances], name: str, draw: random.Random
) -> list[float]:
    lost_at = images[len(images) // 3].came
    return waits(images, {**stages, name: replace(stages[name], lost_at=lost_at)}.values(), draw)


def table(found: Mapping[int, Simulated]) -> str:
    """As Markdown has it."""
    names = {
        "p50": "p50 in the busiest hour",
        "p99": "p99 in the busiest hour",
        "p99_without_one": "p99, one instance of a stage gone",
        "worst_without_one": "the longest, an instance just gone",
        "caught_up": "caught up after an outage of an hour",
        "caught_up_predicted": "the same by the formula",
    }
    lines = [f"| seconds | {' | '.join(map(hospitals, found))} |", f"|---|{'---|' * len(found)}"]
    rows = ((text, [getattr(one, name) for one in found.values()]) for name, text in names.items())
    return "\n".join(
        lines + [f"| {text} | {' | '.join(f'{value:.3g}' for value in values)} |" for text, values in rows]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulates, and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hospitals", type=int, nargs="+", default=[1, 10, 1000])
    parser.add_argument("--images", type=int, default=30_000, help="that come in each trial, at least")
    parser.add_argument("--json", action="store_true", help="print a JSON document instead of a table")
    given = parser.parse_args(arguments)
    if given.images < 100 or min(given.hospitals) < 1:
        parser.error("at least 1 hospital and 100 images")
    found = {count: simulate(Demand(hospitals=count), CR, given.images) for count in given.hospitals}
    print(json.dumps({count: asdict(one) for count, one in found.items()}, indent=2) if given.json else table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
