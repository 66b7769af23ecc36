"""Random changes of training images, on the device and under jit.

They stand for what differs between hospitals and not between findings: pose and framing (`geometry`), exposure and
processing (`tone`, `compression`), what lies in front of the chest (`cutout`), and pictures that are none of one kind
alone (`mixup`).
"""

from training.augment.extent import Augmentation
from training.augment.mixup import mix
from training.augment.views import WHOLE, Views, augment

__all__ = ["WHOLE", "Augmentation", "Views", "augment", "mix"]
