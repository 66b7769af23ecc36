"""Pneumonia on a frontal chest radiograph: the bundle that comes with the package.

Run it:

    radiolog train training/configs/chest_pneumonia.py --archive chest-xray-pneumonia-train-224.zip --out DIR

Expect: 10 to 14 minutes on two CPU cores, validation accuracy of 0.951 and AUROC of 0.986. Both say little
about other hospitals: in this archive normal and pneumonia were collected apart, so specificity elsewhere is lower.
"""

from models.spec import PreprocessSpec
from training.augment import Augmentation
from training.config import FindingConfig, FitConfig, TrainingConfig


def get_config() -> TrainingConfig:
    """The configuration; see the module's docstring."""
    return TrainingConfig(
        name="chest-pneumonia",
        version="1",
        findings=(FindingConfig(code="233604007", name="pneumonia"),),
        spec=PreprocessSpec(name="chest-128", version=1, size=128),
        stem=24,
        widths=(32, 64, 128),
        blocks=2,
        groups=8,
        # Of 1,073 originals of this archive 98% lie within 0.9 to 2.1, normal ones mostly below pneumonia ones;
        # adult radiographs are about 0.8 to 1.2.
        log_aspect=(-0.15, 0.6),
        augmentation=Augmentation(
            rotation=10.0,
            shift=0.06,
            scale=0.12,
            aspect=0.1,
            flip=0.5,
            contrast=0.25,
            brightness=0.08,
            gamma=0.3,
            sharpness=0.7,
            noise=0.02,
        ),
        fit=FitConfig(epochs=12),
        data=(
            "Kermany, Zhang, Goldbaum, Labeled Optical Coherence Tomography and Chest X-Ray Images for "
            "Classification, Mendeley Data v2 (2018), CC BY 4.0: radiographs of children of one to five years "
            "from one hospital, the training part, resized to 224 x 224 pixels"
        ),
        limits=(
            "Not a medical device. Children of one hospital only: nothing is known of adults or other devices. "
            "Normal and pneumonia images were collected apart, so that the model may in part read the acquisition "
            "instead of the lungs; expect more false alarms elsewhere than the figures say. Severity is the share "
            "of the whole image that the explanation map marks, in bands taken from validation images; the lungs "
            "are not segmented, and it is no clinical grading."
        ),
    )
