import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models.classifier import Architecture, Classifier, cell_weights

ARCHITECTURE = Architecture(findings=2, widths=(8, 16), blocks=(1, 1), groups=4, context=0.0)
PIXELS = np.random.default_rng(0).integers(0, 256, (5, 64, 64), dtype=np.uint8)
EVEN = np.ones((5, 8, 8), np.float32)


@pytest.fixture(scope="module")
def network() -> Classifier:
    return Classifier(ARCHITECTURE, rngs=nnx.Rngs(7))


def test_logits_are_the_mean_of_the_evidence(network: Classifier) -> None:
    lungs = np.random.default_rng(1).uniform(0.1, 0.6, (5, 8, 8)).astype(np.float32)
    evidence = network(PIXELS, lungs)
    weights = np.asarray(cell_weights(jnp.asarray(lungs), 8, 0.0))
    # The maps keep the positive part only, so their mean bounds the logit from above.
    bound = np.asarray(evidence.maps).sum(axis=(2, 3)) / weights.sum(axis=(1, 2))[:, None]
    assert (np.asarray(evidence.logits) <= bound + np.asarray(network.head.bias[...]) + 1e-5).all()
    assert (np.asarray(evidence.maps) >= 0).all()


def test_what_lies_far_outside_the_lungs_changes_little(network: Classifier) -> None:
    """Nothing of it but what normalisation carries over."""
    weights = np.zeros((5, 8, 8), np.float32)
    weights[:, 4:, 4:] = 1.0
    inside = np.asarray(network(PIXELS, weights).maps)
    assert not inside[:, :, :4].any()
    assert not inside[:, :, :, :4].any()


@pytest.mark.parametrize("change", [lambda x: 0.5 * x + 0.3, lambda x: 0.4 * x])
def test_exposure_hardly_matters(network: Classifier, change) -> None:
    levels = PIXELS.astype(np.float32) / 255
    plain, changed = network(levels, EVEN).logits, network(change(levels), EVEN).logits
    other = network(np.random.default_rng(2).uniform(0, 1, levels.shape).astype(np.float32), EVEN).logits
    assert float(jnp.abs(plain - changed).max()) < 0.5 * float(jnp.abs(plain - other).max())


def test_cells_count_by_their_share_of_lung() -> None:
    lungs = np.zeros((1, 8, 8), np.float32)
    lungs[0, :4] = 1.0
    lungs[0, 4:, :2] = 0.5
    weights = np.asarray(cell_weights(jnp.asarray(lungs), 2, 0.2))[0]
    np.testing.assert_allclose(weights, [[1.0, 1.0], [0.5, 0.2]], atol=1e-6)
