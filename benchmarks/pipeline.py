"""What the log costs: all stages together, from `images` to committed rows, against their kernels without a log.

    .venv/bin/python benchmarks/pipeline.py [--json FILE] [--turns 5] [--case "CR"]

It starts servers of its own, on the cores that this process may use, and there `radiolog run preprocess`, `infer` and
`sink` as real processes, exactly once as ever.

- pipeline: a backlog appears all at once, since it is put on `images` in one transaction. The rate is that of the time
  from this moment to the last committed row; what the first batches take to get through all stages is in it.
- kernels: the same objects in one process, already in memory: decoded and preprocessed in a thread per core, and given
  to the compiled network in batches while the next are decoded. Of the engine's batch sizes the fastest is taken.

Both sides are pinned to the same cores, use the engine that RADIOLOG_ENGINE names, and take turns. The shares say who
burnt the CPU time of the pipeline's turns.
"""

import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from image_events import chests, cr, others
from measure import Comparison, Figure, Result, take_turns, tell
from report import Options, run
from running_site import RunningSite, running_site

from models.bundle import load_bundle
from models.engines import load_engine
from models.pixels import decode, to_model_input
from models.predictor import Predictor
from radiolog.allocator import keep_freed_memory
from radiolog.service import configure_logs
from radiolog.settings import Settings
from schemas.events import ImageEvent

PARTITIONS = 6
GOAL, FLOOR = 0.8, 0.4
BATCH_SIZES = (1, 8, 32)
INLINE_BYTES = 1 << 20
"""What is larger is in the object store, where a radiograph is to be by reference."""


@dataclass(frozen=True, slots=True)
class Case:
    """Radiographs as events and as files, and how many make a turn."""

    name: str
    images: Sequence[ImageEvent]
    files: Sequence[bytes]
    turn: int


class Kernels:
    """Decode, preprocess and the compiled network, in one process and with no log."""

    def __init__(self, engine: Predictor, cores: int) -> None:
        self._engine = engine
        self._pool = ThreadPoolExecutor(cores)

    def run(self, objects: Sequence[bytes], batch: int) -> None:
        """Reads all of the objects; those of one batch are decoded while the network is busy with the one before."""
        parts = [objects[first : first + batch] for first in range(0, len(objects), batch)]
        ahead = self._pool.map(self._pixels, parts[0])
        for following in (*parts[1:], []):
            pixels, ahead = np.stack(list(ahead)), self._pool.map(self._pixels, following)
            self._engine.predict(pixels)

    def _pixels(self, content: bytes) -> np.ndarray:
        return to_model_input(decode(content), self._engine.bundle.spec)[0]


class Sides:
    """The two ways to read a case's radiographs."""

    def __init__(self, site: RunningSite, kernels: Kernels, case: Case) -> None:
        self._site = site
        self._kernels = kernels
        self._case = case
        self._objects = [case.files[number % len(case.files)] for number in range(case.turn)]
        self.shares: list[dict[str, float]] = []
        self.batch = min(BATCH_SIZES, key=self._seconds)

    def pipeline(self) -> float:
        """Images per second."""
        count, site = self._case.turn, self._site.site
        began = site.images(others(self._case.images, count))
        before = self._site.burnt()
        seconds = site.seconds(count, began)
        burnt = {name: spent - before[name] for name, spent in self._site.burnt().items()}
        self.shares.append({name: 100 * spent / sum(burnt.values()) for name, spent in burnt.items()})
        return count / seconds

    def kernels(self) -> float:
        """Images per second."""
        return self._case.turn / self._seconds(self.batch)

    def _seconds(self, batch: int) -> float:
        began = time.perf_counter()
        self._kernels.run(self._objects, batch)
        return time.perf_counter() - began


def measure(options: Options) -> Iterator[Result]:
    """The ratio of each case, and who burnt what."""
    configure_logs(logging.ERROR)
    keep_freed_memory()  # as the stages do
    os.sched_setaffinity(0, cores := os.sched_getaffinity(0))  # whatever is started from here on has these and no other
    cv2.setNumThreads(1)
    with running_site(PARTITIONS) as site:
        settings = site.site.settings
        engine = load_engine(settings.engine, load_bundle(settings.bundle), cache=settings.state_dir / "compiled")
        engine.warm_up()
        kernels = Kernels(engine, len(cores))
        for case in _cases(settings, options.quick):
            if options.wanted(case.name):
                yield from compared(Sides(site, kernels, case), case, options.turns)


def _cases(settings: Settings, quick: bool) -> Iterator[Case]:
    share, large = 4 if quick else 1, cr(settings)
    yield Case("CR of 7.2 MB", [large], [large.payload], 96 // share)
    if not quick:
        stored = cr(settings.model_copy(update={"inline_max_bytes": INLINE_BYTES}))
        yield Case("CR by reference", [stored], [large.payload], 96)
    if small := chests(settings, 64):
        yield Case("radiographs of 224 pixels", small, [image.payload for image in small], 960 // share)


def compared(sides: Sides, case: Case, turns: int) -> Iterator[Result]:
    """The comparison, and the shares of CPU time."""
    tell(f"{case.name}: the kernels are fastest in batches of {sides.batch}")
    ours, theirs = "pipeline", f"kernels, batches of {sides.batch}"
    reached = take_turns({ours: sides.pipeline, theirs: sides.kernels}, turns)
    yield Comparison(case.name, "images/s", ours, theirs, reached, GOAL, FLOOR)
    for name in sides.shares[0]:
        values = [share[name] for share in sides.shares[1:]]
        yield Figure(f"{case.name}: share of {name}", "% of CPU time", values)


if __name__ == "__main__":
    sys.exit(run(__doc__, measure, turns=5))
