"""What is done about a block of code that takes too long."""

import threading

from radiolog.log.alarm import Alarm

TICK = 0.01


def test_a_late_block_is_acted_on_and_waits_for_the_action():
    acting, seen = threading.Event(), []

    def act(over) -> None:
        acting.set()
        while not over():
            pass
        seen.append("ended")

    alarm = Alarm("test", act, TICK)
    with alarm.after(0.0):
        assert acting.wait(10)
        assert not seen
    assert seen == ["ended"]
    alarm.close()


def test_a_block_that_ended_in_time_is_left_alone():
    acted = threading.Event()
    alarm = Alarm("test", lambda over: acted.set(), TICK)
    with alarm.after(60.0):
        pass
    with alarm.after(60.0):
        assert not acted.wait(20 * TICK)
    alarm.close()


def test_an_exception_ends_the_block_too():
    acted = threading.Event()
    alarm = Alarm("test", lambda over: acted.set(), TICK)
    try:
        with alarm.after(0.5):
            raise ValueError
    except ValueError:
        assert not acted.wait(1.0)
    alarm.close()
