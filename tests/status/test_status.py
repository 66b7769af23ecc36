"""`radiolog status`: what it knows of a site, what it says when it knows nothing, and its exit codes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from rich.console import Console

from radiolog.health import STALLED_SECONDS, Health
from radiolog.instances import announced
from radiolog.log.lag import PartitionLag
from radiolog.log.metrics import Metrics, PublisherMetrics, StageMetrics
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.probes import Probes
from radiolog.settings import Settings
from radiolog.status.counters import Counters
from radiolog.status.processes import Process, Processes
from radiolog.status.report import to_json, to_tables
from radiolog.status.site import STAGES, Look, Reader, Server, _without_secrets
from schemas.events import DeadLetter, ImageEvent, ImageSource, SourceKind, derived_id, image_event_id
from schemas.topics import DEAD_LETTERS, IMAGES
from tests.sites import environment_of

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def letter(number: int) -> DeadLetter:
    return DeadLetter(
        event_id=derived_id("letter", str(number)),
        code_version="test",
        stage="preprocess" if number % 4 else "inference",
        error_class="truncated",
        reason="too short",
        topic="images",
        partition=0,
        offset=number,
        image_event_id=derived_id("image", str(number)),
        study_uid=f"2.25.{number}",
        failed_at=THEN,
    )


def image(number: int) -> ImageEvent:
    sha256 = number.to_bytes(32, "big")
    return ImageEvent(
        event_id=image_event_id(sha256),
        code_version="test",
        study_uid=f"2.25.{number}",
        patient_pseudonym="P-1",
        series_uid="2.25.2",
        sop_instance_uid=f"2.25.3.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        deidentification="test",
        source=ImageSource(kind=SourceKind.FILE, peer="test", adapter="test"),
        received_at=THEN,
        published_at=THEN,
        received_bytes=3,
        received_sha256=sha256,
        payload=b"abc",
    )


def environment(settings: Settings, state_dir: Path) -> dict[str, str]:
    """What makes a process work on a site."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RADIOLOG_")}
    return kept | environment_of(settings, state_dir=state_dir)


