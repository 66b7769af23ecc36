"""A simulation of stages on partitions, event by event: how long images wait, what a lost instance and an outage do.

An image has one partition at every stage. Partitions are dealt out to a stage's instances, each of which takes what
waits, up to so many at a time, works on the batch, commits it at once, and takes the next. This is what
`radiolog.log.runtime` does, and so an image waits behind those of its own instance alone.
"""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

SESSION_SECONDS = 6.0
"""After which a group gives an instance's partitions to the others (`session.timeout.ms`)."""


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its partition, and when it came to the stage that is looked at."""

    number: int
    partition: int
    came: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """A stage with its instances.

    Attributes:
        count: of them.
        seconds: that one takes for one image, on average.
        variation: standard deviation of that, over the mean; 0 for always the same.
        batch: images that are taken at a time, at most.
        commit_seconds: of a batch, whatever it holds.
        closed_until: when the stage begins to work; before that everything waits.
        lost_at: when an instance, the last one, goes and does not come back.
    """

    count: int
    seconds: float
    variation: float = 1.0
    batch: int = 1
    commit_seconds: float = 0.0
    closed_until: float = 0.0
    lost_at: float = math.inf


def arrivals(rate: float, count: int, partitions: int, draw: random.Random) -> list[Image]:
    """A Poisson process: images from many devices, of studies whose keys fall on any partition."""
    moment, images = 0.0, []
    for number in range(count):
        moment += draw.expovariate(rate)
        images.append(Image(number, draw.randrange(partitions), moment))
    return images


def pass_through(images: Sequence[Image], stage: Instances, draw: random.Random) -> list[Image]:
    """The images as they come to the next stage, in that order."""
    done: list[Image] = []
    everyone, others = stage.count, stage.count - 1
    queues: list[list[Image]] = [[] for _ in range(everyone)]
    for image in images:
        queues[image.partition % everyone].append(image)
    if math.isfinite(stage.lost_at):
        if others < 1:
            raise ValueError("the only instance can't be lost: nothing would be left to work")
        finished, left = _until(queues.pop(), stage, draw)
        done += finished
        for image in left:
            found = replace(image, came=max(image.came, stage.lost_at + SESSION_SECONDS))
            queues[image.partition // everyone % others].append(found)
    for queue in queues:
        queue.sort(key=lambda image: (image.came, image.number))
        done += _work(queue, stage, draw)
    return sorted(done, key=lambda image: (image.came, image.number))


def waits(images: Sequence[Image], stages: Iterable[Instances], draw: random.Random) -> list[float]:
    """Seconds of each image from its coming to the last stage's commit, in the order in which they came."""
    at = list(images)
    for stage in stages:
        at = pass_through(at, stage, draw)
    ended = {image.number: image.came for image in at}
    return [ended[image.number] - image.came for image in images]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that the share of them does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def drained_after(images: Sequence[Image], took: Sequence[float], outage: float) -> float:
    """Seconds from the end of an outage at `outage` until the last image that came before that is through."""
    return (
        max(image.came + seconds for image, seconds in zip(images, took, strict=True) if image.came <= outage) - outage
    )


def caught_up_after(images: Sequence[Image], took: Sequence[float], outage: float, usual: float) -> float:
    """Seconds from the end of an outage until images take what they usually do; infinite if they never do."""
    for image, seconds in zip(images, took, strict=True):
        if image.came > outage and seconds <= usual:
            return image.came - outage
    return math.inf


def _work(queue: Sequence[Image], stage: Instances, draw: random.Random) -> list[Image]:
    return [replace(image, came=end) for batch, end in _batches(queue, stage, draw) for image in batch]


def _until(queue: Sequence[Image], stage: Instances, draw: random.Random) -> tuple[list[Image], list[Image]]:
    """What an instance commits before it goes, and what it leaves, the batch in hand with it."""
    finished: list[Image] = []
    for batch, end in _batches(queue, stage, draw):
        if end > stage.lost_at:
            break
        finished += [replace(image, came=end) for image in batch]
    return finished, list(queue[len(finished) :])


def _batches(queue: Sequence[Image], stage: Instances, draw: random.Random) -> Iterable[tuple[Sequence[Image], float]]:
    """Each batch of one instance, and when it is committed."""
    free, first = stage.closed_until, 0
    while first < len(queue):
        begins, last = max(free, queue[first].came), first + 1
        while last < len(queue) and last - first < stage.batch and queue[last].came <= begins:
            last += 1
        free = begins + stage.commit_seconds + sum(_seconds(stage, draw) for _ in range(last - first))
        yield queue[first:last], free
        first = last


def _seconds(stage: Instances, draw: random.Random) -> float:
    """Gamma, so that mean and variation are as asked for, and no time is negative."""
    if stage.variation == 0 or stage.seconds == 0:
        return stage.seconds
    shape = stage.variation**-2
    return draw.gammavariate(shape, stage.seconds / shape)
