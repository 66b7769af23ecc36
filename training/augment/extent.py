"""How far each random change may go."""

import math
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Greatest extent of each change; drawn per image, evenly up to it in both directions if not said otherwise.

    Attributes:
        rotation: degrees.
        shift: share of the box's edge, each axis by itself.
        scale: natural log of the magnification.
        aspect: natural log of width over height.
        shear: degrees.
        flip: chance of a left-right flip.
        elastic: standard deviation of a smooth displacement, as a share of the box's edge.
        gamma: natural log of the exponent.
        contrast: natural log of the gain around mid-grey.
        brightness: offset, of a range of 1.
        shading: standard deviation of a smooth offset, of a range of 1: scatter, heel effect, a badly placed grid.
        sharpness: share of the difference from a blurred copy that is added.
        blur: share of the same difference that is taken away; each picture is sharpened or blurred, not both.
        noise: greatest standard deviation of noise, of a range of 1, drawn evenly from 0.
        jpeg: chance of a coarse JPEG-like quantisation.
        cutout: chance that a rectangle is hidden.
        mixup: both parameters of the beta distribution that mixes two images (Zhang et al., ICLR 2018); 0 mixes none.
    """

    rotation: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    aspect: float = 0.0
    shear: float = 0.0
    flip: float = 0.0
    elastic: float = 0.0
    gamma: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    shading: float = 0.0
    sharpness: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    jpeg: float = 0.0
    cutout: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for extent in fields(self):
            value = getattr(self, extent.name)
            if not math.isfinite(value) or value < 0:
                raise ValueError(f"{extent.name} is an extent, 0 or more, got {value}")
        for chance in ("flip", "jpeg", "cutout"):
            if getattr(self, chance) > 1:
                raise ValueError(f"{chance} is a chance, 1 at most, got {getattr(self, chance)}")
        if self.shear >= 90:
            raise ValueError(f"a shear stays below 90 degrees, got {self.shear}")
