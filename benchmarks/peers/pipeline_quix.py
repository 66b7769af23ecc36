"""The pipeline on Quix Streams, exactly once, a StreamingDataFrame for each stage as its guide shows.

Its checkpoints come every five seconds by default, and each stage would wait for that of the one before; here they come
after some messages, or soon after the last one. A function gets one message, so that the network gets one picture.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline_work import DIAGNOSIS, PREPROCESSED, Event, Place, Table, inference, main, preprocess
from quixstreams import Application
from quixstreams.models.serializers.avro import AvroDeserializer, AvroSerializer
from quixstreams.models.serializers.schema_registry import SchemaRegistryClientConfig
from quixstreams.sinks import BatchingSink, SinkBatch

CHECKPOINTS = {"preprocess": 8, "inference": 32, "sink": 256}
WAIT_SECONDS = 0.05
CHECKPOINT_SECONDS = 0.25


class Rows(BatchingSink):
    """Inserts what came since the last checkpoint."""

    def __init__(self, table: Table) -> None:
        super().__init__()
        self._table = table

    def write(self, batch: SinkBatch) -> None:
        """Those of one partition."""
        self._table.insert([item.value for item in batch])


def application(place: Place, stage: str) -> Application:
    """One stage, exactly once."""
    return Application(
        broker_address=place.bootstrap,
        consumer_group=f"{place.name}-{stage}",
        auto_offset_reset="earliest",
        processing_guarantee="exactly-once",
        commit_every=CHECKPOINTS[stage],
        commit_interval=CHECKPOINT_SECONDS,
        consumer_poll_timeout=WAIT_SECONDS,
        auto_create_topics=False,
        state_dir=Path(place.compiled).with_name(f"{place.name}-{stage}-{place.ordinal}"),
    )


def transform(
    place: Place, stage: str, source: str, target: str, schema: Mapping[str, Any], work: Callable[[Event], Event]
) -> None:
    """One topic to another."""
    registry = SchemaRegistryClientConfig(url=place.registry)
    app = application(place, stage)
    read = app.topic(place.topic(source), value_deserializer=AvroDeserializer(schema_registry_client_config=registry))
    serializer = AvroSerializer(schema=schema, schema_registry_client_config=registry)
    written = app.topic(place.topic(target), value_serializer=serializer)
    app.dataframe(read).apply(work).to_topic(written)
    app.run()


def run_preprocess(place: Place) -> None:
    """Images to pictures."""
    transform(place, "preprocess", "images", "preprocessed", PREPROCESSED, preprocess)


def run_inference(place: Place) -> None:
    """Pictures to diagnoses, one at a time."""
    ask = inference(place, (1,))
    transform(place, "inference", "preprocessed", "diagnoses", DIAGNOSIS, lambda event: ask([event])[0])


def run_sink(place: Place) -> None:
    """Diagnoses to rows."""
    app = application(place, "sink")
    deserializer = AvroDeserializer(schema_registry_client_config=SchemaRegistryClientConfig(url=place.registry))
    app.dataframe(app.topic(place.topic("diagnoses"), value_deserializer=deserializer)).sink(Rows(Table(place)))
    app.run()


if __name__ == "__main__":
    main({"preprocess": run_preprocess, "inference": run_inference, "sink": run_sink})
