"""What is said of an image, with a network whose answers the test knows."""

import numpy as np
import pytest

from models.bundle import load_bundle
from models.prediction import Prediction
from radiolog.log.stage import Reject
from schemas.events import Decision, DiagnosisStatus, PixelStatus, Severity, derived_id
from stream_processors.inference import InferenceStage, explanation


class Scripted:
    """A network that gives this logit for each finding, at this distance from the training data, with lungs or none."""

    def __init__(self, bundle, logit, far=False, lungs=1.0) -> None:
        self.asked = []
        self._bundle, self._logit, self._far, self._lungs = bundle, logit, far, lungs

    def predict(self, pixels):
        self.asked.append(len(pixels))
        scope, n, findings = self._bundle.scope, len(pixels), len(self._bundle.findings)
        embeddings = np.tile(scope.mean, (n, 1)) + (1e6 if self._far else 0.0)
        maps = np.zeros((n, findings, 4, 4), np.float32)
        maps[:, :, 1, 2] = 1000.0
        lungs = np.full((n, 8, 8), self._lungs, np.float32)
        return Prediction(np.full((n, findings), self._logit, np.float32), maps, embeddings.astype(np.float32), lungs)


@pytest.fixture(scope="module")
def bundle():
    return load_bundle("default")


@pytest.fixture(scope="module")
def pixels(bundle):
    return np.random.default_rng(1).integers(0, 255, (bundle.spec.size, bundle.spec.size), np.uint8)


def diagnose(bundle, items, logit=20.0, **how):
    network = Scripted(bundle, logit, **how)
    outcomes = InferenceStage(bundle, network).process(items)
    return [o if isinstance(o, Reject) else o.facts[0].event for o in outcomes], network


@pytest.mark.parametrize(("logit", "decision"), [(20.0, Decision.PRESENT), (-20.0, Decision.ABSENT)])
def test_presence_is_decided_by_threshold(bundle, pixels, received_pixels, logit, decision):
    item = received_pixels(pixels, bundle.spec)
    (event,), _ = diagnose(bundle, [item], logit)
    assert event.status is DiagnosisStatus.DIAGNOSED
    assert [finding.code for finding in event.findings] == [finding.code for finding in bundle.findings]
    for finding, spec in zip(event.findings, bundle.findings, strict=True):
        assert finding.decision is decision
        assert (finding.probability > finding.threshold) is (decision is Decision.PRESENT)
        assert (finding.severity is Severity.NONE) is (decision is Decision.ABSENT)
        assert finding.threshold == spec.thresholds[bundle.operating_point]
        assert finding.area_share == 1 / 16


def test_lineage_and_identity(bundle, pixels, received_pixels):
    item = received_pixels(pixels, bundle.spec)
    (event,), _ = diagnose(bundle, [item])
    assert event.event_id == derived_id("diagnosis", item.event.event_id, bundle.sha256, bundle.operating_point)
    assert (event.source, event.image) == (item.ref, item.event.source)
    assert (event.model_sha256, event.spec_sha256) == (bundle.sha256, bundle.spec.sha256)
    assert event.geometry == item.event.geometry


@pytest.mark.parametrize(
    ("changes", "words"), [({"modality": "CT"}, "CT"), ({"body_part": "EXTREMITY"}, "EXTREMITY"), ({}, "blank")]
)
def test_what_the_model_was_not_made_for_is_out_of_scope_and_never_asked(
    bundle, pixels, received_pixels, changes, words
):
    shown = pixels if changes else np.zeros_like(pixels)
    (event,), network = diagnose(bundle, [received_pixels(shown, bundle.spec, **changes)])
    assert (event.status, event.findings) == (DiagnosisStatus.OUT_OF_SCOPE, ())
    assert words in event.reason
    assert not network.asked


def test_far_from_the_training_data_is_out_of_scope(bundle, pixels, received_pixels):
    (event,), _ = diagnose(bundle, [received_pixels(pixels, bundle.spec)], far=True)
    assert (event.status, event.findings) == (DiagnosisStatus.OUT_OF_SCOPE, ())
    assert event.scope_distance > event.scope_threshold


def test_an_image_without_lungs_is_out_of_scope_and_says_so(bundle, pixels, received_pixels):
    (event,), _ = diagnose(bundle, [received_pixels(pixels, bundle.spec)], lungs=0.01)
    assert (event.status, event.findings) == (DiagnosisStatus.OUT_OF_SCOPE, ())
    assert event.reason.startswith("no lungs are found")


def test_where_the_lungs_are_goes_with_the_diagnosis(bundle, pixels, received_pixels):
    (event,), _ = diagnose(bundle, [received_pixels(pixels, bundle.spec)], lungs=0.5)
    assert (event.lungs.height, event.lungs.width) == (4, 4), "half of what the network says, to be small"
    assert set(event.lungs.values) == {128}


def test_an_absent_body_part_is_unknown_not_wrong(bundle, pixels, received_pixels):
    (event,), _ = diagnose(bundle, [received_pixels(pixels, bundle.spec, body_part=None)])
    assert event.status is DiagnosisStatus.DIAGNOSED


def test_no_pixels_is_no_failure(bundle, pixels, received_pixels):
    item = received_pixels(pixels, bundle.spec, status=PixelStatus.NOT_AN_IMAGE, pixels=b"", geometry=None)
    (event,), _ = diagnose(bundle, [item])
    assert event.status is DiagnosisStatus.NOT_AN_IMAGE


@pytest.mark.parametrize(
    ("changes", "error_class"),
    [
        ({"spec_sha256": "0" * 64}, "wrong_spec"),
        ({"pixels": b"too few"}, "wrong_pixels"),
        ({"dtype": "FLOAT16"}, "wrong_pixels"),
        ({"geometry": None}, "wrong_pixels"),
    ],
)
def test_pixels_that_are_not_the_models_are_rejected(bundle, pixels, received_pixels, changes, error_class):
    (outcome,), network = diagnose(bundle, [received_pixels(pixels, bundle.spec, **changes)])
    assert isinstance(outcome, Reject)
    assert outcome.error_class == error_class
    assert not network.asked


def test_a_mixed_batch_keeps_its_order_and_asks_once(bundle, pixels, received_pixels):
    items = [
        received_pixels(pixels, bundle.spec),
        received_pixels(pixels, bundle.spec, modality="MR"),
        received_pixels(pixels, bundle.spec, spec_sha256="0" * 64),
        received_pixels(pixels, bundle.spec, body_part=None),
    ]
    outcomes, network = diagnose(bundle, items)
    kinds = [o.error_class if isinstance(o, Reject) else o.status for o in outcomes]
    assert kinds == ["DIAGNOSED", "OUT_OF_SCOPE", "wrong_spec", "DIAGNOSED"]
    assert network.asked == [2]


def test_an_explanation_is_scaled_to_its_maximum():
    values = np.array([[0.0, 1.0], [2.0, 4.0]], np.float32)
    assert list(explanation(values).values) == [0, 64, 128, 255]
    assert list(explanation(np.zeros((1, 2), np.float32)).values) == [0, 0]
