"""Follows topics as they grow: for live views, never for work that must not miss a record."""

import threading
from collections.abc import Iterator, Sequence

from confluent_kafka import KafkaException, TopicPartition

from radiolog.log.clients import KafkaClients
from radiolog.log.errors import kafka_error, translated
from radiolog.log.replay import pin
from radiolog.log.stage import Received
from radiolog.log.transform import decoded_by
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import Event
from schemas.topics import Topic

POLL_SECONDS = 0.1


class Follower:
    """Sees what is committed to `topics` from the moment that this is made.

    Raises:
        LogError: the broker can't be reached, or lacks a topic.
    """

    def __init__(self, settings: Settings, codec: Codec, topics: Sequence[Topic[Event]]) -> None:
        self._codec = codec
        self._topics = {topic.full_name(settings.topic_prefix): topic for topic in topics}
        ends = [
            TopicPartition(name, partition, offset)
            for name, topic in self._topics.items()
            for partition, offset in pin(settings, topic).end.items()
        ]
        self._consumer = KafkaClients(settings).reader()
        self._consumer.assign(ends)

    def events(self, stop: threading.Event) -> Iterator[tuple[Topic[Event], Received[Event]]]:
        """The events, as they come, until `stop` is set; unreadable ones are left to the stages."""
        try:
            while not stop.is_set():
                message = self._consumer.poll(POLL_SECONDS)
                if message is None or message.error() is not None:
                    continue
                topic = self._topics[str(message.topic())]
                item = decoded_by(self._codec, topic, message)
                if isinstance(item, Received):
                    yield topic, item
        except KafkaException as exception:
            raise translated(kafka_error(exception)) from exception
        finally:
            self._consumer.close()
