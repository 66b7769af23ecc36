"""`radiolog dlq`, on a real log."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from radiolog.cli import app
from radiolog.cli.deadletters import moment_of
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.log.replay import pin
from schemas.events import DeadLetter, derived_id
from schemas.topics import DEAD_LETTERS, IMAGES

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def letter(number: int, **changes) -> DeadLetter:
    values = {
        "event_id": derived_id("letter", str(number)),
        "code_version": "test",
        "stage": "preprocess",
        "error_class": "truncated",
        "reason": "too short",
        "topic": "nowhere",
        "partition": 0,
        "offset": number,
        "failed_at": THEN + timedelta(hours=number),
    }
    return DeadLetter(**values | changes)


@pytest.fixture
def dlq(site, monkeypatch):
    """Runs a command on the site; gives its exit code, its document and its lines for people."""
    for name in ("bootstrap_servers", "schema_registry_url", "app", "topic_prefix", "state_dir"):
        monkeypatch.setenv(f"RADIOLOG_{name.upper()}", str(getattr(site, name)))
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments: str):
        result = CliRunner().invoke(app, ["dlq", *arguments])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def letters(site, site_codec):
    """Puts three images on the log, and letters of them: of one stage, of another, and one of an image that is gone."""
    from confluent_kafka import Producer

    places = []
    producer = Producer({"bootstrap.servers": site.bootstrap_servers})
    for value in (b"PATIENT^NAME one", b"PATIENT^NAME two"):
        name = IMAGES.full_name(site.topic_prefix)
        producer.produce(name, value, "key", on_delivery=lambda _, m: places.append((m.partition(), m.offset())))
    assert producer.flush(30) == 0
    where = {"topic": IMAGES.full_name(site.topic_prefix)}
    made = [
        letter(1, **where, partition=places[0][0], offset=places[0][1]),
        letter(2, **where, partition=places[1][0], offset=places[1][1], stage="inference", error_class="odd"),
        letter(3, reason="[bold]too short[/bold]"),
    ]
    with KafkaPublisher(site, site_codec) as publisher:
        publisher.publish([Fact(DEAD_LETTERS, one) for one in made])
    return made


def test_letters_are_listed_counted_and_shown(dlq, letters):
    code, out, err = dlq("list")
    assert code == 0
    order = [out.index(str(one.event_id)) for one in letters]
    assert order == sorted(order, reverse=True), "the latest first"
    assert "[bold]too short[/bold]" in out
    assert "3 letter(s)" in err
    code, out, err = dlq("list", "--limit", "1")
    assert str(letters[2].event_id) in out
    assert str(letters[0].event_id) not in out
    assert "the latest 1 of 3" in err

    code, out, _ = dlq("list", "--json", "--stage", "preprocess", "--since", (THEN + timedelta(hours=2)).isoformat())
    (found,) = json.loads(out)
    assert (code, found["event_id"], found["state"]) == (0, str(letters[2].event_id), "open")
    assert json.loads(dlq("list", "--json", "--class", "nothing")[1]) == []

    code, out, _ = dlq("list", "--count", "--json")
    assert [(row["stage"], row["error_class"], row["state"], row["letters"]) for row in json.loads(out)] == [
        ("inference", "odd", "open", 1),
        ("preprocess", "truncated", "open", 2),
    ]
    assert "inference" in dlq("list", "--count")[1]

    code, out, _ = dlq("show", str(letters[0].event_id), "--json")
    shown = json.loads(out)
    assert (code, shown["offset"], shown["record"]["on_the_log"], shown["record"]["size"]) == (
        0,
        letters[0].offset,
        True,
        len(b"PATIENT^NAME one"),
    )
    assert "PATIENT" not in out
    code, out, _ = dlq("show", str(letters[2].event_id))
    assert code == 0
    assert "False" in out


def test_letters_are_retried(dlq, letters, site):
    before = sum(pin(site, IMAGES).end.values())
    code, out, err = dlq("retry", "--stage", "preprocess")
    assert (code, out) == (1, "")
    assert "2 letter(s) match" in err
    assert "--yes" in err
    assert sum(pin(site, IMAGES).end.values()) == before

    code, out, _ = dlq("retry", "--stage", "preprocess", "--yes", "--json")
    assert code == 1, "one of them is gone"
    outcomes = {row["event_id"]: row["outcome"] for row in json.loads(out)}
    assert outcomes == {str(letters[0].event_id): "retried", str(letters[2].event_id): "gone"}

    code, out, _ = dlq("retry", str(letters[0].event_id), str(letters[1].event_id), "--json")
    outcomes = {row["event_id"]: row["outcome"] for row in json.loads(out)}
    assert (code, outcomes) == (
        1,
        {str(letters[0].event_id): "already retried", str(letters[1].event_id): "retried"},
    )
    code, out, _ = dlq("retry", str(letters[0].event_id), "--again")
    assert code == 0
    assert "retried" in out

    states = {row["event_id"]: row["state"] for row in json.loads(dlq("list", "--json")[1])}
    assert [states[str(one.event_id)] for one in letters] == ["retried", "retried", "open"]
    assert [row["event_id"] for row in json.loads(dlq("list", "--json", "--open")[1])] == [str(letters[2].event_id)]

    code, _, err = dlq("retry", "--stage", "inference", "--yes")
    assert (code, "no letter matches" in err) == (0, True)


def test_a_letter_that_is_not_there(dlq):
    nobody = str(derived_id("nobody"))
    code, _, err = dlq("show", nobody)
    assert code == 1
    assert "radiolog dlq list" in err
    code, out, _ = dlq("retry", nobody, "--json")
    assert (code, json.loads(out)[0]["outcome"]) == (1, "no such letter")


@pytest.mark.parametrize(
    "arguments",
    [
        ("retry", str(derived_id("nobody")), "--stage", "preprocess"),
        ("list", "--since", "yesterday"),
        ("list", "--limit", "0"),
        ("show", "7"),
    ],
    ids=" ".join,
)
def test_a_wrong_argument_is_refused(arguments):
    result = CliRunner().invoke(app, ["dlq", *arguments])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", THEN - timedelta(minutes=90)),
        ("24h", THEN - timedelta(days=1)),
        ("7d", THEN - timedelta(days=7)),
        ("99999d", THEN - timedelta(days=99999)),
        ("2026-01-01", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01T12:00+01:00", datetime(2026, 1, 1, 11, tzinfo=UTC)),
    ],
)
def test_moments_as_people_write_them(text, expected):
    assert moment_of(text, THEN) == expected


@pytest.mark.parametrize("text", ["", "h", "7w", "soon", "2026-13-01", "-1h", "999999d"])
def test_a_moment_that_is_none_is_refused(text):
    with pytest.raises(typer.BadParameter, match="no time"):
        moment_of(text, THEN)
