"""Keeps a consumer in its group while its messages are worked on.

A member that does not poll for `max.poll.interval.ms` is taken for dead: its partitions go to others, and its work was
for nothing. So work that takes long is attended: with all partitions paused, `poll` is called from another thread
until the work is done. A rebalance is then met at once, whatever the work is busy with, and nothing more is fetched.

A pause outlives the assignment: a partition that goes to another member and comes back later is still paused. So all
that was paused is resumed in the end, and not only what is assigned then.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaException, Message, TopicPartition

from radiolog.health import Health
from radiolog.log.alarm import Alarm, Over
from radiolog.log.api import Consumer
from radiolog.log.errors import LogError, LogUnavailable, kafka_error, translated

GRACE_SECONDS = 5.0
TICK_SECONDS = 1.0
POLL_SECONDS = 0.1


class Attendant:
    """Polls for a consumer whose owner is at work; without need it costs nothing, and pauses nothing."""

    def __init__(self, consumer: Consumer, health: Health) -> None:
        self._consumer = consumer
        self._health = health
        self._failure: LogError | None = None
        self._alarm = Alarm("attendant", self._attend, TICK_SECONDS)

    @contextmanager
    def attending(self) -> Iterator[None]:
        """Work that may take as long as it likes.

        Raises:
            LogError: the group does not want this member any more.
        """
        with self._alarm.after(GRACE_SECONDS):
            yield
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Ends its thread."""
        self._alarm.close()

    def _attend(self, over: Over) -> None:
        try:
            attend(self._consumer, over, self._health.beat)
        except LogError as error:
            self._failure = error


def attend(consumer: Consumer, over: Over, beat: Callable[[], None] = lambda: None) -> None:
    """Keeps the member in its group, and lets nothing new in, until `over`.

    Raises:
        LogError: the group does not want this member any more.
    """
    try:
        consumer.pause(paused := consumer.assignment())
        while not over():
            beat()
            if (message := consumer.poll(POLL_SECONDS)) is not None:
                paused += _put_off(consumer, message)
        consumer.resume(paused)
    except KafkaException as exception:
        raise translated(kafka_error(exception)) from exception


def _put_off(consumer: Consumer, message: Message) -> list[TopicPartition]:
    """What had to be paused for a message: it is of a partition that was assigned meanwhile, and comes again."""
    if (error := message.error()) is None:
        at = TopicPartition(str(message.topic()), int(message.partition() or 0), int(message.offset() or 0))
        consumer.pause([at])
        consumer.seek(at)
        return [at]
    if not isinstance(known := translated(error), LogUnavailable):
        raise known
    return []
