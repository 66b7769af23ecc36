"""The reader around its networks: what it shows the classifier, and what it makes of two answers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from models.classifier import Architecture, Evidence
from models.lung_field import crop, lung_boxes
from models.lungs import LungArchitecture
from models.reader import MAP_STRIDE, Outputs, Reader, ReaderArchitecture

SIZE = 64
ARCHITECTURE = ReaderArchitecture(
    lungs=LungArchitecture(widths=(4,), groups=1),
    classifier=Architecture(findings=2, widths=(4,), blocks=(1,), groups=1, context=0.1),
    field=16,
)


class DarkIsLung(nnx.Module):
    """Takes for lung what is darker than a fourth of white, and is sure of it."""

    def __call__(self, images: jax.Array) -> jax.Array:
        half = images.reshape(len(images), SIZE // 2, 2, SIZE // 2, 2).mean(axis=(2, 4))
        return jnp.where(half < 0.25, 20.0, -20.0)


class Even(nnx.Module):
    """Says the mean of what it sees, and of its lungs; its maps are even."""

    def __call__(self, images: jax.Array, lungs: jax.Array) -> Evidence:
        assert images.shape[1:] == (16, 16)
        assert lungs.shape[1:] == (8, 8)
        means = jnp.stack([images.mean(axis=(1, 2)), lungs.mean(axis=(1, 2))], axis=1)
        return Evidence(
            means,
            jnp.ones((len(images), 2, SIZE // MAP_STRIDE, SIZE // MAP_STRIDE)),
            jnp.concatenate([means, -means], axis=1),
        )


def pictures(*places: tuple[int, int, int, int] | None) -> np.ndarray:
    """White, with black from top and left to bottom and right where a place is given."""
    drawn = np.full((len(places), SIZE, SIZE), 255, np.uint8)
    for picture, place in zip(drawn, places, strict=True):
        if place is not None:
            top, left, bottom, right = place
            picture[top:bottom, left:right] = 0
    return drawn


@pytest.fixture(scope="module")
def outputs() -> Outputs:
    """What is said of a square, a wide box, a tall one and no lungs: in one batch, so that none is another's."""
    reader = nnx.eval_shape(lambda: Reader(ARCHITECTURE, rngs=nnx.Rngs(0)))
    reader.lungs, reader.classifier = DarkIsLung(), Even()
    drawn = pictures((16, 16, 48, 48), (8, 0, 56, 64), (16, 16, 48, 40), None)
    return jax.device_get(jax.jit(reader)(drawn))


def test_the_reading_is_the_mean_of_the_field_and_the_whole(outputs: Outputs) -> None:
    boxes = lung_boxes(outputs.lungs)
    for row, (height, width) in enumerate(((32, 32), (48, 64))):
        share = height * width / SIZE**2
        # The field is the lungs and a margin; as many cells of it are lung as the box is larger than them.
        top, left, bottom, right = np.asarray(boxes)[row]
        in_field = share / ((bottom - top) * (right - left))
        np.testing.assert_allclose(outputs.logits[row, 1], (in_field + share) / 2, atol=0.03)
        np.testing.assert_allclose(outputs.logits[row, 0], 1 - (in_field + share) / 2, atol=0.03)
    np.testing.assert_allclose(outputs.embeddings, np.concatenate([outputs.logits, -outputs.logits], axis=1), atol=1e-6)


def test_evidence_lies_where_it_was_seen(outputs: Outputs) -> None:
    """Inside the field both views speak, outside one of them, and the mean is taken of both."""
    maps = outputs.maps[2]
    assert maps.shape == (2, SIZE // MAP_STRIDE, SIZE // MAP_STRIDE)
    np.testing.assert_allclose(maps[:, 2:6, 2:5], 1.0, atol=1e-4)
    for outside in (maps[:, :1], maps[:, -1:], maps[:, :, :1], maps[:, :, -1:]):
        np.testing.assert_allclose(outside, 0.5, atol=1e-4)


def test_without_lungs_it_sees_the_whole_twice(outputs: Outputs) -> None:
    assert outputs.lungs[3].max() < 1e-3
    np.testing.assert_allclose(outputs.logits[3], [1.0, 0.0], atol=1e-5)
    np.testing.assert_allclose(outputs.maps[3], 1.0, atol=1e-5)


def test_where_the_lungs_lie_is_not_what_the_field_tells() -> None:
    """Lungs moved by whole cells: the classifier gets the same field, wherever they are."""
    picture = np.random.default_rng(0).uniform(0, 0.2, (24, 24)).astype(np.float32)
    whole, lungs = np.ones((2, SIZE, SIZE), np.float32), np.zeros((2, SIZE, SIZE), np.float32)
    for row, (top, left) in enumerate(((4, 8), (28, 32))):
        whole[row, top : top + 24, left : left + 24] = picture
        lungs[row, top : top + 24, left : left + 24] = 1.0
    seen = jax.jit(lambda whole, lungs: crop(whole, lung_boxes(lungs, margin=0.0), 24))(whole, lungs)
    np.testing.assert_allclose(seen, [picture, picture], atol=1e-4)
