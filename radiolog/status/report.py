"""A look at a site as tables for people, and as a document for programs."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any

from radiolog.log.lag import PartitionLag
from radiolog.status.processes import READY, STUCK, Process
from radiolog.status.site import Look, Reader, Server

if TYPE_CHECKING:
    from rich.console import RenderableType

COLOURS = {READY: "green", STUCK: "red"}


def to_json(look: Look) -> dict[str, Any]:
    """The whole look; what is not known is null."""
    return {
        "at": look.at.isoformat(timespec="milliseconds"),
        "well": look.is_well,
        "servers": [asdict(server) | {"answers": server.obstacle is None} for server in look.servers],
        "stages": [_reader(reader) for reader in look.readers],
        "processes": [_process(process) for process in look.processes],
    }


def to_tables(look: Look) -> "RenderableType":
    """Three tables, one below the other."""
    from rich.console import Group

    return Group(
        _table("Servers", ("server", "address", "state"), map(_server_row, look.servers)),
        _table(
            "Stages",
            ("stage", "reads", "lag", "worst partition", "dead letters"),
            (row for reader in look.readers for row in _reader_rows(reader)),
        ),
        _table(
            f"Processes at {look.at.astimezone():%H:%M:%S}",
            ("process", "pid", "up", "state", "records", "per s", "rejected", "repeats"),
            map(_process_row, look.processes),
        ),
    )


def _reader(reader: Reader) -> dict[str, Any]:
    lag = None if reader.lags is None else sum(one.waiting for one in reader.lags)
    partitions = None if reader.lags is None else [asdict(one) for one in reader.lags]
    return {"stage": reader.name, "lag": lag, "open_dead_letters": reader.open_letters, "partitions": partitions}


def _process(process: Process) -> dict[str, Any]:
    return {
        **asdict(process.instance),
        "state": process.state,
        "obstacle": process.obstacle,
        "counters": asdict(process.counters) if process.counters else None,
        "per_second": None if process.per_second is None else round(process.per_second, 3),
    }


def _server_row(server: Server) -> tuple[object, ...]:
    return server.name, server.address, ("ok", "green") if server.obstacle is None else (server.obstacle, "red")


def _reader_rows(reader: Reader) -> Iterable[tuple[object, ...]]:
    if reader.lags is None:
        yield reader.name, None, None, None, reader.open_letters
        return
    letters: object = reader.open_letters
    for topic, group in groupby(reader.lags, lambda lag: lag.topic):
        lags = list(group)
        yield reader.name, topic, sum(lag.waiting for lag in lags), _worst(lags), letters
        letters = ""  # they are the stage's, whatever topics it reads


def _worst(lags: Sequence[PartitionLag]) -> str:
    worst = max(lags, key=lambda lag: lag.waiting)
    return f"{worst.partition}: {worst.waiting} behind" if worst.waiting else ""


def _process_row(process: Process) -> tuple[object, ...]:
    counters, instance = process.counters, process.instance
    state = process.state if process.obstacle is None else f"{process.state}: {process.obstacle}"
    up = datetime.now(UTC) - datetime.fromtimestamp(instance.process_started, UTC)
    counts: tuple[object, ...] = (None, None, None, None)
    if counters is not None:
        rate = None if process.per_second is None else f"{process.per_second:.1f}"
        counts = (counters.records, rate, counters.rejected, counters.repeated + counters.failed)
    return (
        instance.name,
        instance.pid,
        str(timedelta(seconds=max(0, int(up.total_seconds())))),
        (state, COLOURS.get(process.state, "yellow")),
        *counts,
    )


def _table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> "RenderableType":
    """A table of plain text; an absent value is a dash, and a pair is a text and its colour."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title, title_justify="left", box=SIMPLE_HEAD, header_style="bold", padding=(0, 1, 0, 0), show_edge=False
    )
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == columns[0])
    for row in rows:
        cells = [cell if isinstance(cell, tuple) else (cell, "") for cell in row]
        table.add_row(*(Text("–" if text is None else str(text), style) for text, style in cells))
    if not table.row_count:
        table.add_row(Text("none"))
    return table
