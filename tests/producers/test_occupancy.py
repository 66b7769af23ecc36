import os
import subprocess
import sys

import pytest

from producers.occupancy import SPARE_CONNECTIONS, Limits, Occupancy, shared_file

LIMITS = Limits(acceptors=3, associations=4, of_peer=2)


@pytest.fixture
def table():
    with shared_file(LIMITS) as file:
        yield file


@pytest.fixture
def first(table) -> Occupancy:
    return Occupancy(table, LIMITS, 0)


@pytest.fixture
def second(table) -> Occupancy:
    return Occupancy(table, LIMITS, 1)


def entered(occupancy: Occupancy, address: str) -> int:
    place = occupancy.enter(address)
    assert place is not None
    return place


def test_all_acceptors_together_have_so_many_associations(first, second):
    places = [(one, entered(one, f"10.0.0.{number}")) for number, one in enumerate((first, second) * 3)]
    admitted = [one.admit(place, f"CT_{number}") for number, (one, place) in enumerate(places)]
    assert admitted == [True] * 4 + [False] * 2
    first.leave(places[0][1])
    assert second.admit(places[5][1], "CT_5")


def test_one_calling_title_does_not_take_all_wherever_it_calls_from(first, second):
    admitted = [one.admit(entered(one, f"10.0.0.{n}"), "CT_1") for n, one in enumerate((first, second, first))]
    assert admitted == [True, True, False]
    assert second.admit(entered(second, "10.0.0.9"), "CT_2")


def test_one_address_does_not_take_all_under_whatever_titles(first, second):
    admitted = [one.admit(entered(one, "fe80::1%eth0"), f"CT_{n}") for n, one in enumerate((first, second, first))]
    assert admitted == [True, True, False]
    assert second.admit(entered(second, "fe80::2"), "CT_0")


def test_connections_that_never_ask_are_bounded_for_each_address_and_for_all(first, second):
    of_one = [first.enter("10.0.0.1") for _ in range(LIMITS.of_peer + SPARE_CONNECTIONS + 1)]
    assert of_one[-1] is None
    assert None not in of_one[:-1]
    places = [second.enter(f"10.0.1.{number}") for number in range(LIMITS.connections)]
    assert places.count(None) == len(of_one) - 1
    first.leave(of_one[0])
    assert second.enter("10.0.2.1") is not None


def test_the_least_busy_acceptor_is_known(first, second):
    assert first.excess == second.excess == 0
    places = [entered(first, "10.0.0.1"), entered(first, "10.0.0.1")]
    assert (first.excess, second.excess) == (2, 0)
    entered(second, "10.0.0.1")
    assert (first.excess, second.excess) == (1, 0)
    first.leave(places[0])
    assert first.excess == second.excess == 0


def test_what_is_held_is_added_up(first, second):
    assert first.hold(100) == 100
    assert second.hold(20) == 120
    assert first.hold(0) == 20


def test_a_killed_acceptor_holds_nothing_and_its_successor_begins_anew(table, first):
    """Process ids of both acceptors are this one's, so the one that is killed has to be another."""
    code = (
        "import os, signal, sys; from producers.occupancy import *;"
        "one = Occupancy(int(sys.argv[1]), Limits(3, 4, 2), 2); place = one.enter('10.0.0.1');"
        "assert one.admit(place, 'CT_1') and one.admit(one.enter('10.0.0.1'), 'CT_1'); one.hold(1000);"
        "print('there', flush=True); sys.stdin.read(1)"
    )
    command = [sys.executable, "-c", code, str(table.fileno())]
    with subprocess.Popen(
        command, pass_fds=(table.fileno(),), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=os.getcwd()
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"there\n"
        place = entered(first, "10.0.0.2")
        assert first.hold(1) == 1001
        assert not first.admit(place, "CT_1")
        entered(first, "10.0.0.2")
        entered(first, "10.0.0.2")
        assert first.excess == 1
        other.kill()
    assert first.hold(1) == 1
    assert first.excess == 0
    assert first.admit(place, "CT_1")
    successor = Occupancy(table, LIMITS, 2)
    assert successor.hold(0) == 1
    assert (first.excess, successor.excess) == (3, 0)
