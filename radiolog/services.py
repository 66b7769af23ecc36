"""The processes that make one site: the DICOM adapter and a stage each."""

import sys
from collections.abc import Mapping, Sequence

from radiolog.settings import Settings
from radiolog.supervisor import Service

COMMANDS: Mapping[str, Sequence[str]] = {
    "adapter": ("adapter", "dicom"),
    "preprocess": ("run", "preprocess"),
    "inference": ("run", "infer"),
    "sink": ("run", "sink"),
}


def services(settings: Settings, environment: Mapping[str, str] | None = None) -> list[Service]:
    """One service per command, each with a log file in the state folder."""
    return [
        Service(
            name,
            (sys.executable, "-m", "radiolog", *command),
            settings.state_dir / "log" / f"{name}.log",
            {"RADIOLOG_STATE_DIR": str(settings.state_dir)} | dict(environment or {}),
        )
        for name, command in COMMANDS.items()
    ]
