"""The whole twin: a broker, and the clients that speak to it."""

from collections.abc import Callable

from confluent_kafka import KafkaError

from radiolog.log.api import Consumer, Producer
from radiolog.log.memory.broker import Broker
from radiolog.log.memory.consumer import MemoryConsumer
from radiolog.log.memory.group import Group
from radiolog.log.memory.producer import MemoryProducer


class MemoryLog(Broker):
    """A broker that makes its own clients, as `radiolog.log.api.Clients` asks."""

    def member(self, group: str, instance: str) -> Consumer:
        """A consumer that shares topics with its group."""
        return MemoryConsumer(self, self.group(group), instance)

    def reader(self) -> Consumer:
        """A consumer that reads what it is assigned and commits nothing; it reports the end of each partition."""
        return MemoryConsumer(self, Group("reader"), "reader", reports_end=True)

    def holder(self, group: str, instance: str) -> str:
        """The member id of the static member that bears this name in the group now; empty if none does."""
        return self.group(group).holder(instance)

    def observer(self) -> Consumer:
        """A consumer for questions alone: its watermarks count what open transactions hold, too."""
        return MemoryConsumer(self, Group("observer"), "observer", counts_open=True)

    def producer(self, on_error: Callable[[KafkaError], None]) -> Producer:
        """A producer for adapters; nothing here goes wrong without a record, so `on_error` hears nothing."""
        return MemoryProducer(self)

    def transactional_producer(self, transactional_id: str) -> Producer:
        """A producer for a stage."""
        return MemoryProducer(self, self.session(transactional_id))
