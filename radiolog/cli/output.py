"""What commands print: tables and lines for people, one JSON document for programs."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def print_json(document: object) -> None:
    """Prints the document to standard output; what JSON lacks is written as text."""
    sys.stdout.write(json.dumps(document, indent=2, default=str, ensure_ascii=False) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table to standard output; an absent value is a dash."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # As plain text: what a device or a file name brings is neither markup nor a terminal's control code.
        table.add_row(*(Text("–" if cell is None else str(cell)) for cell in row))
    Console().print(table)


def print_records(records: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Prints records of the same keys, as JSON or as a table."""
    if as_json:
        print_json(records)
    elif records:
        print_table(list(records[0]), [list(record.values()) for record in records])


def say(line: str) -> None:
    """A line for people, on standard error, so that standard output holds results only."""
    sys.stderr.write(line + "\n")
