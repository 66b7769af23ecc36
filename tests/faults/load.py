"""Numbered images for the stages: small and large radiographs, put on the log as an adapter does."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from io import BytesIO

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ComputedRadiographyImageStorage, ExplicitVRLittleEndian

from radiolog.log.clients import KafkaClients
from radiolog.log.errors import LogUnavailable
from radiolog.log.publisher import Fact, KafkaPublisher
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import (
    Event,
    Identity,
    IdentityKind,
    ImageEvent,
    ImageSource,
    SourceKind,
    derived_id,
    image_event_id,
)
from schemas.topics import IDENTITIES, IMAGES, Topic
from tests.faults.checker import Ledger

SMALL, LARGE = 64, 1900
"""Edges in pixels of 2 bytes: 8 kB, and 7.2 MB."""
RESENT_EVERY = 50
CHUNK_IMAGES, CHUNK_BYTES = 50, 60_000_000
"""At most, in one call of the publisher, whose queue is small."""
GIVE_UP_SECONDS = 180.0


@cache
def radiograph(edge: int, seed: int = 0) -> bytes:
    """A chest CR as a Part 10 file, uncompressed: noise on a gradient, 12 bits."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = ComputedRadiographyImageStorage
    meta.MediaStorageSOPInstanceUID = "2.25.1"
    file = FileDataset("", Dataset(), preamble=b"\0" * 128, file_meta=meta)
    rows = np.linspace(500, 3000, edge)[:, None] + np.random.default_rng(seed).integers(0, 900, (edge, edge))
    values = {
        "SOPClassUID": ComputedRadiographyImageStorage,
        "SOPInstanceUID": "2.25.1",
        "StudyInstanceUID": "2.25.2",
        "SeriesInstanceUID": "2.25.3",
        "PatientID": "P-1",
        "Modality": "CR",
        "BodyPartExamined": "CHEST",
        "Rows": edge,
        "Columns": edge,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 12,
        "HighBit": 11,
        "PixelRepresentation": 0,
        "PixelData": rows.astype("<u2").tobytes(),
    }
    for keyword, value in values.items():
        setattr(file, keyword, value)
    file["PixelData"].VR = "OW"
    stream = BytesIO()
    file.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


class Load:
    """Publishes images of ascending numbers, each with an identity, and some of them twice as devices do."""

    def __init__(self, settings: Settings, codec: Codec) -> None:
        self.ledger = Ledger()
        self.numbers = 0
        self._settings = settings
        self._codec = codec
        self._publisher = KafkaPublisher(settings, codec)
        self._lock = threading.Lock()

    @property
    def records(self) -> int:
        """Records of `images` that the broker has acknowledged, broken ones too."""
        return self.ledger.records(IMAGES)

    @property
    def rows(self) -> int:
        """Rows that these records come to."""
        return self.ledger.rows()

    def publish(self, count: int, edge: int = SMALL) -> None:
        """Puts the next `count` images on the log, and returns when it has them."""
        chunk = min(CHUNK_IMAGES, CHUNK_BYTES // (2 * edge * edge))
        for first in range(0, count, chunk):
            self.put([self._image(edge) for _ in range(min(chunk, count - first))])

    def put(self, images: Sequence[ImageEvent]) -> None:
        facts = [Fact(IMAGES, image) for image in images]
        facts += [fact for fact in facts if int.from_bytes(fact.event.received_sha256, "big") % RESENT_EVERY == 7]
        facts += [Fact(IDENTITIES, identity_of(image)) for image in images]
        self.put_facts(facts)

    def put_facts(self, facts: Sequence[Fact]) -> None:
        """All of the facts, again while the log does not answer: as its contract asks of adapters."""
        keys = [(fact.topic.name, fact.event.event_id) for fact in facts]
        deadline, patience = time.monotonic() + GIVE_UP_SECONDS, threading.Event()
        while True:
            self.ledger.ask(keys)
            try:
                self._publisher.publish(facts)
            except LogUnavailable:
                assert time.monotonic() < deadline, "the log does not come back"
                patience.wait(0.5)
            else:
                self.ledger.acknowledge(keys)
                return

    def put_raw(self, topic: Topic[Event], value: bytes) -> None:
        """A record that is no event."""
        producer = KafkaClients(self._settings).producer(lambda error: None)
        producer.produce(topic.full_name(self._settings.topic_prefix), value, "key")
        assert producer.flush(30) == 0
        self.ledger.acknowledge_raw(topic)

    @contextmanager
    def streaming(self, per_second: float) -> Iterator[None]:
        """Publishes from another thread, a few images at a time, until the block ends."""
        stop = threading.Event()

        def stream() -> None:
            while not stop.wait(5 / per_second):
                self.publish(5)

        thread = threading.Thread(target=stream)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def image(self, payload: bytes) -> ImageEvent:
        """The next image, with this payload."""
        with self._lock:
            number, self.numbers = self.numbers, self.numbers + 1
        return image_of(number, payload)

    def close(self) -> None:
        self._publisher.close()

    def _image(self, edge: int) -> ImageEvent:
        return self.image(radiograph(edge, self.numbers % 8 if edge == SMALL else 0))


def image_of(number: int, payload: bytes) -> ImageEvent:
    sha256, now = number.to_bytes(32, "big"), datetime.now(UTC)
    return ImageEvent(
        event_id=image_event_id(sha256),
        code_version="test",
        patient_pseudonym=f"P-{number % 97}",
        study_uid=f"2.25.1{number % 997}",
        series_uid="2.25.2",
        sop_instance_uid=f"2.25.3{number}",
        sop_class_uid=ComputedRadiographyImageStorage,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        modality="CR",
        body_part="CHEST",
        deidentification="test",
        source=ImageSource(kind=SourceKind.FILE, peer="test", adapter="test"),
        received_at=now,
        published_at=now,
        received_bytes=len(payload),
        received_sha256=sha256,
        payload=payload,
    )


def identity_of(image: ImageEvent) -> Identity:
    return Identity(
        event_id=derived_id("identity", image.event_id),
        code_version="test",
        kind=IdentityKind.INSTANCE,
        pseudonym=image.sop_instance_uid,
        attributes={"SOPInstanceUID": image.sop_instance_uid},
        recorded_at=image.received_at,
    )
