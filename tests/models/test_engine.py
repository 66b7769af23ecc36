from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import jax
import numpy as np
import pytest

from models.bundle import Bundle, BundleError
from models.classifier import Architecture
from models.engine import Engine
from models.lungs import LungArchitecture
from models.openvino_engine import OpenVinoEngine
from models.prediction import Prediction
from models.predictor import Predictor
from models.reader import Outputs, Reader, ReaderArchitecture, export_weights, restore
from tests.networks import random_reader

ARCHITECTURE = ReaderArchitecture(
    lungs=LungArchitecture(widths=(4, 8), groups=4),
    classifier=Architecture(findings=2, widths=(8, 16), blocks=(1, 2), groups=4, context=0.1),
    field=48,
)


@pytest.fixture(scope="module")
def network() -> Reader:
    return random_reader(ARCHITECTURE, 7)


@pytest.fixture(scope="module")
def small(bundle: Bundle, network: Reader) -> Bundle:
    return replace(bundle, architecture=ARCHITECTURE.to_json(), weights=export_weights(network))


@pytest.fixture(scope="module")
def said(network: Reader) -> Callable[[np.ndarray], Outputs]:
    """What the network says, compiled once for each shape."""
    compiled = jax.jit(lambda pixels: network(pixels))
    return lambda pixels: jax.device_get(compiled(pixels))


@pytest.fixture(scope="module", params=[Engine, OpenVinoEngine])
def kind(request: pytest.FixtureRequest) -> Callable[..., Predictor]:
    """Each engine in turn: they keep the same promises."""
    return request.param


@pytest.fixture(scope="module")
def engine(small: Bundle, kind: Callable[..., Predictor]) -> Predictor:
    return kind(small, batch_sizes=(1, 4))


@pytest.fixture(scope="module")
def alone(engine: Predictor, pixels: np.ndarray) -> Prediction:
    """What is said of each image when it is the only one."""
    each = [engine.predict(pixels[index : index + 1]) for index in range(len(pixels))]
    names = [field.name for field in fields(Prediction)]
    return Prediction(*(np.concatenate([getattr(one, name) for one in each]) for name in names))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (11, 64, 64), dtype=np.uint8)


def test_weights_round_trip(network: Reader) -> None:
    weights = export_weights(network)
    again = export_weights(restore(ReaderArchitecture.from_json(ARCHITECTURE.to_json()), weights))
    assert weights.keys() == again.keys()
    assert all((weights[name] == again[name]).all() for name in weights)
    assert "classifier.stages.0.0.conv1.kernel" in weights


def test_bytes_and_unit_floats_are_the_same_image(said: Callable[[np.ndarray], Outputs], pixels: np.ndarray) -> None:
    floats = pixels.astype(np.float32) / 255
    np.testing.assert_allclose(said(pixels).logits, said(floats).logits, atol=1e-5)


def test_a_field_is_a_whole_number_of_cells() -> None:
    with pytest.raises(ValueError, match="no multiple of"):
        replace(ARCHITECTURE, field=44)


def test_outputs_lie_over_the_square(said: Callable[[np.ndarray], Outputs], pixels: np.ndarray) -> None:
    outputs = said(pixels)
    assert outputs.maps.shape == (11, 2, 8, 8)
    assert outputs.lungs.shape == (11, 32, 32)
    assert (np.asarray(outputs.maps) >= 0).all()
    assert ((np.asarray(outputs.lungs) >= 0) & (np.asarray(outputs.lungs) <= 1)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classifier.head.kernel": None}, "head.kernel"),
        ({"extra": np.zeros(1)}, "extra"),
        ({"classifier.head.kernel": np.zeros((2, 2), np.float32)}, r"head.kernel is \(2, 2\)"),
        ({"classifier.head.bias": np.zeros(1, np.float32)}, r"head.bias is \(1,\)"),
        ({"lungs.down.1.0.conv.kernel": np.zeros((3, 3, 4, 9), np.float32)}, r"conv.kernel is \(3, 3, 4, 9\)"),
        ({"lungs.up.0.1.norm.scale": np.zeros(8, np.float32)}, r"norm.scale is \(8,\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    small: Bundle, kind: Callable[..., Predictor], change: dict, message: str
) -> None:
    weights = {key: value for key, value in {**small.weights, **change}.items() if value is not None}
    with pytest.raises(BundleError, match=message):
        kind(replace(small, weights=weights))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 11])
def test_padding_and_splitting_change_nothing(
    engine: Predictor, alone: Prediction, pixels: np.ndarray, count: int
) -> None:
    prediction = engine.predict(pixels[:count])
    assert prediction.logits.shape == (count, 2)
    assert prediction.logits.dtype == prediction.maps.dtype == prediction.embeddings.dtype == np.float32
    assert prediction.maps.shape[:2] == (count, 2)
    for field in ("logits", "maps", "embeddings", "lungs"):
        np.testing.assert_allclose(getattr(prediction, field), getattr(alone, field)[:count], atol=1e-5)


def test_warm_up_leaves_nothing_to_compile(small: Bundle, pixels: np.ndarray) -> None:
    engine = Engine(small, batch_sizes=(1, 4))
    engine.warm_up()
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax, "jit", lambda *_: pytest.fail("compiled after warm_up"))
        engine.predict(pixels[:3])


def test_the_compilation_cache_outlives_the_engine(small: Bundle, pixels: np.ndarray, tmp_path: Path) -> None:
    before = jax.config.jax_compilation_cache_dir
    try:
        Engine(small, batch_sizes=(3,), cache=tmp_path / "cache").predict(pixels[:3])
        assert any((tmp_path / "cache").iterdir())
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, 32, 32), np.uint8), np.zeros((1, 64, 64)), np.zeros((64, 64), np.uint8), np.zeros((0, 64, 64), "u1")],
)
def test_other_pixels_are_refused(engine: Predictor, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="reads uint8"):
        engine.predict(wrong)


@pytest.mark.parametrize("sizes", [(), (0, 1), (8, 1), (4, 4)])
def test_batch_sizes_must_ascend(small: Bundle, kind: Callable[..., Predictor], sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ascend"):
        kind(small, batch_sizes=sizes)


def test_a_batch_is_shared_out_among_the_cores(
    small: Bundle, kind: Callable[..., Predictor], pixels: np.ndarray
) -> None:
    """One part a core, as alike as the compiled sizes allow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
        engine = kind(small, batch_sizes=(1, 4))
    assert [len(part) for part in engine._parts(pixels[:1])] == [1]
    assert [len(part) for part in engine._parts(pixels[:3])] == [1, 1, 1]
    assert [len(part) for part in engine._parts(pixels)] == [4, 4, 3]
    assert engine.largest_batch == 32
