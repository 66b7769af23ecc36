"""What random changes may do to a picture, and what they must not."""

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.augment import Augmentation, augment, mix
from training.augment.compression import compress, quantised
from training.augment.cutout import cut_out
from training.augment.geometry import Pose, draw_pose, places, sample
from training.augment.tone import blurred, tone

KEY = jax.random.key(0)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 32, 32), dtype=np.uint8)
GEOMETRY = {
    "rotation": 30.0,
    "shift": 0.2,
    "scale": 0.3,
    "aspect": 0.3,
    "shear": 10.0,
    "flip": 0.5,
    "elastic": 0.03,
}
TONE = {
    "gamma": 1.0,
    "contrast": 1.0,
    "brightness": 0.5,
    "shading": 0.2,
    "sharpness": 2.0,
    "blur": 1.0,
    "noise": 0.3,
    "jpeg": 0.5,
}
STRONG = Augmentation(**GEOMETRY, **TONE, cutout=0.5)
seeds = st.integers(0, 2**31 - 1)


def smooth(count: int = 4, size: int = 48) -> np.ndarray:
    """Pictures without steps, which survive resampling."""
    rng = np.random.default_rng(1)
    return np.stack([cv2.GaussianBlur(rng.random((size, size)).astype(np.float32), (0, 0), 4) for _ in range(count)])


def test_range_shape_and_type_hold_however_strong_it_is() -> None:
    views = augment(KEY, IMAGES, STRONG, masks=IMAGES, size=24, mask_size=12)
    for values, edge in ((views.images, 24), (views.masks, 12)):
        assert values.shape == (6, edge, edge)
        assert values.dtype == jnp.float32
        assert 0.0 <= float(values.min()) < float(values.max()) <= 1.0


@pytest.mark.parametrize("images", [IMAGES, np.float32(IMAGES / 255)], ids=["uint8", "float32"])
def test_without_extent_nothing_changes(images: np.ndarray) -> None:
    views = augment(KEY, images, Augmentation(), masks=images)
    np.testing.assert_allclose(views.images, IMAGES / 255, atol=1e-4)
    np.testing.assert_allclose(views.masks, IMAGES / 255, atol=1e-4)


def test_the_key_decides_and_each_image_is_drawn_alone() -> None:
    same = np.repeat(IMAGES[:1], 6, axis=0)
    changed = augment(KEY, same, STRONG).images
    np.testing.assert_array_equal(changed, augment(KEY, same, STRONG).images)
    assert float(jnp.abs(changed - augment(jax.random.key(1), same, STRONG).images).max()) > 0.1
    assert len(np.unique(np.asarray(changed).reshape(6, -1), axis=0)) == 6


def test_what_is_drawn_for_an_image_depends_on_no_other() -> None:
    others = IMAGES.copy()
    others[1:] = 255 - others[1:]
    np.testing.assert_array_equal(augment(KEY, IMAGES, STRONG).images[0], augment(KEY, others, STRONG).images[0])


def test_a_certain_flip_is_a_flip_and_two_are_none() -> None:
    once = augment(KEY, IMAGES, Augmentation(flip=1.0)).images
    np.testing.assert_allclose(once, IMAGES[:, :, ::-1] / 255, atol=1e-4)
    np.testing.assert_allclose(augment(KEY, once, Augmentation(flip=1.0)).images, IMAGES / 255, atol=2e-4)


@pytest.mark.parametrize(
    "config",
    [Augmentation(**{name: extent}) for name, extent in {**GEOMETRY, **TONE, "jpeg": 1.0, "cutout": 1.0}.items()],
    ids=str,
)
def test_each_change_does_something(config: Augmentation) -> None:
    assert float(jnp.abs(augment(KEY, IMAGES, config).images - IMAGES / 255).mean()) > 5e-4


def test_only_geometry_moves_masks() -> None:
    views = augment(KEY, IMAGES, Augmentation(**TONE, cutout=1.0, mixup=1.0), masks=IMAGES)
    np.testing.assert_allclose(views.masks, IMAGES / 255, atol=1e-4)


