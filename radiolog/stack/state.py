"""The state folder: what the embedded servers keep, with modes that let in nobody who need not be there."""

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from radiolog.stack.account import Account
from radiolog.stack.errors import StateFolderError

PRIVATE = 0o700
# As root another account (PostgreSQL's) has to pass through; what it must not see lies in private folders.
PASSABLE = 0o755
ADVICE = "Set RADIOLOG_STATE_DIR to a folder that this user may write"


class StateFolder:
    """One folder per embedded stack. It is made on demand; a folder that exists keeps its owner and mode."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))

    @property
    def passable_mode(self) -> int:
        """Mode of a folder that PostgreSQL's account has to pass through."""
        return PASSABLE if os.geteuid() == 0 else PRIVATE

    def create(self) -> None:
        """Make the folder and those above it that are missing.

        Raises:
            StateFolderError: something else is in the way, or this user may not write there.
        """
        try:
            missing = [step for step in (self.path, *self.path.parents) if not step.exists()]
            for step in reversed(missing):
                _make_folder(step, self.passable_mode)
        except OSError as error:
            raise StateFolderError(f"cannot make the state folder {self.path}: {error.strerror}. {ADVICE}") from error
        self.require_access()

    def exists(self) -> bool:
        """Whether there is such a folder for this user.

        Raises:
            StateFolderError: it is somebody else's.
        """
        try:
            exists = self.path.exists()
        except PermissionError as error:
            raise StateFolderError(f"the state folder {self.path} is out of this user's reach. {ADVICE}") from error
        if exists:
            self.require_access()
        return exists

    def require_access(self) -> None:
        """Refuse what is no folder or somebody else's.

        Raises:
            StateFolderError: it is one of these.
        """
        if not self.path.is_dir():
            raise StateFolderError(f"the state folder {self.path} is not a folder. {ADVICE}")
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise StateFolderError(f"the state folder {self.path} belongs to another user. {ADVICE}")
        if (owner := self.path.stat().st_uid) != os.geteuid():
            # Root may write there, but what it leaves behind would lock the owner out.
            raise StateFolderError(f"the state folder {self.path} belongs to user {owner}: run as that user. {ADVICE}")

    def subfolder(self, name: str, owner: Account | None = None, passable: bool = False) -> Path:
        """A folder inside, made on the first call: private unless `passable`, given to `owner` if there is one."""
        folder = self.path / name
        if not folder.is_dir():
            _make_folder(folder, self.passable_mode if passable else PRIVATE)
        if owner is not None:
            os.chown(folder, owner.uid, owner.gid)
        return folder

    def emptied_subfolder(self, name: str) -> Path:
        """A private folder inside, without what an earlier run left there."""
        shutil.rmtree(self.path / name, ignore_errors=True)
        return self.subfolder(name)

    def write_private(self, file: Path, text: str) -> None:
        """Write a file of mode 0600 in one step: a reader sees the old text or the new, never half of it."""
        descriptor, draft = tempfile.mkstemp(prefix=f".{file.name}-", dir=file.parent)
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(text)
            os.replace(draft, file)
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise

    def secret(self, name: str) -> str:
        """64 hexadecimal digits, drawn on the first call and the same ever after."""
        file = self.path / name
        if not file.exists():
            self.write_private(file, secrets.token_hex(32))
        return file.read_text()

    @contextmanager
    def lock(self, progress: Callable[[str], None]) -> Iterator[None]:
        """Hold the folder against other commands; waits, and says so, where one holds it already."""
        descriptor = os.open(self.path / "stack.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("waiting for another command that is working on this stack")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _make_folder(folder: Path, mode: int) -> None:
    folder.mkdir(mode)
    # Again, since the umask may have taken bits away.
    folder.chmod(mode)
