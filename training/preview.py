"""A contact sheet of a configuration and an archive, before anything is trained."""

from pathlib import Path

import numpy as np

from training.archive import open_archive, prepare
from training.config import load_config
from training.contact_sheet import Samples, contact_sheet, write_contact_sheet
from training.run import spread

_SHOWN = 8


def draw_preview(config_path: Path, archive: Path, out: Path) -> None:
    """Draw what augmentation makes of a few images of an archive, spread over its labels, as PNG.

    Only those images are read. Lungs are not known yet, so that views are of the whole picture.

    Raises:
        ConfigError, ArchiveError: the input cannot be used.
    """
    config = load_config(config_path)
    with open_archive(archive) as source:
        labels = tuple(example.label for example in source.examples)
        examples = [source.examples[row] for row in spread(labels, _SHOWN)]
        names = [finding.name for finding in config.findings]
        images = prepare(source, examples, names, config.spec).pixels
    augmentation, field = config.classifier.augmentation, config.classifier.field
    samples = Samples(np.asarray(images), None, None, [example.label for example in examples])
    write_contact_sheet(out, contact_sheet(samples, augmentation, field, seed=config.seed))
