"""What a number of hospitals needs: instances, partitions, brokers, disk and accelerators, from measured costs.

    .venv/bin/python benchmarks/capacity.py --hospitals 1 10 1000 [--json] [--images-per-day 500] [--accelerator 800]

The formula is in `formula.py`, and with its assumptions in docs/scaling.md.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from formula import CR, Costs, Demand, Need, StageNeed, need

REFERENCE_BYTES = 1e3
"""An event that names an object: its ids, its SHA-256 and what the header says."""


def table(needs: Mapping[int, Need]) -> str:
    """As Markdown has it."""
    lines = [f"| | {' | '.join(hospitals(count) for count in needs)} |", f"|---|{'---|' * len(needs)}"]
    return "\n".join(lines + [f"| {name} | {' | '.join(values)} |" for name, values in _rows(list(needs.values()))])


def _rows(needs: Sequence[Need]) -> list[tuple[str, list[str]]]:
    rows = [("images a second in the busiest hour", [f"{one.per_second:.3g}" for one in needs])]
    for name in needs[0].stages:
        rows.append((f"{name}: instances (cores)", [_stage(one.stages[name]) for one in needs]))
        rows.append((f"{name}: busy, with one gone", [_busy(one.stages[name]) for one in needs]))
    return [
        *rows,
        ("partitions of a topic", [str(one.partitions) for one in needs]),
        ("brokers", [str(one.brokers) for one in needs]),
        (
            "onto the log in the busiest hour, before replication",
            [f"{amount(one.log_bytes_per_second)}/s" for one in needs],
        ),
        ("disk of all brokers", [amount(one.log_disk_bytes) for one in needs]),
        ("object store", [amount(one.object_bytes) for one in needs]),
        ("PostgreSQL, growth a year", [amount(one.rows_bytes_per_year) for one in needs]),
        ("days to read a year of images again", [f"{one.replay_days:.3g}" for one in needs]),
        ("accelerators", [str(one.accelerators) for one in needs]),
    ]


def hospitals(count: int) -> str:
    """So many, in words."""
    return f"{count:,} hospital{'s' if count > 1 else ''}"


def _stage(stage: StageNeed) -> str:
    return f"{stage.instances} ({stage.cores:g})"


def _busy(stage: StageNeed) -> str:
    return f"{stage.busy:.1%}, {stage.busy_without_one:.1%}"


def amount(count: float) -> str:
    """Bytes, in the decimal unit that fits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} PB"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what is needed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    assumed = Demand()
    parser.add_argument("--hospitals", type=int, nargs="+", default=[1, 10, 1000])
    parser.add_argument("--images-per-day", type=float, default=assumed.images_per_day, help="of one hospital")
    parser.add_argument("--peak-hour-share", type=float, default=assumed.peak_hour_share)
    parser.add_argument("--image-bytes", type=float, default=CR.log_bytes["images"], help="of one image on the log")
    parser.add_argument("--by-reference", action="store_true", help="pixels go to the object store, not onto the log")
    parser.add_argument("--retention-days", type=float, default=assumed.retention_days)
    parser.add_argument("--replicas", type=int, default=assumed.replicas)
    parser.add_argument("--utilisation", type=float, default=assumed.utilisation)
    parser.add_argument("--outage-hours", type=float, default=assumed.outage_hours)
    parser.add_argument("--drain-hours", type=float, default=assumed.drain_hours)
    parser.add_argument("--accelerator", type=float, help="images that one infers a second; without it CPUs do")
    parser.add_argument("--json", action="store_true", help="print a JSON document instead of a table")
    given = parser.parse_args(arguments)
    names = {"images_per_day", "peak_hour_share", "retention_days", "replicas", "utilisation"}
    values = {name: value for name, value in vars(given).items() if name in names | {"outage_hours", "drain_hours"}}
    costs = _costs(given.image_bytes, given.by_reference, given.accelerator)
    try:
        needs = {count: need(Demand(hospitals=count, **values), costs) for count in given.hospitals}
    except ValueError as error:
        parser.error(str(error))
    if given.json:
        print(json.dumps({str(count): asdict(one) for count, one in needs.items()}, indent=2))
    else:
        print(table(needs))
        for note in dict.fromkeys(note for one in needs.values() for note in one.notes):
            print(note, file=sys.stderr)
    return 0


def _costs(image_bytes: float, by_reference: bool, accelerator: float | None) -> Costs:
    log_bytes = {**CR.log_bytes, "images": REFERENCE_BYTES if by_reference else image_bytes}
    objects = image_bytes if by_reference else 0.0
    return replace(CR, log_bytes=log_bytes, object_bytes=objects, accelerator_per_second=accelerator)


if __name__ == "__main__":
    sys.exit(main())
