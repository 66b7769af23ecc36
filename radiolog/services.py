"""The processes that make one site: its adapters and a stage each."""

import fcntl
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from radiolog.settings import Settings
from radiolog.stack.state import StateFolder
from radiolog.supervisor import Service

COMMANDS: Mapping[str, Sequence[str]] = {
    "adapter": ("adapter", "dicom"),
    "preprocess": ("run", "preprocess"),
    "inference": ("run", "infer"),
    "sink": ("run", "sink"),
}
STOW: Mapping[str, Sequence[str]] = {"stow": ("adapter", "stow")}
"""Runs where the site wants it."""


class AlreadyRunning(Exception):
    """Another `radiolog run all`, or a demo, runs on the same state folder."""


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Holds the state folder's lock: a second set of the same services would fence the first one's stages.

    Raises:
        AlreadyRunning: another process holds it.
    """
    StateFolder(settings.state_dir).create()
    with (settings.state_dir / "services.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(
                f"the services of {settings.state_dir} are running already, from `radiolog run all` or a demo: "
                "stop those first, or set RADIOLOG_STATE_DIR to another folder"
            ) from None
        yield


def services(settings: Settings, environment: Mapping[str, str] | None = None) -> list[Service]:
    """One service per command, each with a log file in the state folder."""
    return [
        Service(
            name,
            (sys.executable, "-m", "radiolog", *command),
            settings.state_dir / "log" / f"{name}.log",
            # A port that the settings name can be one process's only: here it is the supervisor's.
            {"RADIOLOG_STATE_DIR": str(settings.state_dir), "RADIOLOG_PROBE_PORT": "0"} | dict(environment or {}),
        )
        for name, command in {**COMMANDS, **(STOW if settings.stow_enabled else {})}.items()
    ]
