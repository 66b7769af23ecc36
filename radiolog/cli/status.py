"""`radiolog status`: how a site is."""

import json
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from radiolog.cli.output import AsJson, print_json, say

if TYPE_CHECKING:
    from radiolog.status.site import Look, Site


def status(
    as_json: AsJson = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on until Ctrl-C; with --json, a line a look.")
    ] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks of --watch.")] = 2.0,
) -> None:
    """Show servers, the lag of each stage, and the processes of this state folder with their rates and errors.

    Exit code 1 unless every server answers and every process that runs is ready.

    Example: radiolog status --watch
    """
    from radiolog.settings import load_settings
    from radiolog.status.site import Site

    with Site(load_settings()) as site:
        if watch:
            _watch(site, every, as_json)
        look = site.look()
        if as_json:
            from radiolog.status.report import to_json

            print_json(to_json(look))
        else:
            _print(look)
    if down := [server.name for server in look.servers if server.obstacle is not None]:
        say(f"radiolog: {', '.join(down)}: not as it should be. `radiolog stack up` starts the embedded servers.")
    if not look.is_well:
        raise typer.Exit(1)


def _watch(site: "Site", every: float, as_json: bool) -> None:
    """Shows look after look; only an interrupt ends it."""
    from rich.console import Console
    from rich.live import Live

    from radiolog.status.report import to_json, to_tables

    if as_json:
        for look in _looks(site, every):
            sys.stdout.write(json.dumps(to_json(look), ensure_ascii=False) + "\n")
            sys.stdout.flush()
    elif not (console := Console()).is_terminal:
        for look in _looks(site, every):
            console.print(to_tables(look))
    else:
        with Live(console=console, auto_refresh=False) as live:
            for look in _looks(site, every):
                live.update(to_tables(look), refresh=True)


def _looks(site: "Site", every: float) -> "Iterator[Look]":
    pause = threading.Event()
    while True:
        yield site.look()
        pause.wait(every)


def _print(look: "Look") -> None:
    from rich.console import Console

    from radiolog.status.report import to_tables

    Console().print(to_tables(look))
