"""The broker's side: topics, transactional ids and groups, and what befalls them."""

import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from secrets import token_hex

from confluent_kafka import KafkaError, Message

from radiolog.log.api import Headers
from radiolog.log.memory.failures import failure
from radiolog.log.memory.group import Group, Place
from radiolog.log.memory.partition import Entry, Outcome, Partition, Transaction

Interference = Callable[[str], None]
"""Called with the name of a client's call just before it takes effect, and with `<name> done` just after; it may raise
`KafkaException`, as a client does whose request, or whose answer, is lost."""


@dataclass(eq=False)
class Session:
    """A transactional id, as the last producer that took it knows it: who bears an older epoch is fenced."""

    epoch: int = 0
    transaction: Transaction | None = None


class Broker:
    """What the clients of one log share.

    Args:
        patience: The longest that a client's poll waits, in seconds, whatever it is told.
        max_message_bytes: Largest record.
    """

    def __init__(self, patience: float = 1.0, max_message_bytes: int = 1 << 30) -> None:
        self.patience = patience
        self.max_message_bytes = max_message_bytes
        self.cluster_id = token_hex(8)
        self.interfere: Interference = lambda call: None
        self.changed = threading.Condition()
        self._topics: dict[str, list[Partition]] = {}
        self._groups: dict[str, Group] = {}
        self._sessions: dict[str, Session] = {}

    def create(self, topic: str, partitions: int = 2) -> None:
        """Makes a topic."""
        self._topics[topic] = [Partition() for _ in range(partitions)]

    def evict(self, group: str, instance: str) -> None:
        """What the coordinator does when a member's session times out."""
        with self.changed:
            self.group(group).remove(instance, self.places())
            self.changed.notify_all()

    def expire(self, transactional_id: str) -> None:
        """What the coordinator does when a transaction takes too long: aborts it, and fences its producer."""
        with self.changed:
            session = self._sessions.get(transactional_id)
            if session is not None and session.transaction is not None:
                session.epoch += 1
                self.settle(session, Outcome.ABORTED)

    def delete_before(self, place: Place, offset: int) -> None:
        """What a topic's retention does: the records before the offset are gone, and the others keep theirs."""
        with self.changed:
            self.partition(place).oldest = offset
            self.changed.notify_all()

    def commit_on_its_way(self, transactional_id: str) -> Callable[[], None]:
        """A request to commit that the coordinator has yet to see; what is returned lets it arrive."""
        session = self._sessions[transactional_id]
        epoch = session.epoch

        def arrive() -> None:
            if session.epoch == epoch:
                self.settle(session, Outcome.COMMITTED)

        return arrive

    def group(self, name: str) -> Group:
        """The group, made when it is first asked for."""
        return self._groups.setdefault(name, Group(name))

    def session(self, transactional_id: str) -> Session:
        """The session of the id, made when it is first asked for."""
        return self._sessions.setdefault(transactional_id, Session())

    def topic(self, name: str) -> list[Partition]:
        """The partitions of a topic."""
        if name not in self._topics:
            raise failure(KafkaError.UNKNOWN_TOPIC_OR_PART, f"no topic {name}")
        return self._topics[name]

    def partition(self, place: Place) -> Partition:
        """One partition."""
        return self.topic(place[0])[place[1]]

    def places(self) -> set[Place]:
        """All partitions."""
        return {(topic, number) for topic, partitions in self._topics.items() for number in range(len(partitions))}

    def append(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers | None, of: Transaction | None
    ) -> Message:
        """Writes a record, where its key belongs; gives what its delivery report says."""
        if len(value or b"") > self.max_message_bytes:
            raise failure(KafkaError.MSG_SIZE_TOO_LARGE, f"{len(value or b'')} bytes")
        with self.changed:
            number = zlib.crc32(key or b"") % len(self.topic(topic))
            partition = self.partition((topic, number))
            if of is not None:
                of.partitions.add(partition)
            offset = partition.append(Entry(key, value, headers, of))
            self.changed.notify_all()
        return Message(topic=topic, partition=number, offset=offset, key=key, value=value, headers=headers)

    def settle(self, session: Session, outcome: Outcome) -> None:
        """Ends the session's transaction, if one is open."""
        with self.changed:
            if session.transaction is not None:
                session.transaction.end(outcome)
                session.transaction = None
            self.changed.notify_all()
