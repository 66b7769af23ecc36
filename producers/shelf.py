"""Where parcels go once they are dealt with: `done/` and `rejected/`, spread over a folder a day.

Nothing there is ever overwritten: a name that is taken gets a token in it.
"""

import os
import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

REASON_SUFFIX = ".reason.txt"
LONGEST_NAME_BYTES = 255


class Shelf:
    """One of the two places, below the folder that is watched."""

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self._name = name

    def put(self, paths: Sequence[Path], reason: str | None = None) -> None:
        """Move what belongs together, each part to where it was below the root, and first write the reason why.

        A crash in between leaves the parts that were not moved where they were, and perhaps an empty file here.

        Raises:
            OSError: something cannot be moved.
        """
        # The site's own day, as people look for it.
        folder = self._root / self._name / datetime.now().astimezone().date().isoformat()
        folder /= paths[0].parent.relative_to(self._root)
        folder.mkdir(parents=True, exist_ok=True)
        targets = _reserved(folder, paths)
        if reason is not None:
            first = targets[0]
            first.with_name(_shortened(first.name, REASON_SUFFIX)).write_text(reason + "\n", encoding="utf-8")
        for path, target in zip(paths, targets, strict=True):
            os.replace(path, target)


def _reserved(folder: Path, paths: Sequence[Path]) -> list[Path]:
    """Empty files and folders, made for `paths` to replace: `scan.dcm`, or `scan.5f1c09ab.dcm` where that is taken."""
    for token in _tokens():
        targets = [folder / _named(path, token) for path in paths]
        if _are_reserved(targets, paths):
            return targets
    raise AssertionError("tokens do not end")


def _are_reserved(targets: Sequence[Path], paths: Sequence[Path]) -> bool:
    made: list[Path] = []
    try:
        for target, path in zip(targets, paths, strict=True):
            if path.is_dir():
                target.mkdir()
            else:
                target.open("xb").close()
            made.append(target)
    except FileExistsError:
        for target in made:
            target.rmdir() if target.is_dir() else target.unlink()
        return False
    return True


def _tokens() -> Iterator[str]:
    yield ""
    while True:
        # Not 1, 2, 3, ...: a device that gives each file the same name would make each one wait for all before it.
        yield f".{secrets.token_hex(4)}"


def _named(path: Path, token: str) -> str:
    return _shortened(path.stem, f"{token}{path.suffix}") if token else path.name


def _shortened(name: str, suffix: str) -> str:
    """`name` and `suffix` as one file name, `name` cut where both together are too long for a file system."""
    room = LONGEST_NAME_BYTES - len(os.fsencode(suffix))
    return os.fsencode(name)[:room].decode(errors="ignore") + suffix
