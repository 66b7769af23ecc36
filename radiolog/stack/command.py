"""A program to execute: arguments, working directory, the whole environment, the account."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from radiolog.stack.account import Account

PASSED_ON = ("PATH", "TZ", "TMPDIR")
# Java reads file names by the locale; without a UTF-8 one a folder named "études" is out of its reach.
LOCALE = {"LC_ALL": "C.UTF-8"}


@dataclass(frozen=True)
class Command:
    """One program call. Its environment is small: nothing in the user's shell changes a server."""

    arguments: Sequence[str | Path]
    directory: Path
    account: Account | None = None

    def run(self, output: int, standard_input: str = "") -> bool:
        """Execute to the end with stdout and stderr going to the file descriptor `output`; True on success.

        Raises:
            OSError: the program cannot be executed.
        """
        with self._popen(output, stdin=subprocess.PIPE, new_session=False) as child:
            try:
                child.communicate(standard_input.encode())
            except BaseException:
                child.kill()
                raise
        return child.returncode == 0

    def spawn(self, output: int) -> int:
        """Start detached from the terminal, in a session of its own; returns the process id.

        Raises:
            OSError: the program cannot be executed.
        """
        child = self._popen(output, stdin=subprocess.DEVNULL, new_session=True)
        # The program outlives this interpreter on purpose; without a return code Popen would warn about that.
        child.returncode = 0
        return child.pid

    def _popen(self, output: int, stdin: int, new_session: bool) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.arguments,
            cwd=self.directory,
            env=LOCALE | {name: os.environ[name] for name in PASSED_ON if name in os.environ},
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=new_session,
            umask=0o077,
            user=self.account.uid if self.account else None,
            group=self.account.gid if self.account else None,
            extra_groups=[] if self.account else None,
        )
