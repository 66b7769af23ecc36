"""Training, validation and test data that share no patient."""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, Protocol, TypeVar

import numpy as np


class Split(StrEnum):
    """What a part of the data is for."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


ORDER: Final = (Split.TRAIN, Split.VALIDATION, Split.TEST)
"""From what is fitted to what is only looked at."""


class Splittable(Protocol):
    """What is shared out: a stable name, whose it is, and what it shows in a word."""

    @property
    def file(self) -> str:
        """Its name, which no other has."""

    @property
    def label(self) -> str:
        """What it shows: each split gets about the same mix."""

    @property
    def patient(self) -> str:
        """Whose it is."""


S = TypeVar("S", bound=Splittable)


def split_by_patient(examples: Iterable[S], shares: Mapping[Split, float], seed: int) -> dict[Split, tuple[S, ...]]:
    """Share patients out so that none is in two splits and each split has about the same mix of labels.

    Args:
        examples: all of them.
        shares: of the images, by split; they sum to 1.
        seed: the same seed gives the same split of the same examples in whatever order.
    """
    if abs(sum(shares.values()) - 1.0) > 1e-9:
        raise ValueError(f"shares must sum to 1, got {sum(shares.values())}")
    by_patient: dict[str, list[S]] = {}
    for example in sorted(examples, key=lambda example: example.file):
        by_patient.setdefault(example.patient, []).append(example)
    strata: dict[tuple[str, ...], list[str]] = {}
    for patient in sorted(by_patient):
        mix = tuple(sorted({example.label for example in by_patient[patient]}))
        strata.setdefault(mix, []).append(patient)
    split: dict[Split, list[S]] = {part: [] for part in shares}
    rng = np.random.default_rng(seed)
    for _, patients in sorted(strata.items()):
        shuffled = [patients[index] for index in rng.permutation(len(patients))]
        _share_out([by_patient[patient] for patient in shuffled], shares, split)
    return {part: tuple(chosen) for part, chosen in split.items()}


def _share_out(patients: Sequence[Sequence[S]], shares: Mapping[Split, float], split: Mapping[Split, list[S]]) -> None:
    """Give each patient to the split that is furthest behind its share, the largest share first."""
    total = sum(map(len, patients))
    given = dict.fromkeys(shares, 0)
    for images in patients:
        behind = max(shares, key=lambda part: shares[part] * total - given[part])
        split[behind].extend(images)
        given[behind] += len(images)
