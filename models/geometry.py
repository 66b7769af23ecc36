"""Where the pixels of a model's square came from in the original image."""

from dataclasses import asdict, dataclass
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The crop, resize and letterbox that took an original image to a model's square, all in whole pixels.

    `original_*` is the stored image, `crop_*` the part of it that was kept, `resized_*` the size of that part in
    the square and `pad_*` its offset there. The longer resized edge fills the square.
    """

    original_rows: int
    original_columns: int
    crop_top: int
    crop_left: int
    crop_rows: int
    crop_columns: int
    resized_rows: int
    resized_columns: int
    pad_top: int
    pad_left: int

    def __post_init__(self) -> None:
        if min(self.crop_rows, self.crop_columns, self.resized_rows, self.resized_columns) < 1:
            raise ValueError("the crop and its resized form must hold at least one pixel")
        if min(self.crop_top, self.crop_left, self.pad_top, self.pad_left) < 0:
            raise ValueError("offsets of crop and padding must not be negative")
        if (
            self.crop_top + self.crop_rows > self.original_rows
            or self.crop_left + self.crop_columns > self.original_columns
        ):
            raise ValueError("the crop reaches outside the original image")
        if self.pad_top + self.resized_rows > self.size or self.pad_left + self.resized_columns > self.size:
            raise ValueError("the padded content reaches outside the model's square")

    @classmethod
    def whole(cls, size: int) -> Self:
        """Of an image that is the model's square as it is."""
        return cls(
            original_rows=size,
            original_columns=size,
            crop_top=0,
            crop_left=0,
            crop_rows=size,
            crop_columns=size,
            resized_rows=size,
            resized_columns=size,
            pad_top=0,
            pad_left=0,
        )

    @property
    def size(self) -> int:
        """Edge of the model's square, in pixels."""
        return max(self.resized_rows, self.resized_columns)

    def to_original(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Carry a map over the model's square back to the pixels of the original image.

        Args:
            values: `[h, w]` at any resolution; it covers the whole square.

        Returns:
            `[original_rows, original_columns]`, bilinear inside the crop and zero outside it.
        """
        if values.ndim != 2 or values.size == 0:
            raise ValueError(f"a map has two dimensions that are not empty, got shape {values.shape}")
        height, width = values.shape
        per_row = self.resized_rows / self.crop_rows * height / self.size
        per_column = self.resized_columns / self.crop_columns * width / self.size
        # Pixel centres lie at half coordinates on both grids, hence the two halves.
        first_row = self.pad_top * height / self.size + per_row / 2 - 0.5
        first_column = self.pad_left * width / self.size + per_column / 2 - 0.5
        onto_map = np.array([[per_column, 0.0, first_column], [0.0, per_row, first_row]])
        original = np.zeros((self.original_rows, self.original_columns), np.float32)
        original[
            self.crop_top : self.crop_top + self.crop_rows, self.crop_left : self.crop_left + self.crop_columns
        ] = cv2.warpAffine(
            np.ascontiguousarray(values, np.float32),
            onto_map,
            (self.crop_columns, self.crop_rows),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        return original

    def to_square(self, values: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Carry a mask `[original_rows, original_columns]` of the original image to the model's square; 0 around it."""
        rows = slice(self.crop_top, self.crop_top + self.crop_rows)
        columns = slice(self.crop_left, self.crop_left + self.crop_columns)
        square = np.zeros((self.size, self.size), np.uint8)
        square[
            self.pad_top : self.pad_top + self.resized_rows, self.pad_left : self.pad_left + self.resized_columns
        ] = cv2.resize(values[rows, columns], (self.resized_columns, self.resized_rows), interpolation=cv2.INTER_AREA)
        return square

    def to_json(self) -> dict[str, int]:
        """All fields by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, int]) -> Self:
        """Rebuild a geometry from `to_json`."""
        return cls(**document)
