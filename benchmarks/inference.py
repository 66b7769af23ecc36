"""Images a second through the shipped network, against ONNX Runtime and OpenVINO with the same weights.

    make peers
    .venv/bin/python benchmarks/inference.py --case "batch 8" --json build/bench/inference.json

radiolog is there twice: with JAX, as it comes, and with OpenVINO as its engine. All sides take uint8 pixels in memory
and give logits, maps, embeddings and lungs, on all cores that the process may use. Before anything is measured, what
they say is compared. Where JAX finds a GPU, how much of its peak is reached is said too; the peers stay on the CPU.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from measure import Comparison, Figure, Result, Turn, per_second, take_turns, tell
from numpy.typing import NDArray
from peer import Peer, peer
from radiographs import SYNTAXES, radiograph
from report import Options, run

from models import bundle as bundles
from models.bundle import load_bundle
from models.decision import calibrate
from models.engine import Engine
from models.engines import load_engine
from models.pixels import decode, to_model_input
from models.prediction import Prediction
from models.predictor import Predictor
from models.spec import PreprocessSpec

JAX, OPENVINO = "radiolog", "radiolog, OpenVINO"
PEERS = ("ONNX Runtime", "OpenVINO")
PAIRS = {
    "ONNX Runtime": (JAX, "ONNX Runtime"),
    "OpenVINO": (JAX, "OpenVINO"),
    "OpenVINO in both": (OPENVINO, "OpenVINO"),
    "our engines": (OPENVINO, JAX),
}
"""What is compared with what, by the name of the case after its batch size."""
BATCHES = (1, 8, 32)
GPU_BATCHES = (1, 8, 32, 128, 512)
GOAL, FLOOR = 1.0, 0.25
IMAGES_A_TURN = 64
TOLERANCE = {"logits": 1e-4, "maps": 1e-3, "embeddings": 1e-4, "lungs": 1e-4}
"""Greatest difference between the sides; maps are not of 0 to 1, but of about 10."""
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "T4": 65e12}
"""Dense bfloat16 (float16 on a T4) operations a second, from the makers' data sheets."""


def measure(options: Options) -> Iterator[Result]:
    """One comparison for each batch size and peer; on a GPU, the share of its peak."""
    bundle = load_bundle("default")
    engines = {JAX: Engine(bundle), OPENVINO: load_engine("openvino", bundle)}
    for engine in engines.values():
        engine.warm_up()
    if jax.default_backend() == "gpu":
        yield from _on_gpu(bundle, options)
    folder = Path(bundles.__file__).with_name("bundles") / bundles.DEFAULT_BUNDLE
    with peer("inference") as theirs, tempfile.TemporaryDirectory() as scratch:
        images = _images(bundle.spec)
        file = Path(scratch) / "images.npy"
        np.save(file, images)
        common = {"bundle": str(folder), "images": str(file)}
        versions = {name: _same(engines, images, theirs, {"engine": name, **common}) for name in PEERS}
        for batch in BATCHES[1:2] if options.quick else BATCHES:
            sides = _sides(engines, images[:batch], theirs, common)
            for case, (ours, other) in PAIRS.items():
                name = f"batch {batch}, {case}"
                if options.wanted(name) and (other in PEERS or not options.quick):
                    reached = take_turns({ours: sides[ours], other: sides[other]}, options.turns)
                    told = {ours: reached[ours], f"{other} {versions.get(other, '')}".strip(): reached[other]}
                    goal, floor = (GOAL, FLOOR) if other in PEERS else (None, None)
                    yield Comparison(name, "images/s", *told, told, goal=goal, floor=floor)


def _sides(
    engines: Mapping[str, Predictor], images: NDArray[np.uint8], theirs: Peer, common: dict[str, str]
) -> dict[str, Turn]:
    """Each engine and each peer with a batch, several times a turn where it is small."""
    batch = len(images)
    repeats = max(1, IMAGES_A_TURN // batch)

    def turn(engine: Predictor) -> Turn:
        return per_second(lambda: [engine.predict(images) for _ in range(repeats)], batch * repeats)

    peers = {name: theirs.turn("measure", engine=name, batch=batch, repeats=repeats, **common) for name in PEERS}
    return {name: turn(engine) for name, engine in engines.items()} | peers


def _same(engines: Mapping[str, Predictor], images: NDArray[np.uint8], theirs: Peer, asked: dict[str, str]) -> str:
    """The peer's version, once it is known that it says the same as each of ours."""
    said = theirs.ask("prepare", **asked)
    for name, engine in engines.items():
        ours = engine.predict(images)
        apart = {field: float(np.abs(getattr(ours, field) - np.array(said[field])).max()) for field in TOLERANCE}
        shift = _shift(engine, ours, np.array(said["logits"], np.float32))
        tell(f"{name} and {asked['engine']}: probabilities differ by at most {shift:.1e}, {apart}")
        if any(apart[field] > most for field, most in TOLERANCE.items()):
            raise SystemExit(f"{asked['engine']} and {name} say different things: {apart}")
    return str(said["version"])


def _shift(engine: Predictor, ours: Prediction, logits: NDArray[np.float32]) -> float:
    return float(np.abs(calibrate(engine.bundle, ours.logits) - calibrate(engine.bundle, logits)).max())


def _images(spec: PreprocessSpec) -> NDArray[np.uint8]:
    """32 model inputs: a radiograph, brighter and darker, and shifted, so that no two are the same."""
    picture, _ = to_model_input(decode(radiograph(SYNTAXES[0])), spec)
    rng = np.random.default_rng(0)
    return np.stack([_varied(picture, rng) for _ in range(max(BATCHES))])


def _varied(picture: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    shifted = np.roll(picture, rng.integers(-16, 17, 2), axis=(0, 1))
    return np.rint(255.0 * (shifted / 255.0) ** rng.uniform(0.7, 1.4)).astype(np.uint8)


def _on_gpu(bundle: Any, options: Options) -> Iterator[Figure]:
    """Images in a second at each batch size, and which share of the card's peak that is."""
    device = jax.devices()[0].device_kind
    peak = next((flops for name, flops in PEAK_FLOPS.items() if name in device), None)
    for batch in GPU_BATCHES:
        engine = Engine(bundle, batch_sizes=(batch,))
        pixels = np.zeros((batch, bundle.spec.size, bundle.spec.size), np.uint8)
        reached = take_turns({"gpu": per_second(lambda e=engine, p=pixels: e.predict(p), batch)}, options.turns)["gpu"]
        share = (
            ""
            if peak is None
            else f", {float(np.median(reached)) * _operations(engine, batch) / batch / peak:.1%} of peak"
        )
        yield Figure(f"batch {batch} on {device}{share}", "ms an image", [1e3 / speed for speed in reached])


def _operations(engine: Engine, batch: int) -> float:
    """That the compiler counts in the program for a batch."""
    return float(engine._compiled(batch).cost_analysis()["flops"])


if __name__ == "__main__":
    sys.exit(run(__doc__, measure))
