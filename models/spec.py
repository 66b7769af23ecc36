"""The preprocessing spec: everything that decides which pixels a model sees."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self


class SpecError(ValueError):
    """A preprocessing spec that cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreprocessSpec:
    """How a radiograph becomes the square, 8-bit, single-channel picture that a model reads.

    The value of every field below takes part in `sha256`, which travels with each preprocessed image and each
    bundle, so that pixels made by one recipe never reach a model trained on another. `version` also stands for
    the code behind the fields: raise it when that code changes what it produces.

    Attributes:
        name: short name of the recipe.
        version: revision of the recipe, from 1.
        size: edge of the model's square input, in pixels.
        dtype: sample type of the model's input.
        window_percentiles: percentiles of the modality values shown as black and white when the object brings
            neither a VOI LUT nor a window.
        border_std: an edge row or column whose standard deviation is below this many grey levels of 255 is border
            (collimator shutter, scan margin) and is cropped.
        border_max_share: most of the height (width) that the crop may take from either side.
        stretch_percentiles: percentiles of the cropped content mapped to 0 and 255, so that overall brightness
            and contrast tell the model nothing.
        stretch_min_range: least distance in grey levels that the stretch widens to the full range; a blank image
            therefore stays blank instead of becoming amplified noise.
    """

    name: str
    version: int
    size: int
    dtype: str = "uint8"
    window_percentiles: tuple[float, float] = (0.5, 99.5)
    border_std: float = 3.0
    border_max_share: float = 0.3
    stretch_percentiles: tuple[float, float] = (1.0, 99.0)
    stretch_min_range: float = 32.0

    def __post_init__(self) -> None:
        if not self.name or "@" in self.name:
            raise SpecError(f"a spec needs a name without '@', got {self.name!r}")
        if self.version < 1 or self.size < 16:
            raise SpecError(f"version {self.version} and size {self.size} must be at least 1 and 16")
        if self.dtype != "uint8":
            raise SpecError(f"only uint8 model input is made, not {self.dtype!r}")
        for low, high in (self.window_percentiles, self.stretch_percentiles):
            if not 0 <= low < high <= 100:
                raise SpecError(f"percentiles must ascend within 0..100, got {low} and {high}")
        if not 0 <= self.border_max_share < 0.5 or self.border_std < 0 or self.stretch_min_range < 1:
            raise SpecError("border_max_share must be in [0, 0.5), border_std >= 0, stretch_min_range >= 1")

    @property
    def id(self) -> str:
        """Name and version, for example `chest-128@1`."""
        return f"{self.name}@{self.version}"

    @property
    def sha256(self) -> str:
        """SHA-256 in hex of the canonical JSON (sorted keys, no blanks) of all fields."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Rebuild a spec from `to_json`.

        Raises:
            SpecError: for an unknown or missing field, or a value out of range.
        """
        unknown = document.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise SpecError(f"unknown spec fields: {', '.join(sorted(unknown))}")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in document.items()
        }
        try:
            return cls(**values)
        except TypeError as error:
            raise SpecError(f"incomplete preprocess spec: {error}") from error
