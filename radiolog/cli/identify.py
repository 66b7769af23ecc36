"""`radiolog identify`: who a pseudonym stands for."""

import json
from typing import Annotated

import typer

from radiolog.cli.output import AsJson, print_json, print_table, say


def identify(
    identifier: Annotated[
        str, typer.Argument(help="A pseudonym, or a Patient ID, accession number, Study or SOP Instance UID.")
    ],
    as_json: AsJson = False,
) -> None:
    """Look a pseudonym up, or the pseudonyms of an identifier.

    Only members of the database role radiolog_identity may; exit code 1 if nothing is known.

    Example: radiolog identify MFRGGZDFMZTWQ2LK
    """
    from radiolog.settings import load_settings
    from sinks.queries import Database

    with Database(load_settings().database_url.get_secret_value()) as database:
        found = database.identify(identifier)
    if as_json:
        print_json([{"kind": r.kind, "pseudonym": r.pseudonym, "attributes": json.loads(r.attributes)} for r in found])
    elif found:
        print_table(("kind", "pseudonym", "attributes"), [(r.kind, r.pseudonym, r.attributes) for r in found])
    if not found:
        say("nothing is known by this identifier")
        raise typer.Exit(1)
