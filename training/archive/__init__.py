"""Labelled archives of images, in the forms that data sets come in; `open_archive` opens any of them."""

from training.archive.errors import ArchiveError
from training.archive.example import NORMAL, Content, Example
from training.archive.opened import Archive, open_archive
from training.archive.prepare import prepare
from training.archive.zipped import LabelledArchive
from training.examples import Examples
from training.split import Split, split_by_patient

__all__ = [
    "NORMAL",
    "Archive",
    "ArchiveError",
    "Content",
    "Example",
    "Examples",
    "LabelledArchive",
    "Split",
    "open_archive",
    "prepare",
    "split_by_patient",
]