def test_masks_follow_images_exactly() -> None:
    views = augment(KEY, IMAGES, Augmentation(**GEOMETRY), masks=IMAGES)
    np.testing.assert_array_equal(views.images, views.masks)


def test_a_coarser_mask_follows_too() -> None:
    fine = smooth(count=4, size=64)
    coarse = fine.reshape(4, 32, 2, 32, 2).mean(axis=(2, 4))
    views = augment(KEY, fine, Augmentation(**GEOMETRY), masks=coarse, size=64, mask_size=32)
    inside = np.s_[:, 4:-4, 4:-4]
    seen = views.images.reshape(4, 32, 2, 32, 2).mean(axis=(2, 4))
    assert float(jnp.abs(seen - views.masks)[inside].mean()) < 0.004


def test_a_box_is_cropped_to() -> None:
    boxes = np.tile(np.float32([[0.25, 0.5, 0.75, 1.0]]), (6, 1))
    views = augment(KEY, IMAGES, Augmentation(), boxes=boxes, size=16)
    np.testing.assert_allclose(views.images, IMAGES[:, 8:24, 16:32] / 255, atol=1e-4)


def test_outside_the_picture_is_black() -> None:
    boxes = np.tile(np.float32([[1.5, 1.5, 2.5, 2.5]]), (6, 1))
    assert float(augment(KEY, IMAGES, Augmentation(), boxes=boxes).images.max()) == 0.0


def test_a_shift_moves_by_at_most_its_share() -> None:
    dot = np.zeros((20, 40, 40), np.uint8)
    dot[:, 20, 20] = 255
    changed = np.asarray(augment(KEY, dot, Augmentation(shift=0.1)).images)
    rows = (changed.sum(axis=2) * np.arange(40)).sum(axis=1) / changed.sum(axis=(1, 2))
    assert 1 < np.abs(rows - 20).max() <= 4.01


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_the_way_back_undoes_a_pose(seed: int) -> None:
    config = Augmentation(**{**GEOMETRY, "elastic": 0.0})
    pose = draw_pose(jax.random.key(seed), config)
    inverse = jnp.linalg.inv(pose.matrix)
    whole = jnp.array([0.0, 0.0, 1.0, 1.0])
    there = places(pose, whole, 9)
    steps = (there - 0.5).reshape(2, -1)
    back = inverse @ (steps - pose.shift[:, None]) + 0.5
    np.testing.assert_allclose(back.reshape(2, 9, 9), places(Pose(jnp.eye(2), jnp.zeros(2), None), whole, 9), atol=1e-5)


@settings(max_examples=15, deadline=None)
@given(degrees=st.floats(1, 89), seed=seeds)
def test_a_rotation_keeps_distances_and_stays_within_its_extent(degrees: float, seed: int) -> None:
    matrix = draw_pose(jax.random.key(seed), Augmentation(rotation=degrees)).matrix
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(2), atol=1e-5)
    assert abs(np.degrees(np.arcsin(float(matrix[1, 0])))) <= degrees + 1e-3


@settings(max_examples=15, deadline=None)
@given(scale=st.floats(0, 1), aspect=st.floats(0, 1), seed=seeds)
def test_magnification_stays_within_its_extent(scale: float, aspect: float, seed: int) -> None:
    matrix = draw_pose(jax.random.key(seed), Augmentation(scale=scale, aspect=aspect)).matrix
    tall, wide = -np.log(np.diag(np.asarray(matrix)))
    assert abs(tall + wide) / 2 <= scale + 1e-4
    assert abs(wide - tall) <= aspect + 1e-4


def test_sampling_between_pixels_is_bilinear() -> None:
    picture = jnp.array([[0.0, 1.0], [0.5, 0.25]])
    centre = sample(picture, jnp.full((2, 1, 1), 0.5))
    np.testing.assert_allclose(centre, picture.mean(), atol=1e-6)


