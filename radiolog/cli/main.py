"""Puts the commands together, and turns every expected failure into one readable line."""

import sys
from typing import Annotated

import typer

from radiolog.cli import (
    data,
    deadletters,
    demo,
    devices,
    evaluate,
    identify,
    log,
    models,
    objects,
    probe,
    replay,
    shortcuts,
    simulate,
    stack,
    stages,
    status,
)
from radiolog.cli.errors import explain
from radiolog.cli.output import say

app = typer.Typer(
    name="radiolog",
    help="Medical image analysis as an event stream, on the hospital's own machines.",
    epilog="Start with `radiolog demo`. Not a certified medical device: decision support for research and evaluation.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(stack.app, name="stack")
app.add_typer(log.topics, name="topics")
app.add_typer(log.database, name="database")
app.add_typer(deadletters.app, name="dlq")
app.add_typer(objects.app, name="objects")
app.add_typer(devices.app, name="adapter")
app.add_typer(data.app, name="data")
app.add_typer(stages.app, name="run")
app.command("status")(status.status)
app.command("probe")(probe.probe)
app.command("demo")(demo.demo)
app.command("publish")(devices.publish)
app.command("simulate")(simulate.simulate)
app.command("predict")(models.predict)
app.command("replay")(replay.replay)
app.command("train")(models.train)
app.command("shortcuts")(shortcuts.shortcuts)
app.command("evaluate")(evaluate.evaluate)
app.command("identify")(identify.identify)


def _version(wanted: bool) -> None:
    if wanted:
        from radiolog import __version__

        sys.stdout.write(f"radiolog {__version__}\n")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Medical image analysis as an event stream, on the hospital's own machines."""


def main() -> None:
    """The entry point: exit code 0 only on success, 130 after Ctrl-C."""
    try:
        app()
    except KeyboardInterrupt:
        say("interrupted")
        sys.exit(130)
    except Exception as error:
        if (line := explain(error)) is None:
            raise
        say(f"radiolog: {line}")
        sys.exit(1)
