"""DICOM bytes to the pixels of a model, in each transfer syntax, against pydicom and scikit-image.

    make peers
    .venv/bin/python benchmarks/pixels.py --case "JPEG 2000" --json build/bench/pixels.json

Ours is the work of one decode process (`stream_processors.decoding.run`): decode, windowing, crop, resize, contrast.
Theirs is what pydicom's and scikit-image's guides show, with the fastest of pydicom's plugins for the syntax, and no
crop. Both have the bytes in memory and are one process on the same cores; GDCM alone decodes with a thread for each.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from measure import Comparison, Result, per_second, take_turns, tell
from numpy.typing import NDArray
from peer import Peer, peer
from radiographs import SYNTAXES, radiograph
from report import Options, run

from models.bundle import load_bundle
from models.spec import PreprocessSpec
from radiolog.allocator import keep_freed_memory
from stream_processors import decoding

REPEATS = 3
GOAL, FLOOR = 2.0, 1.2
GOALS = {"JPEG 2000 lossless": 5.0, "JPEG 2000 lossy": 5.0}
FLOORS = {"JPEG 2000 lossless": 0.5, "JPEG 2000 lossy": 1.0}
"""Under what full decoding reaches, which misses the goal; docs/performance.md says why."""
SAME_PICTURE = 0.9
"""Least correlation of what both sides made; they differ in their contrast and in how they average."""


def measure(options: Options) -> Iterator[Result]:
    """One comparison for each transfer syntax."""
    keep_freed_memory()  # as a decode process does
    spec = load_bundle("default").spec
    with peer("pixels") as theirs, tempfile.TemporaryDirectory() as folder:
        for name in filter(options.wanted, SYNTAXES):
            tell(f"{name} ...")
            file = Path(folder) / f"{name}.dcm"
            file.write_bytes(radiograph(name))
            yield _compared(name, file, spec, theirs, options.turns)


def _compared(name: str, file: Path, spec: PreprocessSpec, theirs: Peer, turns: int) -> Comparison:
    job = decoding.Job(file.read_bytes(), spec)
    prepared = theirs.ask("prepare", file=str(file))
    _demand_the_same_picture(name, _filling_its_square(job), np.array(prepared["pixels"], np.uint8))
    sides = {
        "radiolog": per_second(lambda: [decoding.run(job) for _ in range(REPEATS)], REPEATS),
        "pydicom, scikit-image": theirs.turn("measure", file=str(file), repeats=REPEATS),
    }
    plugin = f" ({prepared['plugin']})" if prepared["plugin"] else ""
    reached = take_turns(sides, turns)
    goal, floor = GOALS.get(name, GOAL), FLOORS.get(name, FLOOR)
    return Comparison(name + plugin, "images/s", *sides, reached, goal=goal, floor=floor)


def _filling_its_square(job: decoding.Job) -> NDArray[np.uint8]:
    """What radiolog makes, but out of proportion as the other side's: without the black beside it."""
    made = decoding.run(job)
    if not isinstance(made, decoding.ModelPixels):
        raise SystemExit(f"radiolog made no pixels of it: {made}")
    way, square = made.geometry, np.frombuffer(made.pixels, np.uint8).reshape(made.height, made.width)
    content = square[way.pad_top :, way.pad_left :][: way.resized_rows, : way.resized_columns]
    return np.asarray(cv2.resize(content, square.shape[::-1], interpolation=cv2.INTER_LINEAR)).ravel()


def _demand_the_same_picture(name: str, ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> None:
    alike = float(np.corrcoef(ours, theirs)[0, 1])
    if alike < SAME_PICTURE:
        raise SystemExit(f"{name}: the two sides made different pictures, correlation {alike:.2f}")


if __name__ == "__main__":
    sys.exit(run(__doc__, measure))