def radiolog(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "radiolog", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@contextmanager
def sink(environment: dict[str, str], ordinal: int, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A sink in a process of its own, from when it is ready."""
    command = [sys.executable, "-m", "radiolog", "run", "sink", "--ordinal", str(ordinal), *options]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            while '"event": "ready"' not in process.stderr.readline():
                assert process.poll() is None
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_the_stages_are_those_that_there_are():
    from stream_processors.inference import InferenceStage
    from stream_processors.preprocess import PreprocessStage

    assert {(stage.name, stage.source) for stage in (PreprocessStage, InferenceStage)} == set(STAGES.items())


def test_on_a_site(site, site_codec, tmp_path):
    with KafkaPublisher(site, site_codec) as publisher:
        publisher.publish([Fact(IMAGES, image(number)) for number in range(25)])
        publisher.publish([Fact(DEAD_LETTERS, letter(number)) for number in range(12)])
    mine = environment(site, tmp_path)
    with sink(mine, 0) as first, sink(mine, 1) as second:
        look: dict = {}
        while sum(p["counters"]["consumed"] for p in look.get("processes", [])) < 12:
            done = radiolog("status", "--json", **mine)
            assert done.returncode == 0, done.stderr
            look = json.loads(done.stdout)
        assert [(s["name"], s["answers"]) for s in look["servers"]] == [
            ("kafka", True),
            ("registry", True),
            ("postgres", True),
        ]
        stages = {stage["stage"]: stage for stage in look["stages"]}
        assert {name: stage["lag"] for name, stage in stages.items()} == {
            "preprocess": 25,
            "inference": 0,
            "postgres": 0,
        }
        assert {name: stage["open_dead_letters"] for name, stage in stages.items()} == {
            "preprocess": 9,
            "inference": 3,
            "postgres": 0,
        }
        processes = {p["service"] + "-" + str(p["ordinal"]): p for p in look["processes"]}
        assert {name: p["pid"] for name, p in processes.items()} == {"sink-0": first.pid, "sink-1": second.pid}
        assert {p["state"] for p in processes.values()} == {"ready"}
        table = radiolog("status", **mine | {"COLUMNS": "120"})
        assert table.returncode == 0
        for text in ("sink-0", "sink-1", str(first.pid), f"{site.topic_prefix}images", "25"):
            assert text in table.stdout
        second.kill()
        second.wait()
        left = json.loads(radiolog("status", "--json", **mine).stdout)
        assert [p["pid"] for p in left["processes"]] == [first.pid]


def test_two_sinks_have_a_line_each(site, site_codec, tmp_path):
    letters = [letter(number) for number in range(12)]
    letters[0] = letters[0].model_copy(update={"stage": "postgres-identities"})
    letters[1] = letters[1].model_copy(update={"stage": "gone"})
    mine, look = environment(site, tmp_path), dict[str, list[dict]]()
    with sink(mine, 0, "--only", "findings"), sink(mine, 0, "--only", "identities"):
        with KafkaPublisher(site, site_codec) as publisher:
            publisher.publish([Fact(DEAD_LETTERS, letter) for letter in letters])
        while sum(p["counters"]["consumed"] for p in look.get("processes", [])) < 12:
            look = json.loads(radiolog("status", "--json", **mine).stdout)
    assert {process["service"] for process in look["processes"]} == {"sink-findings", "sink-identities"}
    topics = {
        stage["stage"]: {partition["topic"].removeprefix(site.topic_prefix) for partition in stage["partitions"] or ()}
        for stage in look["stages"]
    }
    assert topics == {
        "preprocess": {"images"},
        "inference": {"preprocessed"},
        "postgres-findings": {"diagnoses", "deadletters"},
        "postgres-identities": {"identities"},
        "gone": set(),
    }
    found = {stage["stage"]: (stage["lag"], stage["open_dead_letters"]) for stage in look["stages"]}
    assert found["postgres-findings"] == (0, 0)
    assert found["postgres-identities"] == (0, 1)
    assert found["gone"] == (None, 1)


def test_watch_goes_on_until_it_is_interrupted(site, tmp_path):
    command = [sys.executable, "-m", "radiolog", "status", "--watch", "--json", "--every", "0.2"]
    with subprocess.Popen(
        command, env=environment(site, tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        looks = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert looks[0]["at"] < looks[1]["at"] < looks[2]["at"]
    assert all(look["well"] for look in looks)


def test_topics_that_are_missing_are_named_with_what_to_do(bare_site, tmp_path):
    done = radiolog("status", "--json", **environment(bare_site, tmp_path))
    assert done.returncode == 1
    obstacles = {server["name"]: server["obstacle"] for server in json.loads(done.stdout)["servers"]}
    assert "UNKNOWN_TOPIC" in obstacles["kafka"]
    assert "radiolog topics apply" in obstacles["registry"]
    assert "radiolog database migrate" in obstacles["postgres"]


def test_without_servers_it_says_so(tmp_path):
    nowhere = Settings(
        state_dir=tmp_path,
        bootstrap_servers="127.0.0.1:1",
        schema_registry_url="http://127.0.0.1:1",
        database_url="postgresql://radiolog:hunter2@127.0.0.1:1/radiolog",
    )
    done = radiolog("status", "--json", **environment(nowhere, tmp_path))
    look = json.loads(done.stdout)
    assert (done.returncode, look["well"]) == (1, False)
    assert {server["name"] for server in look["servers"] if "answer" in server["obstacle"]} == {
        "kafka",
        "registry",
        "postgres",
    }
    assert {(stage["lag"], stage["open_dead_letters"]) for stage in look["stages"]} == {(None, None)}
    assert "radiolog stack up" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://radiolog:hunter2@db.example:5432/radiolog?sslmode=require", "db.example:5432/radiolog"),
        ("postgresql://radiolog@/radiolog?host=/run/pg&password=hunter2", "/run/pg"),
        ("postgresql:///radiolog", "this machine"),
    ],
)
def test_no_secret_of_the_database_is_shown(url, shown):
    assert _without_secrets(Settings(state_dir="x", database_url=url)) == shown


def test_counters_are_sums_over_labels():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    stage = StageMetrics("s", metrics)
    for error_class in (None, "one", "two"):
        stage.settled(1, error_class, THEN)
    stage.repeated(ValueError())
    with PublisherMetrics(metrics).publishing(["images", "identities"]):
        pass
    with pytest.raises(KeyError), PublisherMetrics(metrics).publishing(["images"]):
        raise KeyError
    counters = Counters.of(generate_latest(registry).decode())
    assert counters == Counters(consumed=3, published=2, rejected=2, repeated=1, failed=1)
    assert counters.records == 5
    assert Counters.of("") == Counters()


def test_the_states_of_a_process(tmp_path):
    now = [0.0]
    health, registry = Health(clock=lambda: now[0]), CollectorRegistry()
    stage = StageMetrics("s", Metrics(registry))
    settings = Settings(state_dir=tmp_path)
    looks = Processes(settings)
    with Probes(health, settings, registry) as probes, announced(tmp_path, "stage", 0, probes.address):
        (process,) = looks.look()
        assert (process.state, process.obstacle, process.per_second) == ("waiting", "starting", None)
        health.ready()
        stage.settled(1, None, None)
        (process,) = looks.look()
        assert (process.state, process.obstacle, process.counters) == ("ready", None, Counters(consumed=1))
        assert process.per_second > 0
        now[0] += STALLED_SECONDS
        (process,) = looks.look()
        assert process.state == "stuck"
        assert process.per_second == 0
    with announced(tmp_path, "stage", 0, "http://127.0.0.1:1"):
        (process,) = looks.look()
        assert (process.state, process.counters) == ("silent", None)
        assert "ConnectionRefusedError" in process.obstacle


def test_probes_that_want_another_token_are_named(tmp_path):
    theirs = Settings(state_dir=tmp_path, probe_token="x" * 40)
    with Probes(Health(), theirs) as probes, announced(tmp_path, "stage", 0, probes.address):
        (process,) = Processes(Settings(state_dir=tmp_path)).look()
        assert (process.state, "401" in process.obstacle) == ("silent", True)
        assert Processes(theirs).look()[0].state == "waiting"


def look(tmp_path, obstacle=None, state="ready", lags=()) -> Look:
    with announced(tmp_path, "stage", 0, "http://127.0.0.1:1") as instance:
        pass
    process = Process(instance, state, None if state == "ready" else "[red]because[/red]", None)
    servers = (Server("kafka", "k:1", obstacle), Server("postgres", "p:1", None))
    return Look(THEN, servers, (Reader("s", lags, 3), Reader("t", None, None)), (process,))


def test_well_is_every_server_and_every_process(tmp_path):
    assert look(tmp_path).is_well
    assert not look(tmp_path, obstacle="down").is_well
    for state in ("waiting", "stuck", "silent"):
        assert not look(tmp_path, state=state).is_well


def test_tables_show_topics_apart_and_dashes_for_what_is_not_known(tmp_path):
    lags = [PartitionLag("a", 0, 1, 5, 4), PartitionLag("a", 1, None, 9, 9), PartitionLag("b", 0, 1, 1, 0)]
    seen = look(tmp_path, state="waiting", lags=lags)
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(to_tables(seen))
    text = " ".join(console.export_text().split())
    assert "s a 13 1: 9 behind 3 s b 0 t – – – –" in text
    assert "[red]because[/red]" in text, "an obstacle is text and no markup"
    assert to_json(seen)["stages"][0]["lag"] == 13
    assert json.loads(json.dumps(to_json(seen)))["processes"][0]["state"] == "waiting"


def test_tables_of_an_empty_site():
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(to_tables(Look(THEN, (), (), ())))
    assert console.export_text().count("none") == 3
