"""The pipeline as plain loops of confluent-kafka: its example of consume, transform and produce in a transaction.

Where the example polls one message at a time, this takes some at once, which costs less and gives the network batches.
The sink inserts rows and then commits its offsets.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from pipeline_work import DIAGNOSIS, PREPROCESSED, Event, Place, Table, inference, main, preprocess

BATCHES = {"preprocess": 8, "inference": 32, "sink": 256}
WAIT_SECONDS = 0.05


class Source:
    """A stage's end of its topic."""

    def __init__(self, place: Place, stage: str, topic: str) -> None:
        self._batch = BATCHES[stage]
        self._deserialize = AvroDeserializer(SchemaRegistryClient({"url": place.registry}))
        self._context = SerializationContext(place.topic(topic), MessageField.VALUE)
        self.consumer = Consumer(
            {
                "bootstrap.servers": place.bootstrap,
                "group.id": f"{place.name}-{stage}",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        self.consumer.subscribe([place.topic(topic)])

    def take(self) -> tuple[list[Message], list[Event]]:
        """Messages and what they hold; none if none came."""
        messages = self.consumer.consume(self._batch, WAIT_SECONDS)
        for message in messages:
            if message.error():
                raise RuntimeError(str(message.error()))
        return messages, [self._deserialize(message.value(), self._context) for message in messages]


def transform(
    place: Place, stage: str, source: str, target: str, schema: Any, work: Callable[[Sequence[Event]], list[Event]]
) -> None:
    """Consumes, transforms and produces, in transactions."""
    topic = place.topic(target)
    serialize = AvroSerializer(SchemaRegistryClient({"url": place.registry}), json.dumps(schema))
    context = SerializationContext(topic, MessageField.VALUE)
    producer = Producer(
        {"bootstrap.servers": place.bootstrap, "transactional.id": f"{place.name}-{stage}-{place.ordinal}"}
    )
    producer.init_transactions()
    taken = Source(place, stage, source)
    consumer = taken.consumer
    while True:
        messages, events = taken.take()
        if not messages:
            continue
        producer.begin_transaction()
        for message, result in zip(messages, work(events), strict=True):
            producer.produce(topic, key=message.key(), value=serialize(result, context))
        producer.send_offsets_to_transaction(
            consumer.position(consumer.assignment()), consumer.consumer_group_metadata()
        )
        producer.commit_transaction()


def run_preprocess(place: Place) -> None:
    """Images to pictures."""
    transform(
        place, "preprocess", "images", "preprocessed", PREPROCESSED, lambda events: [preprocess(one) for one in events]
    )


def run_inference(place: Place) -> None:
    """Pictures to diagnoses, those of a batch together."""
    transform(place, "inference", "preprocessed", "diagnoses", DIAGNOSIS, inference(place, None))


def run_sink(place: Place) -> None:
    """Diagnoses to rows."""
    table, source = Table(place), Source(place, "sink", "diagnoses")
    while True:
        messages, events = source.take()
        if messages:
            table.insert(events)
            source.consumer.commit(asynchronous=False)


if __name__ == "__main__":
    main({"preprocess": run_preprocess, "inference": run_inference, "sink": run_sink})
