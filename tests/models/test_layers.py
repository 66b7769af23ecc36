"""Folding loses nothing, halving is a mean, and features are normalised as Flax does it."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from models.layers import GroupNorm, as_levels, doubled, folded, halved, unfolded


@settings(deadline=None, max_examples=40)
@given(st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(1, 3), st.integers(0, 9))
def test_unfolding_undoes_folding(factor: int, rows: int, columns: int, seed: int) -> None:
    images = np.random.default_rng(seed).random((2, factor * rows, factor * columns), np.float32)
    features = folded(images, factor)
    assert features.shape == (2, rows, columns, factor**2)
    np.testing.assert_array_equal(unfolded(features, factor), images)


def test_a_fold_holds_one_square_of_the_picture() -> None:
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    np.testing.assert_array_equal(folded(image, 2)[0, 0, 1], [2, 3, 6, 7])


def test_halving_is_the_mean_and_undoes_doubling() -> None:
    features = np.random.default_rng(0).random((2, 4, 6, 3), np.float32)
    np.testing.assert_allclose(halved(doubled(features)), features, atol=1e-6)
    np.testing.assert_allclose(halved(features)[1, 0, 2], features[1, :2, 4:].mean(axis=(0, 1)), atol=1e-6)


def test_bytes_are_levels_and_floats_are_left_alone() -> None:
    np.testing.assert_allclose(as_levels(np.uint8([0, 51, 255])), [0.0, 0.2, 1.0], atol=1e-6)
    np.testing.assert_array_equal(as_levels(np.float32([0.25, 2.0])), [0.25, 2.0])


@pytest.mark.parametrize(("kind", "tolerance"), [(jnp.float32, 1e-5), (jnp.bfloat16, 3e-2)])
def test_features_are_normalised_as_flax_does_it(kind, tolerance: float) -> None:
    rng = np.random.default_rng(0)
    features = jnp.asarray(rng.normal(3.0, 2.0, (3, 5, 7, 12)), kind)
    ours, theirs = (made(12, num_groups=4, rngs=nnx.Rngs(0)) for made in (GroupNorm, nnx.GroupNorm))
    for norm in (ours, theirs):
        norm.scale[...] = np.linspace(0.5, 2.0, 12)
        norm.bias[...] = np.linspace(-1.0, 1.0, 12)
    normalised = ours(features)
    assert normalised.dtype == kind
    difference = normalised.astype(jnp.float32) - theirs(features).astype(jnp.float32)
    assert np.abs(difference).max() <= tolerance


def test_a_mask_is_refused_and_not_overlooked() -> None:
    with pytest.raises(ValueError, match="masked"):
        GroupNorm(4, num_groups=2, rngs=nnx.Rngs(0))(jnp.ones((1, 2, 2, 4)), mask=jnp.ones((1, 2, 2, 4)))
