"""What a model may be asked about: modality, body part, and likeness to the images it was trained on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scope:
    """The limits outside which a model stays silent.

    Likeness is the Mahalanobis distance of an image's embedding from the training images, divided by the root of
    the number of dimensions, so that it does not grow with their number (Lee et al., "A Simple
    Unified Framework for Detecting Out-of-Distribution Samples", NeurIPS 2018).

    Attributes:
        modalities: values of Modality (0008,0060) that the model reads.
        body_parts: values of Body Part Examined (0018,0015) that it reads; an absent one is unknown, not wrong.
        min_std: least standard deviation of the model input in grey levels; below it the image is blank.
        min_lungs: least share of the model input that is lung; below it the image is no frontal chest radiograph.
        max_distance: greatest distance that still counts as like the training images.
        mean: `[d]`, mean embedding of the training images.
        whitening: `[d, d]`, maps a centred embedding to unit covariance.
    """

    modalities: tuple[str, ...]
    body_parts: tuple[str, ...]
    min_std: float
    min_lungs: float
    max_distance: float
    mean: NDArray[np.float32]
    whitening: NDArray[np.float32]

    def __post_init__(self) -> None:
        dimensions = self.mean.shape[0]
        if self.mean.ndim != 1 or self.whitening.shape != (dimensions, dimensions):
            raise ValueError(f"a mean of shape {self.mean.shape} and a whitening of {self.whitening.shape} do not fit")

    def distance(self, embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
        """Distance of each of `[n, d]` embeddings from the training images, `[n]`."""
        white = (embeddings - self.mean) @ self.whitening
        squares: NDArray[np.float64] = np.mean(np.square(white), axis=1, dtype=np.float64)
        return np.sqrt(squares).astype(np.float32)
