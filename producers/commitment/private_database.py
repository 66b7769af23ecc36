"""SQLite files that nobody else on the machine reads."""

import os
import sqlite3
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from radiolog.stack.state import StateFolder

FOLDER: Final = "commitment"
BUSY_SECONDS: Final = 10.0
_creating: Final = threading.Lock()


def folder(state_dir: Path) -> Path:
    """Where they lie: a private folder in the state folder, made on the first call.

    Raises:
        StateFolderError, OSError: the state folder can't be written.
    """
    state = StateFolder(state_dir)
    if not (state.path / FOLDER).is_dir():
        state.create()
        with suppress(FileExistsError):  # another process was quicker
            state.subfolder(FOLDER)
    return state.path / FOLDER


def opened(path: Path) -> sqlite3.Connection:
    """A connection in autocommit mode, made for one thread at a time; a new file has mode 0600.

    Raises:
        sqlite3.Error, OSError: it can't be opened.
    """
    # SQLite gives the files beside it, its log among them, the mode of the database. A file that is there is not opened
    # here: to close it would end the locks that other threads of this process have on it (fcntl(2)).
    with _creating, suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    return sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
