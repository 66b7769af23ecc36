import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from models.bundle import Bundle, load_bundle
from models.decision import calibrate, decide, in_scope, pixels_in_scope
from models.engine import Engine
from models.pixels import decode, raster_to_model_input, to_model_input
from schemas.events import Decision

ARCHIVE = Path(__file__).parents[3] / "shared" / "data" / "chest-xray-pneumonia-train-224.zip"
CHEST = ("RG1_UNCR", "RG1_J2KR", "RG1_UNCI", "RG1_J2KI")


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return load_bundle("default")


@pytest.fixture(scope="module")
def engine(shipped: Bundle) -> Engine:
    return Engine(shipped, batch_sizes=(1, 4, 32))


def sample(name: str) -> bytes:
    return Path(str(get_testdata_file(f"{name}.dcm"))).read_bytes()


def test_it_is_small_and_says_what_it_is(shipped: Bundle) -> None:
    assert shipped.name == "chest-pneumonia"
    assert [finding.code for finding in shipped.findings] == ["233604007"]
    assert sum(array.nbytes for array in shipped.weights.values()) < 8_000_000
    assert set(shipped.findings[0].thresholds) == {"accuracy", "sensitivity-95", "specificity-95"}
    assert shipped.metrics["validation/pneumonia"]["accuracy"] >= 0.9


def test_the_real_chest_radiograph_is_read_alike_in_four_encodings(shipped: Bundle, engine: Engine) -> None:
    inputs = [to_model_input(decode(sample(name)), shipped.spec) for name in CHEST]
    together = engine.predict(np.stack([pixels for pixels, _ in inputs]))
    probabilities = calibrate(shipped, together.logits)[:, 0]
    alone = [calibrate(shipped, engine.predict(pixels[None]).logits)[0, 0] for pixels, _ in inputs]
    np.testing.assert_allclose(probabilities, alone, atol=1e-6)
    assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-6)
    assert probabilities[2] == pytest.approx(probabilities[3], abs=1e-6)
    distances = shipped.scope.distance(together.embeddings)
    for (pixels, geometry), probability, values, distance in zip(
        inputs, calibrate(shipped, together.logits), together.maps, distances, strict=True
    ):
        assert in_scope(shipped, "CR", "CHEST").in_scope
        assert pixels_in_scope(shipped, pixels).in_scope
        reading = decide(shipped, probability, values, float(distance), geometry)
        assert reading.scope.in_scope is bool(distance <= shipped.scope.max_distance)
        assert geometry.to_original(values[0]).shape == (1955, 1841)


@pytest.mark.parametrize("name", ["RG3_UNCR", "CT_small", "MR_small", "US1_UNCR"])
def test_other_examinations_are_out_of_scope(shipped: Bundle, name: str) -> None:
    header = decode(sample(name)).header
    assert not in_scope(shipped, header.get("Modality"), header.get("BodyPartExamined")).in_scope


def test_a_blank_image_is_out_of_scope(shipped: Bundle) -> None:
    pixels, _ = raster_to_model_input(np.full((300, 300), 77, np.uint8), shipped.spec)
    assert not pixels_in_scope(shipped, pixels).in_scope


def test_held_out_patients_are_classified(shipped: Bundle, engine: Engine) -> None:
    if not ARCHIVE.is_file():
        warnings.warn(f"{ARCHIVE.name} is absent: the shipped bundle was NOT evaluated", stacklevel=1)
        pytest.skip("the labelled archive is not in ../shared/data")
    from training.archive import LabelledArchive, Split, prepare, split_by_patient

    lineage = shipped.lineage
    with LabelledArchive(ARCHIVE) as archive:
        assert archive.sha256() == lineage["archive_sha256"]
        shares = {Split(part): share for part, share in lineage["shares"].items()}
        held_out = split_by_patient(archive.examples, shares, lineage["seed"])[Split.TEST]
        chosen = [held_out[at] for at in np.random.default_rng(0).permutation(len(held_out))[:240]]
        test = prepare(archive, chosen, ["pneumonia"], shipped.spec, tuple(lineage["log_aspect"]))
    prediction = engine.predict(test.pixels)
    called = calibrate(shipped, prediction.logits)[:, 0] >= shipped.findings[0].thresholds["accuracy"]
    assert np.mean(called == (test.labels[:, 0] > 0.5)) >= 0.9
    assert np.mean(shipped.scope.distance(prediction.embeddings) > shipped.scope.max_distance) <= 0.03


def test_decisions_do_not_contradict_the_map(shipped: Bundle, engine: Engine) -> None:
    prediction = engine.predict(np.zeros((1, shipped.spec.size, shipped.spec.size), np.uint8))
    pixels, geometry = raster_to_model_input(np.full((10, 20), 5, np.uint8), shipped.spec)
    reading = decide(shipped, np.array([0.999]), prediction.maps[0] * 0, 0.0, geometry)
    assert reading.findings[0].decision is Decision.PRESENT
    assert reading.findings[0].area_share == 0.0
    assert not pixels.any()
