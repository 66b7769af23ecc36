from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.spec import PreprocessSpec
from training.archive import ArchiveError, Example, LabelledArchive, Split, prepare, split_by_patient

MakeArchive = Callable[..., Path]
SHARES = {Split.TRAIN: 0.7, Split.VALIDATION: 0.15, Split.TEST: 0.15}
SPEC = PreprocessSpec(name="test", version=1, size=32)


@st.composite
def cohorts(draw: st.DrawFn) -> list[Example]:
    patients = draw(st.integers(1, 60))
    rows = draw(st.lists(st.tuples(st.integers(1, patients), st.booleans()), min_size=1, max_size=150))
    return [Example(f"{n}.png", "pneumonia" if sick else "normal", f"p{who}") for n, (who, sick) in enumerate(rows)]


@settings(max_examples=60, deadline=None)
@given(cohorts(), st.integers(0, 5))
def test_no_patient_is_in_two_splits_and_no_image_is_lost(examples: list[Example], seed: int) -> None:
    parts = split_by_patient(examples, SHARES, seed)
    assert sorted(e.file for part in parts.values() for e in part) == sorted(e.file for e in examples)
    homes: dict[str, set[Split]] = {}
    for part, chosen in parts.items():
        for example in chosen:
            homes.setdefault(example.patient, set()).add(part)
    assert all(len(found) == 1 for found in homes.values())
    assert split_by_patient(reversed(examples), SHARES, seed) == parts


def test_shares_and_the_mix_of_labels_are_kept() -> None:
    examples = [Example(f"{n}.png", "pneumonia" if n % 4 else "normal", f"p{n // 3}") for n in range(3000)]
    parts = split_by_patient(examples, SHARES, 1)
    for part, share in SHARES.items():
        assert len(parts[part]) == pytest.approx(share * 3000, abs=10)
        normal = Counter(example.label for example in parts[part])["normal"]
        assert normal / len(parts[part]) == pytest.approx(0.25, abs=0.02)
    assert split_by_patient(examples, SHARES, 2) != parts


def test_shares_must_sum_to_one() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        split_by_patient([], {Split.TRAIN: 0.7}, 0)


def test_reads_and_prepares(make_archive: MakeArchive) -> None:
    with LabelledArchive(make_archive(images=12, patients=6)) as archive:
        assert len(archive.examples) == 12
        assert archive.read(archive.examples[0]).shape == (48, 48)
        made = prepare(archive, archive.examples, ["pneumonia"], SPEC)
    assert made.pixels.shape == (12, 32, 32)
    assert made.pixels.dtype == np.uint8
    assert made.labels.tolist() == [[float(e.label == "pneumonia")] for e in archive.examples]


def test_unknown_labels_and_broken_pictures_are_refused(make_archive: MakeArchive) -> None:
    path = make_archive(images=4, patients=4, broken="pneumonia/2.png")
    with LabelledArchive(path) as archive:
        with pytest.raises(ArchiveError, match=r"pneumonia/2\.png in images\.zip is not a picture"):
            archive.read(archive.examples[2])
        with pytest.raises(ArchiveError, match="'normal', which says nothing of effusion"):
            prepare(archive, archive.examples, ["effusion"], SPEC)
        with pytest.raises(ArchiveError, match="cannot be read"):
            archive.read(Example("gone.png", "normal", "p1"))


def test_what_is_no_archive_is_refused(make_archive: MakeArchive, tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"no zip")
    with pytest.raises(ArchiveError, match="not a readable zip"):
        LabelledArchive(tmp_path / "no.zip")
    with pytest.raises(ArchiveError, match="not a readable zip"):
        LabelledArchive(tmp_path / "gone.zip")
    with pytest.raises(ArchiveError, match="lacks columns: patient"):
        LabelledArchive(make_archive(images=2, columns="file,label"))
