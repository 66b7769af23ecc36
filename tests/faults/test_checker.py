"""The checker itself: it must see what is lost and what is doubled, wherever that happened."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from radiolog.log.replay import Unreadable
from radiolog.log.stage import Coordinates, Received, Reject
from radiolog.log.transform import dead_letter
from schemas.events import (
    Diagnosis,
    DiagnosisStatus,
    derived_id,
)
from schemas.topics import DEAD_LETTERS, DIAGNOSES, IDENTITIES, IMAGES, PREPROCESSED
from tests.derived import KEPT, preprocessed
from tests.faults.checker import Ledger, Seen, judge
from tests.faults.load import identity_of as identity
from tests.faults.load import image_of as image

THEN = datetime(2026, 1, 2, tzinfo=UTC)


def at(topic, offset):
    return Coordinates(f"t.{topic.name}", 0, offset)


def diagnosis(item):
    return Diagnosis(
        **{name: getattr(item.event, name) for name in KEPT},
        event_id=derived_id("diagnosis", item.event.event_id),
        code_version="test",
        image=item.event.source,
        source=item.ref,
        status=DiagnosisStatus.NOT_AN_IMAGE,
        findings=(),
        model_name="m",
        model_version="1",
        model_sha256="0" * 64,
        operating_point="accuracy",
        spec_sha256="0" * 64,
        preprocessed_at=THEN,
        diagnosed_at=THEN,
    )


def on(topic, events):
    return [Received(event, at(topic, offset)) for offset, event in enumerate(events)]


@pytest.fixture
def run():
    """Four images, the last of them sent twice; the third can't be decoded, the second record of all is no event."""
    ledger = Ledger()
    images = on(IMAGES, [image(number, b"abc") for number in (0, 1, 2, 3, 3)])
    images = [images[0], Unreadable(at(IMAGES, 7), "corrupt_avro"), *images[1:]]
    events = [item for item in images if isinstance(item, Received)]
    for item in events:
        ledger.ask([(IMAGES.name, item.event.event_id)])
        ledger.acknowledge([(IMAGES.name, item.event.event_id)])
    ledger.acknowledge_raw(IMAGES)
    made = on(PREPROCESSED, [preprocessed(item) for item in events if item.event.sop_instance_uid != "2.25.32"])
    letters = [
        dead_letter("preprocess", events[2].at, events[2].event, Reject("test", "test")),
        dead_letter("preprocess", images[1].at, None, Reject("test", "test")),
    ]
    said = on(DIAGNOSES, [diagnosis(item) for item in made])
    known = on(IDENTITIES, [identity(image(number, b"abc")) for number in range(4)])
    for item in known:
        ledger.ask([(IDENTITIES.name, item.event.event_id)])
        ledger.acknowledge([(IDENTITIES.name, item.event.event_id)])
    rows = {
        "diagnosis": sorted({item.event.event_id for item in said}),
        "dead_letter": [letter.event_id for letter in letters],
        "identity": [item.event.pseudonym for item in known],
    }
    records = {
        IMAGES.name: images,
        PREPROCESSED.name: made,
        DIAGNOSES.name: said,
        DEAD_LETTERS.name: on(DEAD_LETTERS, letters),
        IDENTITIES.name: known,
    }
    return ledger, Seen(records, rows)


def test_a_run_without_fault_is_whole(run):
    verdict = judge(*run)
    assert (verdict.lost, verdict.doubled, verdict.stray) == (0, 0, 0), str(verdict)


@pytest.mark.parametrize("topic", [IMAGES, PREPROCESSED, DIAGNOSES, DEAD_LETTERS, IDENTITIES], ids=lambda t: t.name)
def test_a_record_that_is_missing_is_lost(run, topic):
    ledger, seen = run
    assert judge(ledger, replace(seen, records={**seen.records, topic.name: seen.of(topic)[1:]})).lost > 0


@pytest.mark.parametrize("topic", [PREPROCESSED, DIAGNOSES, DEAD_LETTERS], ids=lambda t: t.name)
def test_a_result_that_is_there_twice_is_doubled(run, topic):
    ledger, seen = run
    again = replace(seen.of(topic)[0], at=at(topic, 99))
    verdict = judge(ledger, replace(seen, records={**seen.records, topic.name: [*seen.of(topic), again]}))
    assert verdict.doubled == 1


def test_an_image_that_is_on_the_log_more_often_than_it_was_sent_is_doubled(run):
    ledger, seen = run
    again = replace(seen.of(IMAGES)[0], at=at(IMAGES, 99))
    assert judge(ledger, replace(seen, records={**seen.records, IMAGES.name: [*seen.of(IMAGES), again]})).doubled == 1


@pytest.mark.parametrize("table", ["diagnosis", "dead_letter", "identity"])
def test_rows_are_counted(run, table):
    ledger, seen = run
    keys = seen.rows[table]
    assert judge(ledger, replace(seen, rows={**seen.rows, table: keys[1:]})).lost == 1
    assert judge(ledger, replace(seen, rows={**seen.rows, table: [*keys, keys[0]]})).doubled == 1
    assert judge(ledger, replace(seen, rows={**seen.rows, table: [*keys, "nobody's"]})).stray == 1


def test_a_result_of_another_event_is_stray(run):
    ledger, seen = run
    first = seen.of(PREPROCESSED)[0]
    wrong = first.event.model_copy(
        update={
            "source": seen.of(PREPROCESSED)[1].event.source.model_copy(
                update={"offset": first.event.source.offset, "partition": first.event.source.partition}
            )
        }
    )
    verdict = judge(
        ledger,
        replace(
            seen, records={**seen.records, PREPROCESSED.name: [replace(first, event=wrong), *seen.of(PREPROCESSED)[1:]]}
        ),
    )
    assert verdict.stray == 1
    assert verdict.lost == 1


def test_a_finding_without_row_is_lost(run):
    ledger, seen = run
    assert "finding" not in seen.rows
    assert judge(ledger, replace(seen, rows={**seen.rows, "finding": [("nobody's", "code")]})).stray == 1


def test_a_ledger_is_read_while_other_threads_publish():
    ledger = Ledger()

    def publish():
        for number in range(3000):
            keys = [(IMAGES.name, UUID(int=number))]
            ledger.ask(keys)
            ledger.acknowledge(keys)

    with ThreadPoolExecutor(1) as pool:
        publishing = pool.submit(publish)
        while not publishing.done():
            assert ledger.records(IMAGES) <= len(ledger.published_to(IMAGES))
        publishing.result()
    assert ledger.records(IMAGES) == ledger.rows() == 3000
