"""Where PostgreSQL's unix socket lies."""

import re
import shutil
import tempfile
from pathlib import Path

from radiolog.stack.account import Account
from radiolog.stack.state import StateFolder

# sun_path holds 107 bytes, of which the socket's own name takes 16; and where a comma stands, PostgreSQL and its
# clients read a list of folders.
SUITABLE = re.compile(r"[A-Za-z0-9_/.+-]{1,90}")


class SocketFolder:
    """STATE/postgres/socket, or where that path would not do, a private temporary folder remembered in STATE."""

    def __init__(self, state: StateFolder, account: Account | None) -> None:
        self._state = state
        self._account = account
        self._usual = state.path / "postgres" / "socket"
        self._remembered = state.path / "postgres" / "socket.path"

    @property
    def path(self) -> Path:
        """The folder, as the last `ensure` left it."""
        if SUITABLE.fullmatch(str(self._usual)) or not self._remembered.exists():
            return self._usual
        return Path(self._remembered.read_text())

    def ensure(self) -> None:
        """Make the folder where it is missing; only the server's account (and root) may enter it."""
        if SUITABLE.fullmatch(str(self._usual)):
            self._state.subfolder("postgres/socket", owner=self._account)
        elif not self._is_ours(self.path):
            folder = tempfile.mkdtemp(prefix="radiolog-")
            if self._account:
                shutil.chown(folder, self._account.uid, self._account.gid)
            self._state.write_private(self._remembered, folder)

    def _is_ours(self, folder: Path) -> bool:
        """False where a clean-up of temporary files took it away, or somebody else made it since."""
        owner = self._account.uid if self._account else self._remembered.parent.stat().st_uid
        return folder != self._usual and folder.is_dir() and not folder.is_symlink() and folder.stat().st_uid == owner
