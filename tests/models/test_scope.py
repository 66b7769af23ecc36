import numpy as np
import pytest

from models.bundle import Bundle
from models.scope import Scope


def test_distance_is_scaled_by_the_dimensions(bundle: Bundle) -> None:
    distances = bundle.scope.distance(np.array([[0.0] * 4, [1.0] * 4, [4.0, 0.0, 0.0, 0.0]]))
    np.testing.assert_allclose(distances, [0.0, 1.0, 2.0])
    assert distances.dtype == np.float32


def test_arrays_that_do_not_fit_are_refused(bundle: Bundle) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Scope(
            modalities=("CR",),
            body_parts=(),
            min_std=1.0,
            min_lungs=0.0,
            max_distance=1.0,
            mean=np.zeros(3, np.float32),
            whitening=np.eye(4, dtype=np.float32),
        )
