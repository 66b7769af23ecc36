"""Five in a hundred events are poison, of every kind: each becomes a dead letter that names its cause, and no other."""

import itertools
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

from radiolog.log.publisher import Fact
from schemas.codec import HEADER, MAGIC
from schemas.events import EventRef, ImageEvent, PixelStatus, PixelType, PreprocessedImage, derived_id
from schemas.topics import IMAGES, PREPROCESSED
from tests.faults.load import SMALL, radiograph
from tests.faults.poison import MARK, POISONS
from tests.faults.trial import Trial, full_or

ONE_IN = 20
EVENTS = full_or(160, 5000)
UNKNOWN_ID = 1_000_000
KINDS = {
    "truncated Avro": "corrupt_avro",
    "unknown schema": "unknown_schema",
    "wrong spec": "wrong_spec",
    "undecodable pixels": "truncated",
} | POISONS


def test_poison_becomes_dead_letters_and_stops_nothing(trial):
    run = trial(
        {"preprocess": ("-m", "tests.faults.poison")},
        decode_timeout_seconds=10,
        decode_memory_bytes=1 << 30,
    )
    sent = Counter(poisoned(run))
    run.fleet.start()
    run.strike(lambda: run.await_results(EVENTS // 2))
    letters = {KINDS[kind]: count for kind, count in sent.items()}
    run.finish(5, f"poison, one event in {ONE_IN}", f"{sent.total()} of {len(sent)} kinds, a dead letter each", letters)


def poisoned(run: Trial) -> Iterator[str]:
    """Publishes the events; gives the kind of each that is poison."""
    kinds = itertools.cycle(KINDS)
    for _ in range(EVENTS // ONE_IN):
        run.load.publish(ONE_IN - 1)
        put(run, kind := next(kinds))
        yield kind


def put(run: Trial, kind: str) -> None:
    load = run.load
    match kind:
        case "truncated Avro":
            load.put_raw(IMAGES, run.codec.encode(IMAGES, load.image(radiograph(SMALL)))[:-100])
        case "unknown schema":
            value = run.codec.encode(IMAGES, load.image(radiograph(SMALL)))
            load.put_raw(IMAGES, HEADER.pack(MAGIC, UNKNOWN_ID) + value[HEADER.size :])
        case "wrong spec":
            load.put_facts([Fact(PREPROCESSED, of_another_spec(load.image(b"")))])
        case "undecodable pixels":
            load.put([load.image(radiograph(SMALL)[: -SMALL * SMALL])])
        case _:
            load.put([load.image(MARK + kind.encode())])


def of_another_spec(image: ImageEvent) -> PreprocessedImage:
    return PreprocessedImage(
        event_id=derived_id("preprocessed", image.event_id),
        code_version="test",
        source=EventRef(event_id=image.event_id, topic="elsewhere", partition=0, offset=0),
        patient_pseudonym=image.patient_pseudonym,
        study_uid=image.study_uid,
        series_uid=image.series_uid,
        sop_instance_uid=image.sop_instance_uid,
        status=PixelStatus.PIXELS,
        spec_id="another@1",
        spec_sha256="0" * 64,
        frame=0,
        height=1,
        width=1,
        dtype=PixelType.UINT8,
        received_at=image.received_at,
        published_at=image.published_at,
        preprocessed_at=datetime.now(UTC),
        pixels=b"x",
    )
