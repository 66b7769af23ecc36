import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, generate_latest

from radiolog.crew import Crew
from radiolog.health import Health
from radiolog.instances import announced
from radiolog.probes import Probes
from radiolog.settings import Settings


def test_a_crew_is_ready_when_all_of_it_is(tmp_path: Path) -> None:
    member, health = Health(), Health()
    settings = Settings(state_dir=tmp_path)

    def look(pids: dict[str, int]) -> str | None:
        Crew("acceptor", tmp_path, None).look(pids, health)
        return health.obstacle

    health.ready()
    assert look({"a": os.getpid()}) is None, "where nobody can be announced, they are taken at their word"
    with Probes(member, settings, CollectorRegistry()) as probes, announced(tmp_path, "dicom", 0, probes.address):
        assert look({"a": os.getpid()}) == "a: starting"
        member.unready("the log does not answer")
        assert look({"a": os.getpid()}) == "a: the log does not answer"
        member.ready()
        assert look({"a": os.getpid()}) is None
        assert look({"a": os.getpid(), "b": 1}) == "b: it does not run yet"


def test_metrics_bear_the_name_of_the_member(tmp_path: Path) -> None:
    registry, member = CollectorRegistry(), Health()
    Counter("radiolog_published", "Events.", ("topic",), registry=registry).labels("images").inc(3)
    with (
        Probes(member, Settings(state_dir=tmp_path), registry) as probes,
        announced(tmp_path, "dicom", 0, probes.address),
    ):
        crew = Crew("acceptor", tmp_path, None)
        crew.look({"dicom-0": os.getpid(), "dicom-1": 1}, Health())
        text = generate_latest(crew.registry).decode()
    assert 'radiolog_published_total{acceptor="dicom-0",topic="images"} 3.0' in text
    assert "radiolog_ready" not in text, "the parent tells that itself"
    assert "dicom-1" not in text
