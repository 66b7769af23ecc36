"""The twin of `confluent_kafka.Producer`."""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import KafkaError, Message, TopicPartition

from radiolog.log.api import Delivered, Headers
from radiolog.log.memory.broker import Broker, Session
from radiolog.log.memory.failures import failure
from radiolog.log.memory.group import GroupMetadata, Place
from radiolog.log.memory.partition import Outcome, Transaction


class MemoryProducer:
    """Writes records, one by one or, with a `session`, in transactions."""

    def __init__(self, broker: Broker, session: Session | None = None) -> None:
        self._broker = broker
        self._session = session
        self._epoch = -1
        self._reports: deque[Callable[[], None]] = deque()  # threads produce while another polls

    def produce(
        self,
        topic: str,
        value: str | bytes | None = None,
        key: str | bytes | None = None,
        *,
        on_delivery: Delivered | None = None,
        headers: Headers | None = None,
    ) -> None:
        """Writes at once; the delivery report waits for `poll` or `flush`."""
        with self._call("produce"):
            transaction = self._open() if self._session is not None else None
            message = self._broker.append(topic, _encoded(key), _encoded(value), headers, transaction)
            if on_delivery is not None:
                self._reports.append(_report(on_delivery, message))

    def poll(self, timeout: float = -1) -> int:
        """Serves the delivery reports; waits a little for more, as a client does."""
        if not self._reports:
            with self._broker.changed:
                self._broker.changed.wait(min(max(timeout, 0), self._broker.patience))
        served = 0
        while self._reports:
            self._reports.popleft()()
            served += 1
        return served

    def flush(self, timeout: float = -1) -> int:
        """Serves the delivery reports; nothing is left behind."""
        if self._reports:
            self.poll(0)
        return 0

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> Any:
        """An answer, and no more: producers ask only whether there is one."""
        self._broker.interfere("list_topics")

    def init_transactions(self, timeout: float = -1) -> None:
        """Fences who had the transactional id, and aborts what it left open."""
        with self._call("init_transactions"), self._broker.changed:
            session = self._its_session()
            session.epoch += 1
            self._epoch = session.epoch
            self._broker.settle(session, Outcome.ABORTED)

    def begin_transaction(self) -> None:
        """Begins."""
        with self._call("begin_transaction"), self._broker.changed:
            session = self._live_session()
            if session.transaction is not None:
                raise failure(KafkaError._STATE, "a transaction is open already")
            session.transaction = Transaction()

    def send_offsets_to_transaction(
        self, positions: list[TopicPartition], group_metadata: Any, timeout: float = -1
    ) -> None:
        """Makes the group's offsets part of the transaction, if the member may still speak for the group."""
        claim: GroupMetadata = group_metadata
        offsets: dict[Place, int] = {(tp.topic, tp.partition): tp.offset for tp in positions}
        with self._call("send_offsets_to_transaction"), self._broker.changed:
            group = self._broker.group(claim.group)
            group.check(claim)
            self._open().offsets.append(group.pend(offsets))

    def commit_transaction(self, timeout: float = -1) -> None:
        """All of it counts."""
        self._end("commit_transaction", Outcome.COMMITTED)

    def abort_transaction(self, timeout: float = -1) -> None:
        """None of it counts."""
        self._end("abort_transaction", Outcome.ABORTED)

    def _end(self, call: str, outcome: Outcome) -> None:
        with self._call(call), self._broker.changed:
            self._open()
            self._broker.settle(self._its_session(), outcome)

    def _open(self) -> Transaction:
        transaction = self._live_session().transaction
        if transaction is None:
            raise failure(KafkaError._STATE, "no transaction is open")
        return transaction

    def _its_session(self) -> Session:
        if self._session is None:
            raise failure(KafkaError._NOT_CONFIGURED, "the producer has no transactional id")
        return self._session

    def _live_session(self) -> Session:
        session = self._its_session()
        if session.epoch != self._epoch:
            raise failure(KafkaError.PRODUCER_FENCED, "a newer producer has this transactional id", fatal=True)
        return session

    @contextmanager
    def _call(self, name: str) -> Iterator[None]:
        self._broker.interfere(name)
        yield
        self._broker.interfere(f"{name} done")


def _encoded(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _report(on_delivery: Delivered, message: Message) -> Callable[[], None]:
    return lambda: on_delivery(None, message)
