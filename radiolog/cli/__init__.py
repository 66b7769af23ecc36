"""The command line: one command, `radiolog`, with everything it imports loaded only when it is used."""

from radiolog.cli.main import app, main

__all__ = ["app", "main"]
