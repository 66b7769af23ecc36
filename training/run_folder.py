"""The folder that a run keeps its checkpoints and its record in."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """Where one fit is kept, and how.

        checkpoints/        what a killed run goes on from
        metrics.csv         one row an epoch
        curves.svg          the same, drawn
        contact-sheet.png   what augmentation makes of the images

    Attributes:
        path: the folder.
        resume: go on with the run that the folder holds; without it such a folder is refused.
        keep: how many of the last checkpoints stay.
        checkpoint_seconds: most time between two checkpoints, beside the one after each epoch.
    """

    path: Path
    resume: bool = False
    keep: int = 3
    checkpoint_seconds: float = 300.0

    def part(self, name: str) -> "RunFolder":
        """The folder of one fit of several."""
        return RunFolder(
            path=self.path / name, resume=self.resume, keep=self.keep, checkpoint_seconds=self.checkpoint_seconds
        )

    @property
    def checkpoints(self) -> Path:
        """Of Orbax."""
        return self.path / "checkpoints"

    @property
    def metrics(self) -> Path:
        """The record."""
        return self.path / "metrics.csv"

    @property
    def curves(self) -> Path:
        """The record as a picture."""
        return self.path / "curves.svg"

    @property
    def contact_sheet(self) -> Path:
        """What training sees."""
        return self.path / "contact-sheet.png"
