"""`radiolog objects`: the store of what is too large for an event."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from radiolog.cli.output import AsJson, print_json, print_records, say

if TYPE_CHECKING:
    from radiolog.log.objects import ObjectStore
    from radiolog.log.objects.garbage import Garbage, Images, Progress

app = typer.Typer(help="The objects that are too large for an event.", no_args_is_help=True)


@app.command(epilog="Example: radiolog objects gc --dry-run --json")
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    grace: Annotated[
        float, typer.Option(min=1.0, metavar="HOURS", help="Leave alone what was put in so many hours.")
    ] = 24.0,
    as_json: AsJson = False,
) -> None:
    """Remove objects that no event on the log names any more.

    It reads all of the topic images first. If a record can't be read, or the log breaks off, it removes nothing and the
    exit code is 1. Run it with the settings of the adapters: the log and the store must belong together.
    """
    from radiolog.log.objects.garbage import find, remove

    objects, images = _store_and_images()
    before = datetime.now(UTC) - timedelta(hours=grace)
    with _progress("reading images", as_json) as progress:
        garbage = find(objects, images, before, progress)
    removed: list[int] = []
    try:
        if not dry_run:
            with _progress("removing", as_json) as progress:
                for entry in remove(objects, garbage):
                    removed.append(entry.size)
                    progress(len(removed), len(garbage.unnamed))
    finally:  # also where the store went away half-way: what is gone is known
        _print_collected(garbage, removed, dry_run, as_json)


@app.command(epilog="Example: radiolog objects check --json")
def check(as_json: AsJson = False) -> None:
    """Read every object that an event names, and hold it against its hash; exit code 1 if one is not what it was.

    What is missing or altered is printed with the place of the first event that names it: put the object back, from a
    backup or by sending it again, then `radiolog dlq retry`.
    """
    from radiolog.log.objects.audit import Condition, audit

    objects, images = _store_and_images()
    counts, bad = Counter[str](), list[dict[str, Any]]()
    with _progress("reading images and their objects", as_json) as progress:
        for found in audit(objects, images, progress):
            counts[found.condition.value] += 1
            if found.condition is not Condition.WHOLE:
                place = {"topic": found.at.topic, "partition": found.at.partition, "offset": found.at.offset}
                bad.append({"condition": found.condition.value, "object": found.sha256} | place)
    if as_json:
        print_json({condition.value: counts[condition.value] for condition in Condition} | {"bad": bad})
    else:
        print_records(bad, as_json)
        say(f"{counts[Condition.WHOLE.value]} objects are whole, {len(bad)} are not or are not known")
    if bad:
        raise typer.Exit(1)


def _store_and_images() -> "tuple[ObjectStore, Images]":
    from radiolog.log.objects import ObjectStore
    from radiolog.log.objects.garbage import Images
    from radiolog.settings import load_settings
    from schemas.registry import codec

    settings = load_settings()
    return ObjectStore.from_settings(settings), Images(settings, codec(settings))


@contextmanager
def _progress(what: str, silent: bool) -> "Iterator[Progress]":
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True, disable=silent) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _print_collected(garbage: "Garbage", removed: list[int], dry_run: bool, as_json: bool) -> None:
    unnamed_bytes = sum(entry.size for entry in garbage.unnamed)
    if as_json:
        print_json(
            {
                "dry_run": dry_run,
                "events": garbage.events,
                "named": garbage.named,
                "young": garbage.young,
                "unnamed": len(garbage.unnamed),
                "unnamed_bytes": unnamed_bytes,
                "removed": len(removed),
                "removed_bytes": sum(removed),
                "before": garbage.before.isoformat(),
                "objects": [entry.sha256.hex() for entry in garbage.unnamed],
            }
        )
        return
    say(f"{garbage.events} events read; {garbage.young} objects are too young to judge")
    say(f"of the others, events name {garbage.named} and do not name {len(garbage.unnamed)}")
    if dry_run:
        say(f"{len(garbage.unnamed)} objects of {unnamed_bytes} bytes would be removed")
    else:
        say(f"{len(removed)} of {len(garbage.unnamed)} unnamed objects removed, {sum(removed)} bytes")
