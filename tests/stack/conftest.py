"""One real stack for this folder, in a state folder that every account can enter and whose name is awkward."""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from radiolog.stack.stack import Stack, StackAddresses

Modes = dict[Path, tuple[int, int, int]]


def _reachable_folder() -> Iterator[Path]:
    # pytest's own temporary folders are private to the user, and as root PostgreSQL runs as somebody else.
    folder = Path(tempfile.mkdtemp(prefix="stack-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def reachable_folder() -> Iterator[Path]:
    yield from _reachable_folder()


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    yield from _reachable_folder()


@pytest.fixture(scope="session")
def state_dir(session_folder: Path) -> Path:
    return session_folder / "état, of 2"


@pytest.fixture(scope="session")
def folder_modes(session_folder: Path) -> Callable[[], Modes]:
    """Mode, owner and group of each folder that was there before the stack."""
    watched = {session_folder, *session_folder.parents, Path(sys.prefix), *Path(sys.prefix).parents}
    packages = Path(psutil.__file__).parents[1]
    watched |= {packages, *packages.parents, *(entry for entry in packages.iterdir() if entry.is_dir())}

    def snapshot() -> Modes:
        return {folder: (s.st_mode, s.st_uid, s.st_gid) for folder in watched if (s := os.stat(folder))}

    return snapshot


@pytest.fixture(scope="session")
def modes_before(folder_modes: Callable[[], Modes]) -> Modes:
    return folder_modes()


@pytest.fixture(scope="session")
def stack(state_dir: Path, modes_before: Modes) -> Iterator[Stack]:
    stack = Stack(state_dir)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        # Under this name PostgreSQL's socket lies outside the state folder.
        shutil.rmtree((state_dir / "postgres" / "socket.path").read_text())


@pytest.fixture(scope="session")
def addresses(stack: Stack) -> StackAddresses:
    return stack.up()


@pytest.fixture
def processes_of() -> Callable[[Path], list[psutil.Process]]:
    """Living processes that work in a folder or name it in their arguments."""

    def find(folder: Path) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cwd", "cmdline", "status"]):
            traces = [process.info["cwd"] or "", *(process.info["cmdline"] or [])]
            if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(folder) in trace for trace in traces):
                found.append(process)
        return found

    return find
