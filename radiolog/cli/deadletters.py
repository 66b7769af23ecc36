"""`radiolog dlq`: the events that a stage gave up on, and their retry."""

import heapq
import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from radiolog.cli.output import AsJson, print_json, print_records, print_table, say

if TYPE_CHECKING:
    from radiolog.log.deadletters import Case, DeadLetters, Filter, Source
    from radiolog.log.retry import Retried, Retry

app = typer.Typer(help="Dead letters: events that a stage could not process.", no_args_is_help=True)

UNITS = {"m": "minutes", "h": "hours", "d": "days"}

EventId = Annotated[UUID, typer.Argument(metavar="EVENT_ID", help="The letter's event_id, as `list` shows it.")]
Stage = Annotated[str | None, typer.Option(help="Only letters of this stage.")]
ErrorClass = Annotated[str | None, typer.Option("--class", help="Only letters of this error class.")]
Since = Annotated[
    str | None,
    typer.Option(help="Only letters since then: 90m, 24h or 7d ago, or a date or time (UTC if it names no zone)."),
]


@app.command("list", epilog="Example: radiolog dlq list --stage preprocess --since 24h --open")
def list_letters(
    stage: Stage = None,
    error_class: ErrorClass = None,
    since: Since = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only letters that wait to be retried.")] = False,
    count: Annotated[bool, typer.Option("--count", help="Count them by stage, error class and state.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Show so many, the latest first; --json has them all.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Show the dead letters, or count them.

    A letter is open, retried, or open once more because its event failed again. A sink's own letters are in its
    database, in the table dead_letter.
    """
    letters = _letters()
    found = letters.find(_filter(stage, error_class, since, only_open))
    if count:
        _print_counts(found, as_json)
    elif as_json:
        _stream_json(map(_told, found))
    else:
        _print_latest(found, limit)


@app.command(epilog="Example: radiolog dlq show 1b4e28ba-2fa1-5d3b-a3f5-ef19b5a7633b")
def show(event_id: EventId, as_json: AsJson = False) -> None:
    """Show one letter, and what the log still holds of its event: never its content.

    Exit code 1 if there is no such letter.
    """
    letters = _letters()
    if (case := letters.one(event_id)) is None:
        say(f"there is no letter {event_id}: `radiolog dlq list` shows those that there are")
        raise typer.Exit(1)
    document = _told(case) | {"record": _source_told(letters.source(case.letter))}
    if as_json:
        print_json(document)
    else:
        record = document.pop("record")
        rows = [*document.items(), *((f"record: {name}", value) for name, value in record.items())]
        print_table(("field", "value"), rows)


@app.command(epilog="Example: radiolog dlq retry --stage preprocess --class worker_died --yes")
def retry(
    event_ids: Annotated[
        list[UUID] | None, typer.Argument(metavar="[EVENT_ID]...", help="Letters, by their event_id.")
    ] = None,
    stage: Stage = None,
    error_class: ErrorClass = None,
    since: Since = None,
    yes: Annotated[bool, typer.Option("--yes", help="Retry all letters that match, without any event_id.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also those that are retried already.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put the events of letters on their topic once more, and mark the letters.

    Name letters, or retry every open one that the options match, with --yes. Exit code 1 if any of them could not be
    retried: its event is gone from the log, it is retried already, or there is no such letter.
    """
    from radiolog.log.retry import Retry
    from radiolog.service import configure_logs
    from radiolog.settings import load_settings
    from schemas.registry import codec

    wanted = _filter(stage, error_class, since, only_open=not again)
    if event_ids and (stage or error_class or since):
        raise typer.BadParameter("name letters, or say which ones by --stage, --class and --since: not both")
    if not event_ids and not yes:
        _ask_for_yes(wanted)
    configure_logs(logging.ERROR)
    settings = load_settings()
    done: list[dict[str, Any]] = []
    with Retry(settings, codec(settings)) as attempt:
        chosen = _named(attempt, event_ids) if event_ids else attempt.find(wanted)
        try:
            done.extend(_retried(attempt, one, again) for one in chosen)
        finally:  # also where the log went away half-way: what is done is known
            print_records(done, as_json)
    if not done:
        say("no letter matches")
    if any(one["outcome"] != "retried" for one in done):
        raise typer.Exit(1)


def _letters() -> "DeadLetters":
    from radiolog.log.deadletters import DeadLetters
    from radiolog.settings import load_settings
    from schemas.registry import codec

    settings = load_settings()
    return DeadLetters(settings, codec(settings))


def _filter(stage: str | None, error_class: str | None, since: str | None, only_open: bool) -> "Filter":
    from radiolog.log.deadletters import Filter

    moment = None if since is None else moment_of(since, datetime.now(UTC))
    return Filter(stage=stage, error_class=error_class, since=moment, only_open=only_open)


def moment_of(text: str, now: datetime) -> datetime:
    """The moment that a person means: so long ago, or a date or time of ISO 8601.

    Raises:
        typer.BadParameter: it is none of them.
    """
    if ago := re.fullmatch(r"(\d{1,5})([mhd])", text):
        return now - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no time: 90m, 24h, 7d, 2026-11-24 or 2026-11-24T18:00+01:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _print_counts(found: Iterable["Case"], as_json: bool) -> None:
    counted = Counter((case.letter.stage, case.letter.error_class, case.state.value) for case in found)
    columns = ("stage", "error_class", "state", "letters")
    rows = [(*group, number) for group, number in sorted(counted.items())]
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)


def _print_latest(found: Iterator["Case"], limit: int) -> None:
    """A table of the latest, with no more in memory than it shows."""
    number = 0

    def counted() -> Iterator["Case"]:
        nonlocal number
        for number, case in enumerate(found, 1):  # noqa: B007 (counted for the line below)
            yield case

    latest = heapq.nlargest(limit, counted(), key=lambda case: case.letter.failed_at)
    columns = ("event_id", "failed_at", "stage", "error_class", "reason", "state", "retried_at")
    told = [_told(case) for case in latest]
    if told:
        print_table(columns, [[letter[column] for column in columns] for letter in told])
    say(f"{number} letter(s)" if number <= limit else f"the latest {limit} of {number} letters: --limit shows more")


def _stream_json(documents: Iterable[dict[str, Any]]) -> None:
    """One JSON array, an element a line, each written as it is found."""
    separator = "[\n"
    for document in documents:
        sys.stdout.write(separator + json.dumps(document, default=str, ensure_ascii=False))
        separator = ",\n"
    sys.stdout.write("[]\n" if separator == "[\n" else "\n]\n")


def _told(case: "Case") -> dict[str, Any]:
    letter = case.letter.model_copy(update={"retried_at": case.retried_at})  # also where it has failed again since
    return letter.model_dump(mode="json") | {"state": case.state.value}


def _source_told(source: "Source | None") -> dict[str, Any]:
    if source is None:
        return {"on_the_log": False}
    return {"on_the_log": True, "size": source.size, "schema_id": source.schema_id, "trace_id": source.trace_id}


def _ask_for_yes(wanted: "Filter") -> None:
    number = sum(1 for _ in _letters().find(wanted))
    say(f"{number} letter(s) match: add --yes to retry them, or name some by their event_id; nothing was done")
    raise typer.Exit(1)


def _named(attempt: "Retry", event_ids: list[UUID]) -> Iterator["Case | UUID"]:
    """The letters with these ids, in one look at the topic; ids without a letter stay as they are."""
    missing = set(event_ids)
    for case in attempt.find():
        if case.letter.event_id in missing:
            missing.remove(case.letter.event_id)
            yield case
    yield from sorted(missing)


def _retried(attempt: "Retry", one: "Case | UUID", again: bool) -> dict[str, Any]:
    from radiolog.interrupts import interrupts_deferred

    if isinstance(one, UUID):
        return {"event_id": str(one), "outcome": "no such letter", "source": None, "retried_at": None}
    with interrupts_deferred():  # what is begun is finished: a transaction left open would hold its readers up
        done: Retried = attempt.one(one, again)
    return {
        "event_id": str(done.letter.event_id),
        "outcome": done.outcome.value,
        "source": f"{done.letter.topic}/{done.letter.partition}/{done.letter.offset}",
        "retried_at": done.letter.model_dump(mode="json")["retried_at"],
    }
