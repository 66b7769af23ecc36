"""`radiolog topics` and `radiolog database`: the log's topics and schemas, the database's tables."""

from dataclasses import asdict

import typer

from radiolog.cli.output import AsJson, print_json, print_records, say

topics = typer.Typer(help="The log's topics and schemas.", no_args_is_help=True)
database = typer.Typer(help="The database's tables.", no_args_is_help=True)


@topics.callback()
def _topics() -> None:
    """The log's topics and schemas."""


@database.callback()
def _database() -> None:
    """The database's tables."""


@topics.command(epilog="Example: radiolog topics apply --json")
def apply(as_json: AsJson = False) -> None:
    """Create topics and register schemas where they are missing; idempotent."""
    from radiolog.log.topics import apply as apply_topics
    from radiolog.settings import load_settings
    from schemas.registry import ConfluentRegistry

    settings = load_settings()
    applied = list(apply_topics(settings, ConfluentRegistry.from_settings(settings)))
    print_records([asdict(topic) for topic in applied], as_json)


@database.command(epilog="Example: radiolog database migrate")
def migrate(as_json: AsJson = False) -> None:
    """Bring the tables up to date; idempotent."""
    from radiolog.settings import load_settings
    from sinks.migrate import migrate as migrate_database

    applied = migrate_database(load_settings().database_url.get_secret_value())
    if as_json:
        print_json({"applied": applied})
    else:
        say(f"applied {', '.join(applied)}" if applied else "the tables are up to date")
