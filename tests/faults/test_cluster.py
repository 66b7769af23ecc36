"""One broker of three after the other is killed, while every stage has work; each is whole again before the next."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cluster import NODES, Cluster
from tests.faults.trial import FULL, full_or

KILLED = NODES * 2 if FULL else NODES[:1]


@pytest.fixture
def cluster(faults_folder: Path) -> Iterator[Cluster]:
    cluster = Cluster(faults_folder / "cluster")
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down()


def test_one_broker_of_three_is_killed_at_a_time(cluster, trial):
    run = trial(servers=cluster, replication_factor=3)
    run.load.publish(full_or(200, 2000))
    run.fleet.start()
    for node in KILLED:
        with run.load.streaming(per_second=full_or(60, 100)):
            run.await_results(30)
            run.strike(lambda node=node: cluster.kill(node))
            run.await_results(60, "sink")
        cluster.up()
    run.finish(3, "one broker of three: SIGKILL")
