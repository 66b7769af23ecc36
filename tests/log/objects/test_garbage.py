"""The collector: what an event names stays, and so does everything where anything is not known."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import KafkaError

from radiolog.log.clients import KafkaClients
from radiolog.log.objects import ObjectStore
from radiolog.log.objects.audit import Condition, audit
from radiolog.log.objects.garbage import Garbage, Images, Progress, Unsure, find, remove
from radiolog.log.objects.place import name_of
from radiolog.log.publisher import Fact, KafkaPublisher
from schemas.events import ImageEvent, ImageSource, ObjectRef, SourceKind, image_event_id
from schemas.topics import IMAGES

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
GRACE = timedelta(hours=24)


def image(number: int, ref: ObjectRef | None) -> ImageEvent:
    sha256 = number.to_bytes(32, "big")
    return ImageEvent(
        event_id=image_event_id(sha256),
        code_version="test",
        study_uid=f"2.25.{number}",
        patient_pseudonym="P-1",
        series_uid="2.25.2",
        sop_instance_uid="2.25.3",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        deidentification="test",
        source=ImageSource(kind=SourceKind.FILE, peer="test", adapter="test"),
        received_at=THEN,
        published_at=THEN,
        received_bytes=3,
        received_sha256=sha256,
        payload_ref=ref,
        payload=b"" if ref else b"abc",
    )


@pytest.fixture
def store(folder_settings) -> ObjectStore:
    return ObjectStore.from_settings(folder_settings)


@pytest.fixture
def old(store, folder):
    """Puts the object of a number, two days ago."""

    def put(number: int) -> ObjectRef:
        ref = store.put(b"object %d" % number)
        then = (datetime.now(UTC) - 2 * GRACE).timestamp()
        os.utime(folder / name_of(ref.sha256), (then, then))
        return ref

    return put


@pytest.fixture
def images(world) -> Images:
    return Images(world.settings, world.codec, world.clients)


def found(store: ObjectStore, images: Images, progress: Progress = lambda done, total: None) -> Garbage:
    return find(store, images, datetime.now(UTC) - GRACE, progress)


def names(store: ObjectStore) -> set[bytes]:
    return {entry.sha256 for entry in store.entries()}


def test_what_an_event_names_stays_and_what_none_names_goes(world, store, old, images) -> None:
    refs = [old(number) for number in range(6)]
    young = store.put(b"just put")
    world.publish(IMAGES, [image(number, refs[number]) for number in (0, 2, 4)] + [image(7, None), image(2, refs[2])])
    steps: list[tuple[int, int]] = []
    garbage = found(store, images, lambda *step: steps.append(step))
    assert (garbage.events, garbage.named, garbage.young) == (5, 3, 1)
    assert {entry.sha256 for entry in garbage.unnamed} == {refs[number].sha256 for number in (1, 3, 5)}
    assert len(names(store)) == 7, "finding removes nothing"
    assert (steps[0], steps[-1]) == ((0, 5), (5, 5))
    assert {entry.sha256 for entry in remove(store, garbage)} == {refs[number].sha256 for number in (1, 3, 5)}
    assert names(store) == {refs[number].sha256 for number in (0, 2, 4)} | {young.sha256}


def test_nothing_is_found_twice(world, store, old, images) -> None:
    world.publish(IMAGES, [image(0, old(0))])
    old(1)
    assert len(list(remove(store, found(store, images)))) == 1
    assert not found(store, images).unnamed


def test_an_event_that_was_published_after_the_listing_counts(world, store, old) -> None:
    ref = old(1)

    class Slow(Images):
        def read(self, progress: Progress) -> Iterator:
            world.publish(IMAGES, [image(1, ref)])
            return super().read(progress)

    assert not found(store, Slow(world.settings, world.codec, world.clients)).unnamed


def test_what_is_put_again_before_it_is_removed_stays(world, store, old, images) -> None:
    world.publish(IMAGES, [image(0, None)])
    old(1)
    garbage = found(store, images)
    assert len(garbage.unnamed) == 1
    again = store.put(b"object 1")
    assert not list(remove(store, garbage))
    assert store.get(again) == b"object 1"


def test_a_record_that_cannot_be_read_may_name_anything(world, store, old, images) -> None:
    world.publish(IMAGES, [image(number, None) for number in range(4)])
    ref = old(1)
    world.publish_raw(IMAGES, b"no event")
    with pytest.raises(Unsure, match=r"t.*images/\d+/\d+ cannot be read \(not_confluent_format\)"):
        found(store, images)
    assert names(store) == {ref.sha256}


def test_a_log_that_breaks_off_half_way_leaves_everything(world, store, old) -> None:
    world.publish(IMAGES, [image(number, None) for number in range(20)])
    ref = old(1)

    class Breaking:
        """Clients whose readers hear of an error after ten records."""

        def reader(self):
            consumer, seen = world.clients.reader(), []

            class Reader:
                def __getattr__(self, name: str):
                    return getattr(consumer, name)

                def poll(self, timeout: float = -1):
                    seen.append(1)
                    return consumer.poll(timeout) if len(seen) <= 10 else Broken()

            return Reader()

    class Broken:
        def error(self) -> KafkaError:
            return KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)

    with pytest.raises(Unsure, match="could not be read to its end"):
        found(store, Images(world.settings, world.codec, Breaking()))
    assert names(store) == {ref.sha256}


def test_an_empty_log_is_taken_for_the_wrong_one(store, old, images) -> None:
    ref = old(1)
    with pytest.raises(Unsure, match="is it the one that these objects belong to"):
        found(store, images)
    assert names(store) == {ref.sha256}


def test_no_topic_at_all(world, store, old) -> None:
    ref = old(1)
    elsewhere = world.settings.model_copy(update={"topic_prefix": "nowhere."})
    with pytest.raises(Unsure, match="could not be read"):
        found(store, Images(elsewhere, world.codec, world.clients))
    assert names(store) == {ref.sha256}


def test_what_others_keep_in_the_folder_is_left_alone(world, store, old, folder: Path, images) -> None:
    world.publish(IMAGES, [image(0, None)])
    old(1)
    others = [folder / "sha256" / "notes.txt", folder / "sha256" / "ab" / "notes.txt", folder / "notes.txt"]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (0, 0))
    assert len(list(remove(store, found(store, images)))) == 1
    assert all(path.exists() for path in others)


@pytest.mark.servers
def test_the_command(site, site_codec, store, old, folder_settings) -> None:
    def run(*options: str) -> subprocess.CompletedProcess[str]:
        places = {name: getattr(site, name) for name in ("bootstrap_servers", "schema_registry_url", "topic_prefix")}
        environment = {f"RADIOLOG_{name.upper()}": value for name, value in places.items()}
        return subprocess.run(
            [sys.executable, "-m", "radiolog", "objects", "gc", *options],
            env=dict(os.environ) | environment | {"RADIOLOG_STATE_DIR": str(folder_settings.state_dir)},
            capture_output=True,
            text=True,
            check=False,
        )

    log = SiteLog(site, site_codec)
    log.publish(image(0, old(0)))
    unnamed = old(1)
    dry, wet = run("--dry-run", "--json"), run("--json")
    assert (dry.returncode, wet.returncode) == (0, 0), dry.stderr + wet.stderr
    first, second = json.loads(dry.stdout), json.loads(wet.stdout)
    assert (first["objects"], first["removed"]) == ([unnamed.sha256.hex()], 0)
    assert (second["named"], second["removed"], second["removed_bytes"]) == (1, 1, unnamed.size)
    assert len(names(store)) == 1
    left = old(2)
    log.publish_raw(b"no event")
    unsure = run()
    assert unsure.returncode == 1
    assert "cannot be read" in unsure.stderr
    assert "Nothing was removed" in unsure.stderr
    assert left.sha256 in names(store)


class SiteLog:
    """Writes to the topic images of a site."""

    def __init__(self, site, codec) -> None:
        self._site = site
        self._codec = codec

    def publish(self, event: ImageEvent) -> None:
        with KafkaPublisher(self._site, self._codec) as publisher:
            publisher.publish([Fact(IMAGES, event)])

    def publish_raw(self, value: bytes) -> None:
        producer = KafkaClients(self._site).producer(lambda error: None)
        producer.produce(IMAGES.full_name(self._site.topic_prefix), value, "key")
        assert producer.flush(30) == 0


def test_an_audit_names_what_is_not_whole(world, store, old, folder: Path, images) -> None:
    refs = [old(number) for number in range(3)]
    world.publish(IMAGES, [image(number, refs[number]) for number in (0, 1, 2, 1)])
    world.publish_raw(IMAGES, b"no event")
    (folder / name_of(refs[1].sha256)).unlink()
    (folder / name_of(refs[2].sha256)).write_bytes(b"object X")
    findings = {finding.sha256: finding.condition for finding in audit(store, images, lambda done, total: None)}
    assert findings == {
        refs[0].sha256.hex(): Condition.WHOLE,
        refs[1].sha256.hex(): Condition.MISSING,
        refs[2].sha256.hex(): Condition.ALTERED,
        None: Condition.UNKNOWN,
    }
