import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.opacities import paint

LUNGS = np.zeros((96, 96), np.float32)
LUNGS[15:80, 8:38] = LUNGS[15:80, 58:88] = 1.0
PICTURE = np.where(LUNGS > 0, 60, 180).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0, 1), seed=st.integers(0, 9))
def test_it_covers_its_share_of_the_lungs_and_no_more(share: float, seed: int) -> None:
    painted = paint(PICTURE, LUNGS, share, seed)
    assert not painted.region[LUNGS < 0.5].any()
    assert painted.region.sum() == round(share * (LUNGS >= 0.5).sum())
    assert painted.picture.dtype == np.uint8
    # Soft edges reach a little further than the region, and nothing gets darker.
    assert (painted.picture.astype(int) >= PICTURE.astype(int) - 1).all()


def test_more_is_the_same_opacity_grown() -> None:
    small, large = paint(PICTURE, LUNGS, 0.1, 3), paint(PICTURE, LUNGS, 0.4, 3)
    assert large.region[small.region].all()
    assert small.picture[small.region].mean() > PICTURE[small.region].mean() + 50


def test_nothing_is_painted_for_no_share_and_nothing_without_lungs() -> None:
    np.testing.assert_array_equal(paint(PICTURE, LUNGS, 0.0, 0).picture, PICTURE)
    with pytest.raises(ValueError, match="lungs"):
        paint(PICTURE, LUNGS * 0, 0.1, 0)
