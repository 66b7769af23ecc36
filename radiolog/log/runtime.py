"""Runs a stage exactly once per record: consume, transform and produce in Kafka transactions (KIP-447).

The order of one round, which is what the guarantee rests on:

1. Take a batch of committed records: capped by count, bytes and time, and the only one in flight.
2. Decode it and let the stage turn each event into an `Emit` or a `Reject`. However long that takes, the group keeps
   this member (`attendant`). Records whose partition is taken away meanwhile leave the batch, whatever came of them.
3. In one transaction: produce what was emitted and the dead letters, and send the batch's offsets.
4. If that did not settle, go back to the offsets that the group has committed and start again at 1.

No transaction is open between rounds, so a rebalance, which is only ever met in 1 and 2, finds none to finish, and is
held up by one transaction at most. While the log, the registry or something that the stage needs does not answer, the
instance waits where it is.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog
from confluent_kafka import Message, TopicPartition

from radiolog.health import Health
from radiolog.log.api import Clients
from radiolog.log.attendant import Attendant
from radiolog.log.batching import Batcher, BatchLimits, next_offsets, rewind
from radiolog.log.clients import KafkaClients
from radiolog.log.errors import LogUnavailable
from radiolog.log.lag import LagReader, PartitionLag
from radiolog.log.lag_meter import LagMeter
from radiolog.log.membership import Membership, Seat, keep
from radiolog.log.metrics import PROCESS, Metrics, StageMetrics
from radiolog.log.stage import Stage, StageUnavailable
from radiolog.log.transactions import Transactions, Unsettled
from radiolog.log.transform import Done, Transform
from radiolog.settings import Settings
from schemas.codec import Codec
from schemas.events import Event
from schemas.registry import RegistryUnavailable

E = TypeVar("E", bound=Event)

LONGEST_PAUSE_SECONDS = 5.0
UNAVAILABLE_SECONDS = 1.0

log = structlog.get_logger()


class StageRunner(Generic[E]):
    """One instance of a stage.

    Args:
        stage: What to do with each batch.
        settings: Names and limits of the log.
        codec: Between records and events.
        ordinal: Which of the stage's live instances this is; unique among them and the same after a restart, since
            the transactional id and the group membership are made of it.
        limits: When a batch is full.
        clients: How to reach the log; by default Kafka, where the settings say.
        metrics: Where it counts.
    """

    def __init__(
        self,
        stage: Stage[E],
        settings: Settings,
        codec: Codec,
        *,
        ordinal: int = 0,
        limits: BatchLimits | None = None,
        clients: Clients | None = None,
        metrics: Metrics = PROCESS,
    ) -> None:
        self._stage = stage
        self._settings = settings
        self._transform = Transform(stage, settings, codec)
        self._seat = Seat.of(stage.name, ordinal, settings.app)
        self._limits = limits or BatchLimits()
        self._clients = clients or KafkaClients(settings)
        self._metrics = StageMetrics(stage.name, metrics)

    def run(self, stop: threading.Event, health: Health) -> None:
        """Works until `stop` is set, then finishes the batch in hand and leaves.

        Its partitions wait for it for the session timeout, since it is a static member: a restart finds them again.

        Raises:
            Fenced: another instance with the same ordinal is running.
            LogError: the log refuses this stage.
        """
        try:
            keep(lambda: self.join(stop, health), stop)
        except LogUnavailable:
            if not stop.is_set():
                raise

    def join(self, stop: threading.Event, health: Health) -> "StageMember":
        """The instance in its group; waits for the log until `stop` is set, then raises `LogUnavailable`."""
        source = self._stage.source.full_name(self._settings.topic_prefix)
        return StageMember(
            self._transform, self._clients, self._seat, source, self._limits, self._lags, stop, health, self._metrics
        )

    def _lags(self) -> list[PartitionLag]:
        """What waits for the stage, as new clients see it."""
        with LagReader(self._settings, self._clients) as reader:
            return reader.of_stage(self._stage.name, self._stage.source)


class StageMember:
    """A stage's instance while it is a member of its group."""

    def __init__(
        self,
        transform: Callable[[Sequence[Message]], list[Done]],
        clients: Clients,
        seat: Seat,
        source: str,
        limits: BatchLimits,
        lags: Callable[[], Sequence[PartitionLag]],
        stop: threading.Event,
        health: Health,
        metrics: StageMetrics,
    ) -> None:
        self._transform = transform
        self._stop = stop
        self._health = health
        self._metrics = metrics
        self._failures = 0
        self._log = log.bind(instance=seat.instance)
        self._transactions = Transactions(
            lambda: clients.transactional_producer(seat.instance), stop, health.unready, metrics.ended
        )
        self._consumer = clients.member(seat.group, seat.instance)
        self._attendant = Attendant(self._consumer, health)
        self._lag = LagMeter(self._consumer, metrics)
        self.membership = Membership(seat, clients, self._consumer, source, lags, health)
        self._batcher = Batcher(self._consumer, [source], limits, self._assigned)

    def round(self) -> None:
        """One round, as the module's text numbers its steps; nothing if no record comes for a moment.

        Raises:
            Fenced: another instance with the same ordinal is running.
            LogError: the log refuses this stage.
        """
        self._health.beat()
        self._lag.measure()
        batch = self._batcher.take()
        if not batch:
            self.membership.look()
            return
        self._lag.took(batch)
        try:
            with self._metrics.batch(batch):
                self._settle(self._worked_on(batch))
        except (Unsettled, StageUnavailable, RegistryUnavailable) as error:
            self._failures += 1
            self._metrics.repeated(error)
            self._log.warning("batch will be repeated", cause=type(error).__name__, failures=self._failures)
            self._health.unready(f"the last batch did not go through ({type(error).__name__})")
            self._stop.wait(_pause(error, self._failures))
            self._go_back(next_offsets(batch))

    def close(self) -> None:
        """Lets go of the log."""
        self._attendant.close()
        self._consumer.close()
        self._transactions.close()

    def _assigned(self, *_: object) -> None:
        self.membership.assigned()
        self._health.ready()

    def _worked_on(self, batch: Sequence[Message]) -> list[Done]:
        """What came of those records of the batch that are still this member's."""
        with self._metrics.processing.time(), self._attendant.attending():
            done = self._transform(batch)
        kept = [one for one in done if self._batcher.has(one.message)]
        if gone := len(done) - len(kept):
            self._log.warning("records were taken away during work", records=gone)
        return kept

    def _settle(self, done: Sequence[Done]) -> None:
        if done:
            records = [record for one in done for record in one.records]
            offsets = next_offsets([one.message for one in done])
            with self._metrics.transaction.time():
                self._transactions.run(records, offsets, self._consumer.consumer_group_metadata())
            self._lag.settled(offsets)
            self.membership.proven()
        if self._failures:
            self._failures = 0
            self._health.ready()
        for one in done:
            self._count(one)
            if one.rejected is None:
                self._log.info("processed", **one.log_fields)
            else:
                self._log.warning("rejected", **one.log_fields)

    def _count(self, done: Done) -> None:
        error_class = None if done.rejected is None else done.rejected.error_class
        self._metrics.settled(len(done.records), error_class, done.received_at)

    def _go_back(self, offsets: list[TopicPartition]) -> None:
        while not self._stop.is_set():
            try:
                rewind(self._consumer, offsets)
                return
            except LogUnavailable as error:
                self._log.warning("the log does not answer", cause=str(error))
                self._health.unready("the log does not answer")
                self._stop.wait(UNAVAILABLE_SECONDS)


def _pause(error: Exception, failures: int) -> float:
    if isinstance(error, StageUnavailable):
        return error.retry_after
    return float(min(LONGEST_PAUSE_SECONDS, 0.05 * 2 ** min(failures, 10)))
