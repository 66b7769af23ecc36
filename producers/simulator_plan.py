"""What a simulated fleet sends, and when: the same load and seed make the same plan."""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

#: A device sends again what it sent not long ago.
REMEMBERED: Final = 100


class Kind(StrEnum):
    """What an object on its way is."""

    WHOLE = "whole"
    DUPLICATE = "duplicate"
    """The very bytes that the device has sent before, as after a lost answer."""
    TRUNCATED = "truncated"
    """Cut off somewhere."""
    NOISE = "noise"
    """Random bytes."""
    WRONG_LENGTH = "wrong length"
    """An element claims more bytes than it has (PS3.5 section 7.1.1)."""


BROKEN: Final = (Kind.TRUNCATED, Kind.NOISE, Kind.WRONG_LENGTH)


@dataclass(frozen=True, slots=True)
class Shot:
    """One object to send.

    Attributes:
        number: which of the plan's it is, from 0.
        due: when the device has it, in seconds from the start.
        device: which device has it, from 0.
        source: the number whose bytes are sent: its own, or of a duplicate an earlier one of the same device.
        kind: whole, sent again, or broken, and how.
    """

    number: int
    due: float
    device: int
    source: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Load:
    """How much a fleet sends, and how.

    Attributes:
        count: objects in all.
        devices: how many devices there are.
        rate: objects a second of all devices together; None for as fast as answers come.
        poisson: whether devices are independent of each other and of the clock (exponential gaps); else evenly.
        burst: objects that come at the same moment, as the views of one examination do.
        duplicates: share that is sent again.
        broken: share that is broken.
        seed: of all that is drawn.
    """

    count: int
    devices: int = 1
    rate: float | None = None
    poisson: bool = True
    burst: int = 1
    duplicates: float = 0.0
    broken: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.count, self.devices, self.burst) < 1:
            raise ValueError("count, devices and burst are at least 1")
        if self.rate is not None and not self.rate > 0:
            raise ValueError("the rate is more than 0")
        if min(self.duplicates, self.broken) < 0 or self.duplicates + self.broken > 1:
            raise ValueError("the shares of duplicates and broken objects are at least 0, and at most 1 together")


def shots(load: Load) -> Iterator[Shot]:
    """The plan, in order of time."""
    draw = random.Random(load.seed)  # noqa: S311 - no secret
    sent = [deque[int](maxlen=REMEMBERED) for _ in range(load.devices)]
    due, device = 0.0, 0
    for number in range(load.count):
        if number % load.burst == 0:
            due += _gap(load, draw)
            device = draw.randrange(load.devices)
        kind = _kind(load, draw)
        if kind is Kind.DUPLICATE and not sent[device]:
            kind = Kind.WHOLE
        source = draw.choice(sent[device]) if kind is Kind.DUPLICATE else number
        if kind is Kind.WHOLE:
            sent[device].append(number)
        yield Shot(number, due, device, source, kind)


def _gap(load: Load, draw: random.Random) -> float:
    """Seconds to the next burst."""
    if load.rate is None:
        return 0.0
    bursts = load.rate / load.burst
    return draw.expovariate(bursts) if load.poisson else 1.0 / bursts


def _kind(load: Load, draw: random.Random) -> Kind:
    at = draw.random()
    if at < load.duplicates:
        return Kind.DUPLICATE
    return draw.choice(BROKEN) if at < load.duplicates + load.broken else Kind.WHOLE
