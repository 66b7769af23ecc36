"""The model that comes with the package: what it is, and that it still says what it said when it was made."""

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file

from models.bundle import Bundle, load_bundle
from models.decision import calibrate, in_scope, interpret, pixels_in_scope
from models.engine import Engine
from models.pixels import decode, raster_to_model_input, to_model_input
from schemas.events import Decision, Severity

DATA = Path(__file__).parents[3] / "shared" / "data"
ARCHIVE = DATA / "chest-xray-pneumonia-train-224.zip"
MASKS = DATA / "lung-masks-224.zip"
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
    kinds = [(finding.code, finding.parent) for finding in shipped.findings]
    assert kinds == [("233604007", None), ("53084003", "233604007"), ("75570004", "233604007")]
    assert sum(array.nbytes for array in shipped.weights.values()) < 10_000_000
    for finding in shipped.findings:
        assert set(finding.thresholds) == {"accuracy", "sensitivity-95", "specificity-95"}
        assert 0 < finding.severity.moderate_from < finding.severity.severe_from < 1
    assert shipped.metrics["validation/pneumonia"]["accuracy"] >= 0.95


def test_the_real_chest_radiograph_is_read_alike_in_four_encodings(shipped: Bundle, engine: Engine) -> None:
    inputs = [to_model_input(decode(sample(name)), shipped.spec) for name in CHEST]
    together = engine.predict(np.stack([pixels for pixels, _ in inputs]))
    probabilities = calibrate(shipped, together.logits)[:, 0]
    alone = [calibrate(shipped, engine.predict(pixels[None]).logits)[0, 0] for pixels, _ in inputs]
    np.testing.assert_allclose(probabilities, alone, atol=1e-6)
    assert probabilities[0] == pytest.approx(probabilities[1], abs=1e-6)
    assert probabilities[2] == pytest.approx(probabilities[3], abs=1e-6)
    assert in_scope(shipped, "CR", "CHEST").in_scope
    for (pixels, geometry), values, reading in zip(inputs, together.maps, interpret(shipped, together), strict=True):
        assert pixels_in_scope(shipped, pixels).in_scope
        assert reading.lungs is not None
        assert 0.1 < (reading.lungs >= 0.5).mean() < 0.5
        assert geometry.to_original(values[0]).shape == geometry.to_original(reading.lungs).shape == (1955, 1841)


@pytest.mark.parametrize("name", ["RG3_UNCR", "CT_small", "MR_small", "US1_UNCR"])
def test_other_examinations_are_out_of_scope(shipped: Bundle, name: str) -> None:
    header = decode(sample(name)).header
    assert not in_scope(shipped, header.get("Modality"), header.get("BodyPartExamined")).in_scope


def test_a_blank_image_is_out_of_scope(shipped: Bundle) -> None:
    pixels, _ = raster_to_model_input(np.full((300, 300), 77, np.uint8), shipped.spec)
    assert not pixels_in_scope(shipped, pixels).in_scope


@pytest.fixture(scope="module")
def held_out(shipped: Bundle):
    """The archive, open, and those images of the test patients that lungs are drawn for, at most 200."""
    if not ARCHIVE.is_file() or not MASKS.is_file():
        warnings.warn(f"{ARCHIVE.name} is absent: the shipped bundle was NOT evaluated", stacklevel=1)
        pytest.skip("the labelled archive is not in ../shared/data")
    from training.archive import LabelledArchive, Split, split_by_patient

    lineage = shipped.lineage
    with LabelledArchive(ARCHIVE) as archive:
        assert archive.sha256() == lineage["archive_sha256"]
        shares = {Split(part): share for part, share in lineage["shares"].items()}
        found = split_by_patient(archive.examples, shares, lineage["seed"])[Split.TEST]
        yield archive, [found[at] for at in np.random.default_rng(0).permutation(len(found))[:200]]


def test_held_out_patients_are_classified(shipped: Bundle, engine: Engine, held_out) -> None:
    from training.archive import prepare

    archive, chosen = held_out
    test = prepare(archive, chosen, ["pneumonia"], shipped.spec)
    prediction = engine.predict(test.pixels)
    called = calibrate(shipped, prediction.logits)[:, 0] >= shipped.findings[0].thresholds["accuracy"]
    assert np.mean(called == (test.labels[:, 0] > 0.5)) >= 0.94
    assert np.mean([not reading.scope.in_scope for reading in interpret(shipped, prediction)]) <= 0.04


def test_lungs_of_held_out_patients_are_found(shipped: Bundle, engine: Engine, held_out) -> None:
    from training.lung_masks import LungMasks

    archive, chosen = held_out
    with LungMasks(MASKS) as masks:
        pairs = [masks.pair(archive, example, shipped.spec) for example in chosen if example in masks]
    assert len(pairs) >= 30
    found = engine.predict(np.stack([pixels for pixels, _ in pairs])).lungs
    cell = shipped.spec.size // found.shape[1]
    drawn = np.stack([mask for _, mask in pairs]) > 0
    drawn = drawn.reshape(len(pairs), found.shape[1], cell, found.shape[2], cell).mean(axis=(2, 4)) >= 0.5
    both = (drawn & (found >= 0.5)).sum(axis=(1, 2))
    dice = 2 * both / (drawn.sum(axis=(1, 2)) + (found >= 0.5).sum(axis=(1, 2)))
    assert dice.mean() >= 0.94
    assert np.percentile(dice, 5) >= 0.85


def test_severity_is_of_what_the_map_marks(shipped: Bundle, engine: Engine) -> None:
    pixels, _ = to_model_input(decode(sample("RG1_UNCR")), shipped.spec)
    said = engine.predict(pixels[None])
    sure = replace(said, logits=np.full_like(said.logits, 20.0), embeddings=shipped.scope.mean[None])
    (nothing,) = interpret(shipped, replace(sure, maps=said.maps * 0))
    (everything,) = interpret(shipped, replace(sure, maps=said.maps * 0 + 100))
    assert all(finding.decision is Decision.PRESENT for finding in (*nothing.findings, *everything.findings))
    assert [finding.severity for finding in nothing.findings] == [Severity.MILD] * 3
    assert [finding.area_share for finding in nothing.findings] == [0.0] * 3
    assert [finding.severity for finding in everything.findings] == [Severity.SEVERE] * 3
