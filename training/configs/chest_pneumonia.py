r"""Pneumonia, bacterial or viral, on a frontal chest radiograph: the bundle that comes with the package.

Run it:

    radiolog train training/configs/chest_pneumonia.py --archive chest-xray-pneumonia-train-224.zip \
        --lung-masks lung-masks-224.zip --out DIR

Expect, on two CPU cores: 50 minutes, 13 of them for the lungs (Dice 0.949 on validation images); of pneumonia an
accuracy of 0.964 and an AUROC of 0.994 on validation and on test patients. training/EXPERIMENTS.md says what else was
tried.
"""

from models.classifier import Architecture
from models.lungs import LungArchitecture
from models.spec import PreprocessSpec
from training.augment import Augmentation
from training.config import ClassifierConfig, FindingConfig, FitConfig, LungsConfig, TrainingConfig


def get_config() -> TrainingConfig:
    """The configuration; see the module's docstring."""
    return TrainingConfig(
        name="chest-pneumonia",
        version="2",
        findings=(
            FindingConfig(code="233604007", name="pneumonia"),
            FindingConfig(code="53084003", name="bacterial pneumonia"),
            FindingConfig(code="75570004", name="viral pneumonia"),
        ),
        spec=PreprocessSpec(name="chest-224", version=1, size=224),
        lungs=LungsConfig(
            architecture=LungArchitecture(widths=(16, 32, 64, 96), groups=8),
            # Strong, since the masks are of children in one hospital and the lungs to be found are anybody's.
            augmentation=Augmentation(
                rotation=15.0,
                shift=0.1,
                scale=0.25,
                aspect=0.4,
                shear=8.0,
                flip=0.5,
                elastic=0.02,
                gamma=0.6,
                contrast=0.5,
                brightness=0.15,
                shading=0.12,
                sharpness=1.0,
                blur=1.0,
                noise=0.06,
                jpeg=0.3,
                cutout=0.3,
            ),
            fit=FitConfig(epochs=40, batch=16, learning_rate=2e-3, ema=0.99, patience=40),
        ),
        classifier=ClassifierConfig(
            architecture=Architecture(findings=3, widths=(40, 80, 160), blocks=(1, 2, 2), groups=8, context=0.02),
            field=160,
            augmentation=Augmentation(
                rotation=10.0,
                shift=0.06,
                scale=0.12,
                aspect=0.15,
                shear=4.0,
                flip=0.5,
                gamma=0.5,
                contrast=0.25,
                brightness=0.05,
                shading=0.05,
                sharpness=1.0,
                blur=0.6,
                noise=0.03,
                jpeg=0.2,
                cutout=0.1,
            ),
            fit=FitConfig(epochs=30, batch=16, learning_rate=2e-3, ema=0.995, patience=30),
        ),
        prevalence=0.5,
        data=(
            "Kermany, Zhang, Goldbaum, Labeled Optical Coherence Tomography and Chest X-Ray Images for "
            "Classification, Mendeley Data v2 (2018), CC BY 4.0: radiographs of children of one to five years "
            "from one hospital, the training part, resized to 224 x 224 pixels. Lung masks for 1,073 of them: V7 Labs "
            "COVID-19 X-ray dataset, CC BY 4.0"
        ),
        limits=(
            "Not a medical device. Children of one hospital only: nothing is known of adults or other devices. "
            "Normal and pneumonia images were collected apart, so that the model may in part read the acquisition "
            "instead of the lungs. Severity is the share of the lungs that the explanation map marks, in bands taken "
            "from validation images; it is no clinical grading."
        ),
    )
