"""The state folder: modes, secrets, ports and the lock."""

import multiprocessing
import os
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiolog.stack.errors import PortTakenError, StateFolderError
from radiolog.stack.ports import CANDIDATES, choose_ports, remembered_ports, require_free
from radiolog.stack.state import StateFolder


@pytest.fixture
def state(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_folder_has_its_mode_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    expected = 0o755 if os.geteuid() == 0 else 0o700
    before = os.umask(umask)
    try:
        StateFolder(tmp_path / "a" / "b").create()
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [expected, expected]


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o777])
def test_an_existing_folder_keeps_its_mode(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    state = StateFolder(tmp_path)
    state.create()
    state.subfolder("inner")
    assert tmp_path.stat().st_mode & 0o777 == mode


def _refused_as_nobody(folder: Path, verdict: Connection) -> None:
    os.setuid(65534)
    for use in (StateFolder(folder).create, StateFolder(folder).exists):
        try:
            use()
        except StateFolderError as error:
            verdict.send(str(error))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become somebody else")
@pytest.mark.parametrize("name", ["private", "private/inner"])
def test_somebody_elses_folder_is_refused(reachable_folder: Path, name: str) -> None:
    (reachable_folder / "private").mkdir(mode=0o700)
    fork = multiprocessing.get_context("fork")
    receiver, verdict = fork.Pipe(duplex=False)
    child = fork.Process(target=_refused_as_nobody, args=(reachable_folder / name, verdict))
    child.start()
    verdict.close()
    refusals = [receiver.recv(), receiver.recv()]
    child.join()
    assert all("RADIOLOG_STATE_DIR" in refusal for refusal in refusals)


def test_an_emptied_folder_is_empty(state: StateFolder) -> None:
    (state.subfolder("scratch") / "left").touch()
    assert list(state.emptied_subfolder("scratch").iterdir()) == []


def test_a_secret_is_drawn_once(state: StateFolder) -> None:
    secret = state.secret("site.secret")
    assert len(bytes.fromhex(secret)) == 32
    assert state.secret("site.secret") == secret
    assert state.secret("other.secret") != secret


def test_a_private_file_is_replaced_whole_or_not_at_all(state: StateFolder, tmp_path: Path) -> None:
    state.write_private(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        state.write_private(tmp_path / "file", "\ud800")
    assert (tmp_path / "file").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_the_lock_waits_for_the_first_holder_and_says_so(tmp_path: Path) -> None:
    order: list[str] = []
    waits = threading.Event()

    def second() -> None:
        with StateFolder(tmp_path).lock(lambda message: waits.set()):
            order.append("second")

    with StateFolder(tmp_path).lock(pytest.fail):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(20)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]


def test_ports_are_distinct_and_remembered(state: StateFolder) -> None:
    assert remembered_ports(state) is None
    ports = choose_ports(state)
    assert remembered_ports(state) == ports
    numbers = set(vars(ports).values())
    assert len(numbers) == 4
    assert all(number in CANDIDATES for number in numbers)


def test_ports_of_two_stacks_differ(tmp_path: Path) -> None:
    first, second = (choose_ports(state) for state in map(StateFolder, (tmp_path, tmp_path.parent)))
    (tmp_path.parent / "ports.json").unlink()
    assert first != second


@given(st.sampled_from(CANDIDATES))
def test_candidates_lie_below_the_ephemeral_range(port: int) -> None:
    assert 1024 < port < 32_768


def test_a_free_port_is_not_refused(state: StateFolder) -> None:
    ports = choose_ports(state)
    require_free(state, "kafka", ports.kafka)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"kafka": 1}'])
def test_damaged_ports_are_an_error(state: StateFolder, tmp_path: Path, text: str) -> None:
    (tmp_path / "ports.json").write_text(text)
    with pytest.raises(PortTakenError, match=r"ports\.json"):
        remembered_ports(state)
