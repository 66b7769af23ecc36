"""What can go wrong with the embedded servers.

StackError
├── ArtifactError       a pinned file is missing and cannot be fetched, or is not the pinned one
├── StateFolderError    the state folder cannot be used as it is
├── PortTakenError      a remembered port belongs to another program now
└── ServerError
    ├── ServerStartError    a server ended or stayed silent while it was starting
    └── ServerStopError     a server outlived its stop
"""

from pathlib import Path


class StackError(Exception):
    """Base of the errors of `radiolog.stack`; each message says what to do next."""


class ArtifactError(StackError):
    """A pinned file is missing and cannot be fetched, or its SHA-256 is not the pinned one."""


class StateFolderError(StackError):
    """The state folder cannot be used: its path, owner or mode is in the way."""


class PortTakenError(StackError):
    """Another program listens on a port that this stack remembers as its own."""


class ServerError(StackError):
    """One server failed; `log_file` is where it says why."""

    def __init__(self, reason: str, log_file: Path, log_tail: str = "") -> None:
        self.log_file = log_file
        self.log_tail = log_tail
        ending = f"and ends:\n{log_tail}" if log_tail else "and is empty."
        super().__init__(f"{reason}. Its log is {log_file} {ending}")


class ServerStartError(ServerError):
    """The server ended, or did not become ready in time, while `up` waited for it."""


class ServerStopError(ServerError):
    """The server is still there after SIGKILL, or belongs to another user."""
