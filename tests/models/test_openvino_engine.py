"""The optional engine: what it says is what JAX says, and nothing of it speaks to anybody."""

import json
import subprocess
import sys
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from models.bundle import Bundle, load_bundle
from models.classifier import Architecture
from models.decision import calibrate, interpret
from models.engine import Engine
from models.engines import load_engine
from models.lung_field import lung_boxes
from models.lungs import LungArchitecture
from models.openvino_engine import OpenVinoEngine
from models.openvino_runtime import EngineMissing, openvino
from models.prediction import Prediction
from models.reader import ReaderArchitecture, export_weights
from tests.networks import random_reader

ARCHITECTURE = ReaderArchitecture(
    lungs=LungArchitecture(widths=(4, 8, 12), groups=2),
    classifier=Architecture(findings=3, widths=(8, 16), blocks=(2, 1), groups=4, context=0.1),
    field=48,
)
TAIL = 0.01
"""Of the lungs, beyond the box; as in `models.lung_field.lung_boxes`."""

Both = tuple[Engine, OpenVinoEngine]


@pytest.fixture(scope="module", params=[1, 2])
def both(bundle: Bundle, request: pytest.FixtureRequest) -> Both:
    """The engines with one network of random weights."""
    weights = export_weights(random_reader(ARCHITECTURE, request.param))
    small = replace(bundle, architecture=ARCHITECTURE.to_json(), weights=weights)
    return Engine(small), OpenVinoEngine(small)


@st.composite
def pictures(draw: st.DrawFn) -> np.ndarray:
    """One to nine model inputs: noise, greys as even as the scope lets through, and smooth ones as of a body."""
    size = 64
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return np.stack(
        [_picture(rng, draw(st.sampled_from(["noise", "faint", "body"])), size) for _ in range(draw(st.integers(1, 9)))]
    )


def _picture(rng: np.random.Generator, kind: str, size: int) -> np.ndarray:
    if kind == "noise":
        return rng.integers(0, 256, (size, size), np.uint8)
    if kind == "faint":
        return np.clip(rng.normal(rng.uniform(0, 255), 8, (size, size)), 0, 255).astype(np.uint8)
    rows, columns = np.mgrid[:size, :size] / size
    body = sum(
        rng.uniform(-1, 1)
        * np.exp(-((rows - rng.random()) ** 2 + (columns - rng.random()) ** 2) / rng.uniform(0.01, 0.2))
        for _ in range(5)
    )
    return np.clip(128 + 127 * rng.uniform(0.2, 3) * body, 0, 255).astype(np.uint8)


def tied(lungs: np.ndarray, cells: int) -> np.ndarray:
    """Whether rounding may move the box of each `[n, h, w]`, or take a cell of the maps to either side of its edge."""
    near = np.abs(lungs.mean(axis=(1, 2)) - TAIL) < 1e-6
    for axis in (1, 2):
        reached = np.cumsum(lungs.sum(axis=axis), axis=1) / np.maximum(lungs.sum(axis=(1, 2))[:, None], 1e-6)
        near |= (np.minimum(np.abs(reached - TAIL), np.abs(reached - 1 + TAIL)) < 1e-5).any(axis=1)
    on_centres = np.asarray(lung_boxes(jnp.asarray(lungs))) * cells - 0.5
    return near | (np.abs(on_centres - np.rint(on_centres)) < 1e-4).any(axis=1)


def assert_alike(ours: Prediction, theirs: Prediction) -> None:
    clear = ~tied(ours.lungs, ours.maps.shape[2])
    for name in ("logits", "embeddings", "lungs"):
        one, other = getattr(ours, name)[clear], getattr(theirs, name)[clear]
        np.testing.assert_allclose(other, one, rtol=0, atol=1e-4, err_msg=name)
    most = 1e-4 * max(1.0, float(ours.maps.max()))
    np.testing.assert_allclose(theirs.maps[clear], ours.maps[clear], rtol=0, atol=most)


@given(pixels=pictures())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_says_what_jax_says(both: Both, pixels: np.ndarray) -> None:
    jax, other = both
    ours, theirs = jax.predict(pixels), other.predict(pixels)
    assume(not tied(ours.lungs, ours.maps.shape[2]).all())
    assert_alike(ours, theirs)


def test_the_shipped_model_decides_alike() -> None:
    shipped = load_bundle("default")
    jax, other = Engine(shipped, batch_sizes=(4,)), OpenVinoEngine(shipped)
    rng = np.random.default_rng(5)
    pixels = np.stack([_picture(rng, kind, shipped.spec.size) for kind in ("body",) * 14 + ("noise", "faint")])
    ours, theirs = jax.predict(pixels), other.predict(pixels)
    assert tied(ours.lungs, ours.maps.shape[2]).mean() < 0.5
    assert_alike(ours, theirs)
    np.testing.assert_allclose(calibrate(shipped, theirs.logits), calibrate(shipped, ours.logits), rtol=0, atol=1e-4)
    for one, another in zip(interpret(shipped, ours), interpret(shipped, theirs), strict=True):
        assert one.scope.in_scope == another.scope.in_scope
        decisions = [[(f.decision, f.severity) for f in reading.findings] for reading in (one, another)]
        assert decisions[0] == decisions[1]


QUIET = """
import json, sys
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event) if event.startswith("socket.") else None)
import numpy as np
from models.bundle import load_bundle
from models.engines import load_engine
bundle = load_bundle("default")
prediction = load_engine("openvino", bundle).predict(np.zeros((3, bundle.spec.size, bundle.spec.size), np.uint8))
loaded = [name for name, module in sys.modules.items() if module is not None]
watched = ("openvino_telemetry", "openvino.tools", "jax", "requests", "urllib.request", "http.client")
print(json.dumps({
    "said": list(prediction.logits.shape),
    "sockets": seen,
    "loaded": [name for name in loaded if name.startswith(watched)],
    "openvino": "openvino" in loaded,
}))
try:
    import openvino_telemetry
except ImportError:
    print("locked out")
"""


def test_nothing_of_its_telemetry_runs_and_no_socket_is_opened() -> None:
    done = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=True)
    said, last = done.stdout.strip().splitlines()
    assert json.loads(said) == {"said": [3, 3], "sockets": [], "loaded": [], "openvino": True}
    assert last == "locked out"


def test_without_the_package_it_says_how_to_install_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    openvino.cache_clear()
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(EngineMissing, match=r"pip install 'radiolog\[openvino\]'"):
        load_engine("openvino", bundle)
    openvino.cache_clear()


def test_the_name_picks_the_engine(bundle: Bundle) -> None:
    weights = export_weights(random_reader(ARCHITECTURE, 1))
    small = replace(bundle, architecture=ARCHITECTURE.to_json(), weights=weights)
    assert isinstance(load_engine("openvino", small, (1,)), OpenVinoEngine)
    assert isinstance(load_engine("jax", small, (1,)), Engine)
