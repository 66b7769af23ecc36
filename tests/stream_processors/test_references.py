"""The preprocess stage with objects that their events only name: on Kafka and on its twin, decoded in processes."""

from collections import Counter
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from models.bundle import load_bundle
from radiolog.log.objects import ObjectStore
from radiolog.log.objects.place import name_of
from radiolog.log.runtime import StageRunner
from radiolog.workers import WorkerPool
from schemas.events import PixelStatus, image_event_id
from schemas.topics import DEAD_LETTERS, IMAGES, PREPROCESSED
from stream_processors.decoding import run
from stream_processors.preprocess import PreprocessStage


@pytest.fixture(scope="module")
def pool():
    with WorkerPool(run, 1, 60, more_seconds=lambda job: job.open_seconds) as pool:
        yield pool


@pytest.fixture
def objects(world, tmp_path):
    return ObjectStore.from_settings(world.settings.model_copy(update={"object_store_url": f"file://{tmp_path}/o"}))


@pytest.fixture
def referred(received_image, objects):
    """Makes the event of a number whose object is in the store; the objects differ, their pixels do not."""
    content = Path(get_testdata_file("CT_small.dcm", download=False)).read_bytes()

    def make(number: int):
        ref = objects.put(
            content, bytes([0xFC, 0xFF, 0xFC, 0xFF]), b"OB\0\0", (2).to_bytes(4, "little"), b"%02d" % number
        )
        return received_image(b"", payload_ref=ref, event_id=image_event_id(number.to_bytes(32, "big"))).event

    return make


@pytest.fixture
def preprocess(world, pool, objects):
    stage = PreprocessStage(load_bundle("default").spec, pool.map, objects)
    return StageRunner(stage, world.settings, world.codec, clients=world.clients)


def path_of(tmp_path: Path, event) -> Path:
    return tmp_path / "o" / name_of(event.payload_ref.sha256)


def test_missing_and_altered_objects_are_dead_letters_and_the_others_go_through(world, preprocess, referred, tmp_path):
    events = [referred(number) for number in range(6)]
    path_of(tmp_path, events[1]).unlink()
    altered = path_of(tmp_path, events[4])
    altered.write_bytes(altered.read_bytes().replace(b"CompressedSamples", b"cOMPRESSEDsAMPLES"))
    world.publish(IMAGES, events)
    with world.running(preprocess) as until:
        until(lambda: len(world.events(PREPROCESSED)) + len(world.events(DEAD_LETTERS)) >= 6)
    letters = {letter.source_event_id: letter for letter in world.events(DEAD_LETTERS)}
    assert {event_id: letter.error_class for event_id, letter in letters.items()} == {
        events[1].event_id: "object_missing",
        events[4].event_id: "object_altered",
    }
    assert "Samples" not in str(letters)
    assert events[1].payload_ref.sha256.hex() in letters[events[1].event_id].reason
    images = world.events(PREPROCESSED)
    assert Counter(image.source.event_id for image in images) == {events[n].event_id: 1 for n in (0, 2, 3, 5)}
    assert {image.status for image in images} == {PixelStatus.PIXELS}


def test_while_the_store_is_away_nothing_is_lost_or_rejected(world, preprocess, referred, tmp_path, monkeypatch):
    monkeypatch.setattr("stream_processors.preprocess.STORE_SECONDS", 0.05)
    events = [referred(number) for number in range(3)]
    asked, decode = [], preprocess._transform._stage._decode

    def counting(jobs):
        results = decode(jobs)
        asked.append(results)
        return results

    monkeypatch.setattr(preprocess._transform._stage, "_decode", counting)
    (tmp_path / "o").rename(tmp_path / "away")
    world.publish(IMAGES, events)
    with world.running(preprocess) as until:
        until(lambda: len(asked) >= 3)
        assert not world.events(PREPROCESSED)
        (tmp_path / "away").rename(tmp_path / "o")
        until(lambda: len(world.events(PREPROCESSED)) >= 3)
    assert not world.events(DEAD_LETTERS)
    assert Counter(image.source.event_id for image in world.events(PREPROCESSED)) == {e.event_id: 1 for e in events}
