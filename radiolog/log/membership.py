"""A reader's place in its consumer group, and whether the client that holds it is still of use.

A client library goes on by itself when the brokers go and come back, but not always. What librdkafka has been seen to
do, for as long as a client lived, after its session had timed out or the brokers had been away:

- It finds no broker any more (`presence`).
- It finds them, and brings nothing (`silence`).
- It says that another consumer of its name has fenced it, and none has: while its application does not poll, it goes on
  sending heartbeats without the member id that it has just forgotten (librdkafka's report 3437). Who bears the name
  now is known to the group alone, so the group is asked: if another does, this one must stop (KIP-345).

In each of these cases a new client takes the old one's place. As a static member it finds its partitions again, and
what was not committed comes again.
"""

import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import structlog

from radiolog.health import Health
from radiolog.log.api import Clients, Consumer
from radiolog.log.errors import LogError, MemberFenced
from radiolog.log.lag import PartitionLag
from radiolog.log.presence import Presence
from radiolog.log.silence import Silence

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Seat:
    """The names of one instance: its group, and itself within it."""

    group: str
    instance: str

    @classmethod
    def of(cls, name: str, ordinal: int, app: str) -> "Seat":
        """The names of the instance of a stage or sink with this ordinal."""
        return cls(f"{app}-{name}", f"{app}-{name}-{ordinal}")


class Membership:
    """Watches over one client while it is a member.

    Args:
        seat: Its names.
        clients: To ask the log without it.
        consumer: The client.
        topic: The full name of a topic that it reads.
        lags: What waits for it, as clients made for the question see it.
        health: Told when the log has gone.
    """

    def __init__(
        self,
        seat: Seat,
        clients: Clients,
        consumer: Consumer,
        topic: str,
        lags: Callable[[], Sequence[PartitionLag]],
        health: Health,
    ) -> None:
        self._seat = seat
        self._clients = clients
        self._consumer = consumer
        self._presence = Presence(lambda seconds: consumer.list_topics(topic, seconds), health)
        self._silence = Silence(self._presence, consumer, lags)
        self._member = ""

    def assigned(self) -> None:
        """The group has given it partitions, so that it has a member id."""
        self._member = self._consumer.memberid() or self._member

    def proven(self) -> None:
        """The log has just answered it."""
        self._presence.proven()

    def look(self) -> None:
        """It has just brought nothing: is that as it should be?"""
        self._presence.look()
        self._silence.look()

    @property
    def is_lost(self) -> bool:
        """Whether another client should take its place."""
        return self._presence.is_lost or self._silence.is_deaf

    def is_vacant(self) -> bool:
        """Whether no other member bears its name; False also if the group does not tell."""
        try:
            return self._clients.holder(self._seat.group, self._seat.instance) in ("", self._member)
        except LogError:
            return False


class Member(Protocol):
    """An instance of a stage or sink while it is a member of its group."""

    membership: Membership

    def round(self) -> None:
        """Takes what the client brings, and settles it; raises `LogError`."""

    def close(self) -> None:
        """Lets go of the log."""


def keep(join: Callable[[], Member], stop: threading.Event) -> None:
    """Rounds of one member after another until `stop` is set; each takes the place of one whose client is of no use.

    Raises:
        Fenced: another instance of the same name is running.
        LogError: the log refuses this reader.
    """
    while not stop.is_set():
        with closing(join()) as member:
            try:
                while not (stop.is_set() or member.membership.is_lost):
                    member.round()
            except MemberFenced:
                if not member.membership.is_vacant():
                    raise
                log.warning("the group gave this member up, and nobody has its name: joining anew")
