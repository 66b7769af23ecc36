"""What the stages of a peer's pipeline do to an event, as a user would write it; every peer does the same.

Events are dictionaries, from Confluent's Avro classes or to them. The picture is made as pydicom's and scikit-image's
guides show (`pixels`), with no crop, and of what the network says the probabilities, decisions and maps are kept, a row
an image. Nothing is validated, traced, counted or rejected, and nothing tells where an event came from.
"""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
from pixels import model_input

Event = dict[str, Any]

SUBJECT = ("image", "patient_pseudonym", "study_uid")
PREPROCESSED = {
    "type": "record",
    "name": "Preprocessed",
    "fields": [*({"name": name, "type": "string"} for name in SUBJECT), {"name": "pixels", "type": "bytes"}],
}
DIAGNOSIS = {
    "type": "record",
    "name": "Diagnosis",
    "fields": [
        *({"name": name, "type": "string"} for name in SUBJECT),
        {"name": "probabilities", "type": {"type": "array", "items": "double"}},
        {"name": "decisions", "type": {"type": "array", "items": "string"}},
        {"name": "maps", "type": "bytes"},
        {"name": "lungs", "type": "bytes"},
    ],
}


@dataclass(frozen=True)
class Place:
    """Where the pipeline runs, as `benchmarks/frameworks.py` says it.

    Attributes:
        name: of the peer; its topics, groups and its table are named so.
        bootstrap: servers of Kafka.
        registry: address of the schema registry.
        database: address of PostgreSQL.
        bundle: of the model.
        compiled: folder of compiled programs.
        ordinal: of this process among those of its stage.
    """

    name: str
    bootstrap: str
    registry: str
    database: str
    bundle: str
    compiled: str
    ordinal: int

    def topic(self, name: str) -> str:
        """Its full name."""
        return f"{self.name}.{name}"


def preprocess(image: Event) -> Event:
    """A picture for the network, of a DICOM object."""
    return {
        "image": str(image["event_id"]),
        "patient_pseudonym": image["patient_pseudonym"],
        "study_uid": image["study_uid"],
        "pixels": model_input(image["payload"], "").tobytes(),
    }


def inference(place: Place, sizes: Sequence[int] | None) -> Callable[[Sequence[Event]], list[Event]]:
    """The stage that asks the network, which is ready."""
    from network import Network

    network = Network(place.bundle, Path(place.compiled), sizes)

    def read(events: Sequence[Event]) -> list[Event]:
        readings = network.read([event["pixels"] for event in events])
        return [_diagnosis(event, reading) for event, reading in zip(events, readings, strict=True)]

    return read


def _diagnosis(event: Event, reading: Any) -> Event:
    return {
        **{name: event[name] for name in SUBJECT},
        "probabilities": [finding.probability for finding in reading.findings],
        "decisions": [str(finding.decision) for finding in reading.findings],
        "maps": _grey(reading.maps),
        "lungs": _grey(reading.lungs),
    }


def _grey(values: Any) -> bytes:
    return b"" if values is None else (np.clip(values, 0.0, 1.0) * 255).astype(np.uint8).tobytes()


class Table:
    """Rows of diagnoses; one that is there already is left alone, since a sink that is repeated inserts it again."""

    def __init__(self, place: Place) -> None:
        self._insert = (
            f"insert into {place.name} (image, patient_pseudonym, study_uid, probabilities, decisions, maps, lungs)"  # noqa: S608
            " values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing"
        )
        self._runner = asyncio.Runner()
        self._connection = self._runner.run(asyncpg.connect(place.database))

    def insert(self, events: Sequence[Event]) -> None:
        """All of them, or none."""
        names = (*SUBJECT, "probabilities", "decisions", "maps", "lungs")
        rows = [tuple(event[name] for name in names) for event in events]
        self._runner.run(self._connection.executemany(self._insert, rows))


def main(stages: Mapping[str, Callable[[Place], None]]) -> None:
    """Runs the stage that the command line names, until standard input is closed."""
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    stages[sys.argv[1]](Place(**json.loads(sys.argv[2])))


def _end_with_the_input() -> None:
    sys.stdin.read()
    os._exit(0)
