"""`radiolog stack`: the embedded servers."""

from dataclasses import asdict
from typing import Annotated

import typer

from radiolog.cli.output import AsJson, print_json, print_records, say

app = typer.Typer(help="The embedded servers: Apache Kafka, Apicurio Registry, PostgreSQL.", no_args_is_help=True)


@app.command(epilog="Example: radiolog stack up && radiolog stack status")
def up(as_json: AsJson = False) -> None:
    """Start what is not running, and wait until every server answers."""
    from radiolog.settings import default_state_dir
    from radiolog.stack.stack import Stack

    addresses = Stack(default_state_dir()).up(say)
    if as_json:
        # The database URL holds a password, and output ends up in logs: `stack.env` has it.
        print_json({name: value for name, value in asdict(addresses).items() if name != "database_url"})
    else:
        say(f"settings for every radiolog process: {default_state_dir() / 'stack.env'}")


@app.command(epilog="Example: radiolog stack down")
def down(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing on success.")] = False,
) -> None:
    """Stop what `up` started, and wait until it is gone; the data stays."""
    from radiolog.settings import default_state_dir
    from radiolog.stack.stack import Stack

    Stack(default_state_dir()).down()
    if not quiet:
        say("the embedded servers are down")


@app.command(epilog="Example: radiolog stack status --json")
def status(as_json: AsJson = False) -> None:
    """Show each server; exit code 1 unless all of them answer."""
    from radiolog.settings import default_state_dir
    from radiolog.stack.stack import Stack

    servers = Stack(default_state_dir()).status()
    print_records([asdict(server) for server in servers], as_json)
    if not all(server.ready for server in servers):
        raise typer.Exit(1)
