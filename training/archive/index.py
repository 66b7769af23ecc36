"""Indexes of labelled images: CSV with columns `file`, `label` and, where they are known, `patient` and `subtype`."""

import csv
from collections.abc import Iterator, Sequence
from typing import Final, TextIO

from training.archive.errors import ArchiveError
from training.archive.example import Row

REQUIRED: Final = ("file", "label", "patient")
_OTHER_NAMES: Final = {"path": "file", "labels": "label"}


def rows(text: TextIO, name: str, required: Sequence[str] = REQUIRED) -> Iterator[Row]:
    """The lines of an index; several labels of one image stand with `|` between them.

    Args:
        text: the index; a column `path` counts as `file`, and `labels` as `label`.
        name: what to call it in errors.
        required: columns that it must have. Without a column `patient`, each image is of a patient of its own.

    Raises:
        ArchiveError: it is no such index.
    """
    try:
        reader = csv.DictReader(text)
        columns = {_OTHER_NAMES.get(column, column): column for column in map(str, reader.fieldnames or ())}
        if missing := [column for column in required if column not in columns]:
            raise ArchiveError(f"{name} lacks columns: {', '.join(missing)}")
        for line in reader:
            yield _row({column: line[own] or "" for column, own in columns.items()}, name, reader.line_num)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ArchiveError(f"{name} is no CSV in UTF-8 ({error})") from error


def _row(values: dict[str, str], name: str, line: int) -> Row:
    file = values["file"]
    if not file:
        raise ArchiveError(f"{name} names no file in line {line}")
    return Row(file, values["label"], values.get("patient") or file, values.get("subtype", ""))
