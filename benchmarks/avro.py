"""Avro through the registry codec, events of 50 kB and 7 MB, against confluent-kafka's serializers and a plain copy.

    make peers
    .venv/bin/python benchmarks/avro.py --json build/bench/avro.json

Ours goes from a validated event to bytes and back to one. Theirs goes from a plain class and back, validating nothing.
Registries of both are in memory. The plain copy is that of the payload into new memory.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.resources import as_file, files
from pathlib import Path

from measure import Comparison, Result, Turn, per_second, take_turns
from peer import Peer, peer
from report import Options, run

from schemas.codec import Codec
from schemas.events import ImageEvent, ImageSource, SourceKind, image_event_id
from schemas.registry import MemoryRegistry
from schemas.topics import IMAGES

SIZES = {"50 kB": (50_000, 20_000), "7 MB": (7_000_000, 1000)}
"""Bytes of the payload, and how often a turn does the work: some tenths of a second, since shorter turns were noise."""
GOAL, FLOOR = 1.0, 0.7
COPY_GOAL, COPY_FLOOR = 0.5, 0.25

Work = Callable[[], object]


def measure(options: Options) -> Iterator[Result]:
    """Encode and decode at each size, and at the larger one both against a copy."""
    codec = Codec(MemoryRegistry(), "imaging.")
    schema = files("schemas") / "avro" / f"{IMAGES.schema}.avsc"
    with peer("serializers") as theirs, tempfile.TemporaryDirectory() as folder, as_file(schema) as schema_file:
        for size, (length, repeats) in SIZES.items():
            event = _event(length)
            value = codec.encode(IMAGES, event)
            file = Path(folder) / size
            file.write_bytes(value)
            works: dict[str, Work] = {
                "encode": lambda event=event: codec.encode(IMAGES, event),
                "decode": lambda value=value: codec.decode(IMAGES, value),
            }
            _demand_the_same(theirs, size, file=str(file), schema=str(schema_file))
            for what, work in works.items():
                ours = _turn(work, repeats)
                if options.wanted(f"{what} {size}"):
                    other = theirs.turn(what, file=str(file), schema=str(schema_file), repeats=repeats)
                    yield _compared(f"{what} {size}", ours, "confluent-kafka", other, options, GOAL, FLOOR)
                if size == "7 MB" and options.wanted(f"{what} {size}, a copy"):
                    copy = _turn(lambda payload=event.payload: bytes(memoryview(payload)), repeats)
                    name = f"{what} {size}, a copy"
                    yield _compared(name, ours, "copy of the payload", copy, options, COPY_GOAL, COPY_FLOOR)


def _turn(work: Work, repeats: int) -> Turn:
    return per_second(lambda: [None for _ in range(repeats) if work() is None], repeats)


def _compared(
    name: str, ours: Turn, against: str, theirs: Turn, options: Options, goal: float, floor: float
) -> Comparison:
    sides = {"radiolog": ours, against: theirs}
    return Comparison(name, "events/s", *sides, take_turns(sides, options.turns), goal=goal, floor=floor)


def _demand_the_same(theirs: Peer, size: str, **where: str) -> None:
    if not theirs.ask("prepare", **where)["same"]:
        raise SystemExit(f"{size}: the two sides write different bytes of the same event")


def _event(length: int) -> ImageEvent:
    sha256, then = os.urandom(32), datetime.now(UTC)
    return ImageEvent(
        event_id=image_event_id(sha256),
        code_version="1",
        study_uid="2.25.113759233568218417912153410129311290477",
        patient_pseudonym="P-0123456789abcdef",
        series_uid="2.25.220349134412793271913203213231791347123",
        sop_instance_uid="2.25.302131239129381239123812931239012312312",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CR",
        body_part="CHEST",
        view_position="PA",
        deidentification="basic profile",
        source=ImageSource(kind=SourceKind.C_STORE, peer="MODALITY", adapter="dicom"),
        received_at=then,
        published_at=then,
        received_bytes=length,
        received_sha256=sha256,
        payload=os.urandom(length),
    )


if __name__ == "__main__":
    sys.exit(run(__doc__, measure))
