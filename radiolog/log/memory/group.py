"""A consumer group: static members, generations, sticky and cooperative assignment (KIP-345, KIP-429)."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from confluent_kafka import KafkaError

from radiolog.log.memory.failures import failure

Place = tuple[str, int]


@dataclass(frozen=True, slots=True)
class GroupMetadata:
    """Who a member was when it was asked."""

    group: str
    instance: str
    member: str
    generation: int


@dataclass(eq=False)
class Membership:
    """One member: what it should have (`target`), and what it has taken and not yet given up (`owned`)."""

    instance: str
    topics: frozenset[str]
    target: set[Place] = field(default_factory=set)
    owned: set[Place] = field(default_factory=set)
    member: str = field(default_factory=lambda: secrets.token_hex(8))
    generation: int = 0


class Group:
    """The coordinator's view of one group."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.offsets: dict[Place, int] = {}
        self._pending: list[dict[Place, int]] = []
        self._generation = 0
        self._members: dict[str, Membership] = {}

    def join(self, instance: str, topics: frozenset[str], places: set[Place]) -> Membership:
        """A new member; one that bears a known instance's name takes its place, which fences the old one."""
        joined = Membership(instance, topics)
        old = self._members.get(instance)
        self._members[instance] = joined
        if old is None:
            self._rebalance(places)
        else:
            joined.target = old.target
        return joined

    def remove(self, instance: str, places: set[Place]) -> None:
        """The member is gone: it left, or its session timed out."""
        if self._members.pop(instance, None) is not None:
            self._rebalance(places)

    def has(self, member: Membership) -> bool:
        """Whether this very member belongs to the group."""
        return self._members.get(member.instance) is member

    def holder(self, instance: str) -> str:
        """The member id of the member that bears this name; empty if none does."""
        held = self._members.get(instance)
        return held.member if held else ""

    def is_fenced(self, member: Membership) -> bool:
        """Whether it was a member, and another bears its name now."""
        return member.generation > 0 and self._members.get(member.instance, member) is not member

    def free(self, member: Membership) -> set[Place]:
        """What the member should have, and nobody else has any more."""
        taken = {place for other in self._members.values() if other is not member for place in other.owned}
        return member.target - member.owned - taken

    def serve(self, member: Membership) -> None:
        """The member has heard of the latest assignment."""
        member.generation = self._generation

    def is_stable(self, place: Place) -> bool:
        """Whether no open transaction carries an offset of the partition: only then is it known where to go on."""
        return not any(place in offsets for offsets in self._pending)

    def pend(self, offsets: dict[Place, int]) -> Callable[[bool], None]:
        """Offsets that a transaction carries; gives what to call, with whether they count, when it ends."""
        self._pending.append(offsets)

        def settle(committed: bool) -> None:
            self._pending = [other for other in self._pending if other is not offsets]
            if committed:
                self.offsets |= offsets

        return settle

    def check(self, claim: GroupMetadata) -> None:
        """Refuses offsets of one who is no member any more, or not of this generation (KIP-447)."""
        member = self._members.get(claim.instance)
        if member is None:
            raise failure(KafkaError.UNKNOWN_MEMBER_ID, "not a member", requires_abort=True)
        if member.member != claim.member:
            raise failure(KafkaError.FENCED_INSTANCE_ID, "another member has this instance's name", requires_abort=True)
        if member.generation != claim.generation:
            raise failure(KafkaError.ILLEGAL_GENERATION, "of another generation", requires_abort=True)

    def _rebalance(self, places: set[Place]) -> None:
        """Shares the partitions out evenly; who has one keeps it where that is even."""
        self._generation += 1
        members = sorted(self._members.values(), key=lambda member: member.instance)
        left = sorted(place for place in places if any(place[0] in member.topics for member in members))
        least, more = divmod(len(left), max(1, len(members)))
        for number, member in enumerate(members):
            share = least + (number < more)
            kept = [place for place in left if place in member.target and place[0] in member.topics][:share]
            member.target = set(kept)
            left = [place for place in left if place not in member.target]
        for place in left:
            if able := [member for member in members if place[0] in member.topics]:
                min(able, key=lambda member: len(member.target)).target.add(place)
