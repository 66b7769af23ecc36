"""The only broker is restarted, and killed, while every stage has work."""

import pytest

from radiolog.stack.kafka import KafkaServer
from tests.faults.trial import full_or

TIMES = full_or(1, 5)


@pytest.mark.parametrize(("fault", "way"), [("restart", "stop"), ("SIGKILL", "kill")])
def test_the_only_broker_goes_and_comes_back(trial, own_servers, fault, way):
    run = trial()
    run.load.publish(full_or(200, 2000))
    run.fleet.start()

    def go_and_come_back() -> None:
        getattr(own_servers, way)(KafkaServer)
        own_servers.up()

    for _ in range(TIMES):
        run.load.publish(full_or(200, 600))
        run.await_results(30)
        run.strike(go_and_come_back)
    run.finish(3, f"broker, single: {fault}")
