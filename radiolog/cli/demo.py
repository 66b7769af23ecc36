"""`radiolog demo`: the whole path on real DICOM, on the embedded servers."""

import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radiolog.cli.output import AsJson, print_json, say

if TYPE_CHECKING:
    from radiolog.demo.run import Show, Way
    from radiolog.settings import Settings


def demo(
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for the overlay pictures; by default in the state folder.")
    ] = None,
    keep_running: Annotated[
        bool, typer.Option("--keep-running", help="Leave the embedded servers up for a look around.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Send real DICOM files from a device to a row in PostgreSQL, and show what becomes of each.

    Brings up Kafka, the Schema Registry and PostgreSQL on this machine, starts the DICOM adapter and the stages, plays
    a device, and stops what it started. A second run finds the images known and adds no row.

    Example: radiolog demo --keep-running
    """
    from radiolog.demo import report
    from radiolog.services import alone
    from radiolog.settings import load_settings

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    _forget_site()
    started = time.monotonic()
    with alone(load_settings()), _servers(keep_running) as settings, _services(settings) as port:
        ways = _played(settings, port, pictures or settings.state_dir / "pictures", as_json)
        rows = _rows(settings)
    seconds = time.monotonic() - started
    found = report.counts(ways)
    if as_json:
        print_json(report.to_json(ways) | {"rows_in_database": rows, "seconds": round(seconds, 1)})
    else:
        _print_report(ways, rows, seconds)
    if not report.balanced(found):
        raise typer.Exit(1)


def _interrupt(*_: object) -> None:
    """Ends the demo once; what was started is then stopped without being interrupted again."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    say("stopping what was started; this takes a few seconds")
    raise KeyboardInterrupt


def _forget_site() -> None:
    """Drops the settings of a real site from the environment: samples are for the embedded servers and no others."""
    from radiolog.settings import ENVIRONMENT_PREFIX

    for name in list(os.environ):
        if name.startswith(ENVIRONMENT_PREFIX) and name != f"{ENVIRONMENT_PREFIX}STATE_DIR":
            del os.environ[name]


@contextmanager
def _servers(keep_running: bool) -> "Iterator[Settings]":
    """The embedded servers with topics and tables; those that were down before are stopped afterwards."""
    from radiolog.log.topics import apply
    from radiolog.settings import default_state_dir, load_settings
    from radiolog.stack.stack import Stack
    from schemas.registry import ConfluentRegistry
    from sinks.migrate import migrate

    stack = Stack(default_state_dir())
    were_up = all(server.pid is not None for server in stack.status())
    try:
        stack.up(say)
        settings = load_settings()
        topics = list(apply(settings, ConfluentRegistry.from_settings(settings)))
        migrate(settings.database_url.get_secret_value())
        say(f"{len(topics)} topics, their schemas, and the tables are in place")
        yield settings
    finally:
        if not were_up and not keep_running:
            say("stopping the embedded servers")
            stack.down()


@contextmanager
def _services(settings: "Settings") -> Iterator[int]:
    """The adapter and the stages, each a process of its own; gives the adapter's port."""
    from radiolog.services import services
    from radiolog.supervisor import Supervisor

    port = _free_port()
    with Supervisor(services(settings, {"RADIOLOG_DICOM_PORT": str(port)})) as supervisor:
        say("starting the DICOM adapter, preprocess, inference and sink")
        supervisor.start(threading.Event())
        for name, pid in supervisor.pids().items():
            say(f"  {name:<10} is ready, process {pid}")
        yield port


def _played(settings: "Settings", port: int, pictures: Path, quiet: bool) -> "list[Way]":
    from producers.device import Device
    from radiolog.demo.run import Demo
    from radiolog.demo.samples import samples

    device = Device("127.0.0.1", port, ae_title="DEMO-CR", called=settings.dicom_ae_title)
    with tempfile.TemporaryDirectory(prefix="radiolog-demo-") as folder, _shown(quiet) as show:
        return Demo(settings, list(samples(Path(folder))), show).run(device, pictures)


@contextmanager
def _shown(quiet: bool) -> "Iterator[Show]":
    if quiet:
        yield lambda ways: None
        return
    from rich.live import Live

    from radiolog.demo.report import live_table

    with Live(refresh_per_second=8) as live:
        yield lambda ways: live.update(live_table(ways))


def _rows(settings: "Settings") -> dict[str, int]:
    from sinks.queries import Database

    with Database(settings.database_url.get_secret_value()) as database:
        return database.counts()


def _print_report(ways: "list[Way]", rows: dict[str, int], seconds: float) -> None:
    from rich.console import Console

    from radiolog.demo import report

    console = Console()
    console.print("\n[bold]What PostgreSQL holds[/bold]", report.result_table(ways))
    console.print("\n[bold]How long it took[/bold]", report.latency_table(ways))
    console.print("\n[bold]Pictures[/bold]")
    for way in ways:
        if way.picture is not None:
            console.print(f"  {way.sample.path.name:<14}", way.picture, soft_wrap=True, highlight=False)
    found = report.counts(ways)
    verdict = "nothing is lost" if report.balanced(found) else "[red]something is lost[/red]"
    console.print(
        f"\n{found['sent']} sent = {found['rows']} rows + {found['dead letters']} dead letter(s) "
        f"+ {found['refused']} refused: {verdict}.\n"
        f"Now in the database: {rows['diagnosis']} diagnoses, {rows['dead_letter']} dead letter(s); "
        f"the same images sent again add none.\nIt took {seconds:.0f} s in all."
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
