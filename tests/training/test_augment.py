import jax
import jax.numpy as jnp
import numpy as np
import pytest

from training.augment import Augmentation, augment, flip

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 32, 32), dtype=np.uint8)
STRONG = Augmentation(
    rotation=30.0,
    shift=0.2,
    scale=0.3,
    aspect=0.3,
    flip=0.5,
    contrast=1.0,
    brightness=0.5,
    gamma=1.0,
    sharpness=2.0,
    noise=0.3,
)


def test_two_flips_are_none() -> None:
    images = jnp.asarray(IMAGES)
    np.testing.assert_array_equal(flip(flip(images)), images)
    np.testing.assert_array_equal(flip(images)[0, 3], IMAGES[0, 3, ::-1])


def test_range_shape_and_type_hold_however_strong_it_is() -> None:
    changed = augment(KEY, IMAGES, STRONG)
    assert changed.shape == IMAGES.shape
    assert changed.dtype == jnp.float32
    assert float(changed.min()) >= 0.0
    assert float(changed.max()) <= 1.0
    assert bool(jnp.isfinite(changed).all())


def test_without_extent_nothing_changes() -> None:
    np.testing.assert_allclose(augment(KEY, IMAGES, Augmentation()), IMAGES / 255, atol=1e-4)


def test_the_key_decides_and_each_image_is_drawn_alone() -> None:
    same = np.repeat(IMAGES[:1], 6, axis=0)
    changed = augment(KEY, same, STRONG)
    np.testing.assert_array_equal(changed, augment(KEY, same, STRONG))
    assert float(jnp.abs(changed - augment(jax.random.key(1), same, STRONG)).max()) > 0.1
    assert len(np.unique(np.asarray(changed).reshape(6, -1), axis=0)) == 6


def test_a_certain_flip_is_a_flip() -> None:
    changed = augment(KEY, IMAGES, Augmentation(flip=1.0))
    np.testing.assert_allclose(changed, IMAGES[:, :, ::-1] / 255, atol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        Augmentation(rotation=20.0),
        Augmentation(shift=0.2),
        Augmentation(scale=0.3),
        Augmentation(aspect=0.4),
        Augmentation(contrast=0.5),
        Augmentation(brightness=0.3),
        Augmentation(gamma=0.5),
        Augmentation(sharpness=1.0),
        Augmentation(noise=0.1),
    ],
)
def test_each_change_does_something(config: Augmentation) -> None:
    assert float(jnp.abs(augment(KEY, IMAGES, config) - IMAGES / 255).mean()) > 0.005


def test_a_shift_moves_by_at_most_its_share() -> None:
    dot = np.zeros((20, 40, 40), np.uint8)
    dot[:, 20, 20] = 255
    changed = np.asarray(augment(KEY, dot, Augmentation(shift=0.1)))
    grid = np.arange(40)
    rows = (changed.sum(axis=2) * grid).sum(axis=1) / changed.sum(axis=(1, 2))
    assert np.abs(rows - 20).max() <= 4.01
    assert np.abs(rows - 20).max() > 1
