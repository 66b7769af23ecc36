"""The account that PostgreSQL runs under: it refuses to run as root."""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from radiolog.stack.errors import StateFolderError

UNPRIVILEGED = "nobody"
READ, SEARCH = 4, 1


@dataclass(frozen=True)
class Account:
    """A user and its group, by number."""

    name: str
    uid: int
    gid: int

    def may(self, file: Path, need: int) -> bool:
        """Whether the mode of `file` grants `need` (a sum of `READ` and `SEARCH`) to this account."""
        entry = file.stat()
        if entry.st_uid == self.uid:
            return (stat.S_IMODE(entry.st_mode) >> 6) & need == need
        if entry.st_gid == self.gid:
            return (stat.S_IMODE(entry.st_mode) >> 3) & need == need
        return stat.S_IMODE(entry.st_mode) & need == need

    def blocking_folder(self, folder: Path) -> Path | None:
        """The topmost folder on the way to and including `folder` that this account cannot enter."""
        way = [*reversed(folder.resolve().parents), folder.resolve()]
        return next((step for step in way if not self.may(step, SEARCH)), None)

    def require_way_to(self, folder: Path) -> None:
        """Refuse a state folder inside a private one; its mode is the user's affair and stays as it is.

        Raises:
            StateFolderError: this account cannot enter it.
        """
        if blocking := self.blocking_folder(folder):
            raise StateFolderError(
                f"PostgreSQL refuses to run as root, so it runs as {self.name}, who cannot enter {blocking}: "
                "set RADIOLOG_STATE_DIR to a folder outside private ones, for example /var/lib/radiolog"
            )


def unprivileged_account() -> Account | None:
    """`nobody` where this process is root, else None: then servers run under the user's own account.

    Raises:
        StateFolderError: there is no such account on this machine.
    """
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise StateFolderError(
            f"PostgreSQL refuses to run as root and this machine has no user {UNPRIVILEGED}: run as an ordinary user"
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
