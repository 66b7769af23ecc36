import cv2
import numpy as np
import pytest

from training.attacks import ATTACKS

PICTURE = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (96, 112), dtype=np.uint8), (0, 0), 2.0)


@pytest.mark.parametrize("name", ATTACKS)
def test_each_gives_a_picture_and_leaves_the_original(name: str) -> None:
    before = PICTURE.copy()
    changed = ATTACKS[name](PICTURE)
    assert changed.dtype == np.uint8
    assert changed.ndim == 2
    np.testing.assert_array_equal(PICTURE, before)
    np.testing.assert_array_equal(changed, ATTACKS[name](PICTURE))
    assert (name == "none") == np.array_equal(changed, PICTURE)


def test_they_do_what_they_say() -> None:
    assert ATTACKS["brighter"](PICTURE).mean() > PICTURE.mean() > ATTACKS["darker"](PICTURE).mean()
    assert ATTACKS["sharpened"](PICTURE).std() > PICTURE.std() > ATTACKS["blurred"](PICTURE).std()
    assert ATTACKS["white border"](PICTURE)[0, 0] == 255
    assert ATTACKS["trimmed"](PICTURE).shape < PICTURE.shape
    assert not ATTACKS["narrower"](PICTURE)[:, 0].any()
    assert not ATTACKS["wider"](PICTURE)[0].any()
