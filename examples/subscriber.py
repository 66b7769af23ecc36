"""Prints each diagnosis as it is made, a JSON object a line. Needs confluent-kafka[avro,schemaregistry], no radiolog.

RADIOLOG_BOOTSTRAP_SERVERS and RADIOLOG_SCHEMA_REGISTRY_URL say where to listen; Ctrl-C ends it.
"""

import json
from contextlib import closing, suppress
from os import environ

from confluent_kafka import Consumer, KafkaException
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

TOPIC = environ.get("RADIOLOG_TOPIC_PREFIX", "imaging.") + "diagnoses"
REGISTRY = environ.get("RADIOLOG_SCHEMA_REGISTRY_URL", "http://127.0.0.1:8081/apis/ccompat/v7")
SHOWN = ("name", "decision", "probability", "severity")

decode = AvroDeserializer(SchemaRegistryClient({"url": REGISTRY}))
consumer = Consumer(
    {
        "bootstrap.servers": environ.get("RADIOLOG_BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
        "group.id": "example-subscriber",
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",  # what an aborted transaction wrote never shows
        "enable.auto.offset.store": False,  # a diagnosis is done when it is printed, not when it is fetched
    }
)
consumer.subscribe([TOPIC])
with closing(consumer), suppress(KeyboardInterrupt):
    while True:
        if (message := consumer.poll(1.0)) is None:
            continue
        if message.error():
            raise KafkaException(message.error())
        event = decode(message.value(), SerializationContext(TOPIC, MessageField.VALUE))
        findings = [{key: found[key] for key in SHOWN} for found in event["findings"]]
        line = {"image": str(event["image"]["event_id"]), "status": event["status"], "findings": findings}
        print(json.dumps(line), flush=True)
        consumer.store_offsets(message)
