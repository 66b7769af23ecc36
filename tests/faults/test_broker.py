"""The only broker is restarted, and killed, while every stage has work."""

import pytest

from radiolog.stack.kafka import KafkaServer
from tests.faults.trial import FULL, full_or


@pytest.mark.parametrize(
    ("fault", "ways"),
    [("restart", ["stop"] * 5), ("SIGKILL", ["kill"] * 5)] if FULL else [("restart, SIGKILL", ["stop", "kill"])],
)
def test_the_only_broker_goes_and_comes_back(trial, own_servers, fault, ways):
    run = trial()
    run.load.publish(full_or(100, 2000))
    run.fleet.start()

    def go_and_come_back(way: str) -> None:
        getattr(own_servers, way)(KafkaServer)
        own_servers.up()

    for way in ways:
        run.load.publish(full_or(200, 600))
        run.await_results(30)
        run.strike(lambda way=way: go_and_come_back(way))
    run.finish(3, f"broker, single: {fault}")