@settings(max_examples=15, deadline=None)
@given(seed=seeds)
def test_tone_keeps_the_order_of_grey_levels(seed: int) -> None:
    ramp = jnp.tile(jnp.linspace(0, 1, 64), (16, 1))
    toned = tone(jax.random.key(seed), ramp, Augmentation(gamma=1.0, contrast=1.0, brightness=0.3))
    assert bool((jnp.diff(toned, axis=1) >= -1e-6).all())


def test_blur_keeps_what_is_even_and_the_sum_of_what_is_inside() -> None:
    np.testing.assert_allclose(blurred(jnp.full((9, 7), 0.4)), 0.4, atol=1e-6)
    dot = jnp.zeros((9, 9)).at[4, 4].set(1.0)
    np.testing.assert_allclose(blurred(dot).sum(), 1.0, atol=1e-6)
    np.testing.assert_allclose(blurred(dot), blurred(dot).T, atol=1e-7)


def test_noise_has_no_mean_and_at_most_its_deviation() -> None:
    grey = np.full((64, 48, 48), 0.5, np.float32)
    noise = np.asarray(augment(KEY, grey, Augmentation(noise=0.1)).images) - 0.5
    assert abs(noise.mean()) < 1e-3
    deviations = noise.std(axis=(1, 2))
    assert 0.085 < deviations.max() < 0.105
    assert deviations.min() < 0.02


def test_quantisation_is_that_of_jpeg() -> None:
    picture = np.rint(255 * smooth(count=1, size=32)[0]).astype(np.uint8)
    # Quality 50 is the table itself (Independent JPEG Group).
    coded = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 50])[1], cv2.IMREAD_GRAYSCALE)
    ours = np.asarray(quantised(jnp.asarray(picture / 255, jnp.float32), 1.0)) * 255
    assert np.abs(ours - coded).max() < 4
    assert np.abs(ours - coded).mean() < 0.6 < np.abs(picture.astype(float) - coded).mean()


@pytest.mark.parametrize("shape", [(8, 8), (11, 30), (3, 5)])
def test_fine_quantisation_is_none_whatever_the_shape(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).random(shape).astype(np.float32)
    np.testing.assert_allclose(quantised(jnp.asarray(picture), 1e-4), picture, atol=1e-3)


def test_cutout_hides_one_rectangle_of_bounded_size() -> None:
    image = jnp.asarray(IMAGES[0] / 255, jnp.float32)
    for seed in range(8):
        hidden = np.asarray(cut_out(jax.random.key(seed), image, 1.0) != image)
        rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
        assert 0 < hidden.sum() <= (0.3 * 32 + 1) ** 2
        assert hidden[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].mean() > 0.97


def test_mixtures_keep_their_own_part_the_larger_and_labels_in_proportion() -> None:
    labels = jnp.eye(8)
    own, images = mix(KEY, (labels, 2.0 * labels[:, None, :]), 0.4)
    shares = np.diag(own)
    assert (shares >= 0.5).all()
    assert (shares < 1.0).any()
    np.testing.assert_allclose(own.sum(axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(images[:, 0], 2.0 * own, atol=1e-6)
    assert mix(KEY, labels, 0.0) is labels


def test_an_unknown_label_stays_unknown_when_mixed() -> None:
    mixed = mix(KEY, jnp.array([[1.0], [jnp.nan], [0.0], [1.0]]), 0.4)
    np.testing.assert_array_equal(jnp.isnan(mixed)[:, 0], [False, True, True, False])


@pytest.mark.parametrize(
    "wrong", [{"rotation": -1.0}, {"flip": 1.5}, {"noise": float("nan")}, {"jpeg": 2.0}, {"shear": 90.0}]
)
def test_extents_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Augmentation(**wrong)


def test_chances_are_chances() -> None:
    image = jnp.asarray(IMAGES[0] / 255, jnp.float32)
    for change in (cut_out, compress):
        np.testing.assert_array_equal(change(KEY, image, 0.0), image)
        changed = [bool((change(jax.random.key(seed), image, 0.5) != image).any()) for seed in range(24)]
        assert 4 < sum(changed) < 20
