"""One fit of a run: its folder, its record, its contact sheet, and what a person sees of it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console

from training.augment import Augmentation
from training.contact_sheet import Samples, contact_sheet, write_contact_sheet
from training.fit import Columns, Fitted, Job, fit
from training.fit.history import History
from training.fit.observer import Observer, Observers
from training.fit.task import M
from training.journal import Journal
from training.parallel import is_primary
from training.progress import FitProgress
from training.run_folder import RunFolder

_SHOWN = 8
"""Images on a contact sheet."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Look:
    """What a contact sheet shows.

    Attributes:
        augmentation: of the views.
        size: edge of a view in pixels.
        masks: the column of masks; None for none.
        boxes: the column of boxes; None for the whole picture.
        captions: of each example of the training set; ASCII, and nothing that names a patient.
    """

    augmentation: Augmentation
    size: int
    masks: str | None = None
    boxes: str | None = None
    captions: tuple[str, ...] = ()

    def samples(self, columns: Columns) -> Samples:
        """A few examples of a set, spread over its captions so that each is seen."""
        captions = self.captions or ("",) * len(columns)
        rows = spread(captions, _SHOWN)
        taken = columns.take(np.array(rows, np.intp))
        return Samples(
            images=taken["images"],
            masks=taken[self.masks] if self.masks else None,
            boxes=taken[self.boxes] if self.boxes else None,
            captions=[captions[row] for row in rows],
        )


def fit_part(name: str, model: M, job: Job[M], run: RunFolder, look: Look, console: Console) -> Fitted[M]:
    """Fit one network of a run in `run`'s folder `name`: the contact sheet first, then steps, recorded and shown.

    With several hosts, process 0 alone writes and speaks.

    Raises:
        TrainingError: see `fit`.
    """
    part = run.part(name)
    if not is_primary():
        return fit(model, job, run=part)
    with FitProgress(name, console) as progress:
        sheet = _Sheet(look, job, part, console)
        return fit(model, job, run=part, observer=Observers(sheet, Journal(part), progress))


class _Sheet(Observer):
    """Draws the contact sheet when a fit begins: after a folder that is another run's was refused."""

    def __init__(self, look: Look, job: Job[Any], part: RunFolder, console: Console) -> None:
        self._look, self._job, self._part, self._console = look, job, part, console

    def began(self, epochs: int, steps_per_epoch: int, batch: int, history: History, step: int) -> None:
        """See `Observer`."""
        look = self._look
        sheet = contact_sheet(look.samples(self._job.train), look.augmentation, look.size, seed=self._job.seed)
        write_contact_sheet(self._part.contact_sheet, sheet)
        self._console.print(f"{self._part.contact_sheet} shows what training sees")


def spread(captions: tuple[str, ...], count: int) -> list[int]:
    """Rows of at most so many examples, taken in turn from each caption."""
    by_caption: dict[str, list[int]] = {}
    for row, caption in enumerate(captions):
        by_caption.setdefault(caption, []).append(row)
    # The first of each caption, then the second of each, and so on.
    turns = sorted((turn, caption) for caption, rows in by_caption.items() for turn in range(min(count, len(rows))))
    return [by_caption[caption][turn] for turn, caption in turns[:count]]
