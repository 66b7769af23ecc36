"""`radiolog probe`: what a process says of itself, as an exit code."""

from enum import StrEnum
from typing import Annotated

import typer

from radiolog.cli.output import AsJson, print_json, say


class Question(StrEnum):
    """What to ask."""

    READY = "ready"
    LIVE = "live"


def probe(
    question: Annotated[Question, typer.Argument(help="Whether it can work, or whether its loop goes round.")] = (
        Question.READY
    ),
    as_json: AsJson = False,
) -> None:
    """Ask the process at RADIOLOG_PROBE_PORT; without one, every process of this state folder.

    Exit code 0 only if there is one, and all say yes: for the health checks of containers and service managers.

    Example: radiolog probe ready
    """
    from radiolog.instances import instances
    from radiolog.probes import address_of, ask
    from radiolog.settings import load_settings

    settings = load_settings()
    addresses = {instance.name: instance.probe for instance in instances(settings.state_dir)}
    if settings.probe_port:
        address = address_of(settings.probe_host, settings.probe_port)
        addresses = {address: address}
    answers = {name: ask(address, f"/{question}", settings.probe_token) for name, address in addresses.items()}
    if as_json:
        print_json([{"process": name, "status": status, "says": text} for name, (status, text) in answers.items()])
    else:
        for name, (_, text) in answers.items():
            say(f"{name}: {text}")
    if not answers:
        say("no process of this state folder runs")
    if not answers or any(status != 200 for status, _ in answers.values()):
        raise typer.Exit(1)
