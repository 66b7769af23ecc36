"""Model inputs and their labels: what is fitted and evaluated."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from radiolog.log.replay import Slice, Unreadable
from radiolog.log.stage import Received
from schemas.topics import IMAGES, PREPROCESSED, Topic
from training.inputs import Decode, Log, Source, inputs
from training.manifest import Manifest
from training.pixel_file import PixelFileError, sha256, verified, writing
from training.split import ORDER, Split

log = structlog.get_logger()

_HASH_CHARACTERS: Final = 16

Place = tuple[int, int]
"""Partition and offset."""
Progress = Callable[[int, int | None], None]


class SliceChanged(Exception):
    """What a manifest names is not on the log any more, or gives other pixels than it did."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Model inputs `[n, size, size]`, uint8, and labels `[n, findings]`, float32: 1 present, 0 absent, nan unknown.

    The inputs may be an `np.memmap`: take rows of them, and they are read as they are needed.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.labels)


def examples_of(
    manifest: Manifest, folder: Path, source: Log | None, decode: Decode, progress: Progress = lambda done, total: None
) -> dict[Split, Examples]:
    """The examples of a manifest, by split, in its order; the same manifest gives the same bytes on any day.

    Pixels are in a file of the folder that bears the hashes of manifest and spec. Where it is missing, or is not what
    was written, it is made from the log, which is read once.

    Args:
        manifest: of the data set.
        folder: where the file is, or goes.
        source: the log; None where the file must be there already.
        decode: makes the pixels of images.
        progress: called as inputs are written.

    Raises:
        SliceChanged: the log gives other pixels than the manifest says, or none.
        PixelFileError: there is no file, and no log to make it from.
        LogError: the broker can't be reached.
        ObjectStoreUnavailable: the object store can't.
    """
    path = folder / file_name(manifest)
    sha256s = [image.input_sha256 for image in manifest.inputs]
    try:
        pixels = verified(path, sha256s, manifest.spec.size)
    except PixelFileError as error:
        if source is None:
            raise
        if path.exists():
            log.warning("the file of model inputs is made again", reason=str(error))
        _write(path, manifest, source, decode, progress)
        pixels = verified(path, sha256s, manifest.spec.size)
    return _by_split(manifest, pixels)


def file_name(manifest: Manifest) -> str:
    """What the file of a manifest's model inputs is called."""
    hashes = (manifest.sha256, manifest.spec.sha256)
    return f"inputs-{'-'.join(each[:_HASH_CHARACTERS] for each in hashes)}.npy"


def _by_split(manifest: Manifest, pixels: NDArray[np.uint8]) -> dict[Split, Examples]:
    rows = [[_number(image.labels.get(code)) for code in manifest.findings] for image in manifest.inputs]
    labels = np.array(rows, np.float32).reshape(len(rows), len(manifest.findings))
    found, start = {}, 0
    for part in ORDER:
        end = start + len(manifest.of(part))
        if part in manifest.shares:
            found[part] = Examples(pixels[start:end], labels[start:end])
        start = end
    return found


def _number(said: bool | None) -> float:
    return np.nan if said is None else float(said)


def _write(path: Path, manifest: Manifest, source: Log, decode: Decode, progress: Progress) -> None:
    """Make the file from the log; it is there only if each row is what the manifest says."""
    size = manifest.spec.size
    rows = {(image.partition, image.offset): row for row, image in enumerate(manifest.inputs)}
    with writing(path, (len(rows), size, size)) as file:
        done = 0
        wanted = _slice(manifest, source.settings.topic_prefix)
        for item in inputs(source, wanted, manifest.spec, decode, lambda record: _place(record) in rows):
            if isinstance(item, Unreadable) or item.pixels is None:
                continue
            row = rows[item.at.partition, item.at.offset]
            if sha256(item.pixels) != manifest.inputs[row].input_sha256:
                raise SliceChanged(
                    f"{item.at} gives other pixels than the manifest says: the code that makes them was changed; "
                    "make a new manifest"
                )
            file.write(row, item.pixels)
            done += 1
            progress(done, len(rows))
        if done < len(rows):
            raise SliceChanged(f"{len(rows) - done} of {len(rows)} images of the manifest cannot be had from the log")


def _place(record: Received[Source]) -> Place:
    return record.at.partition, record.at.offset


def _slice(manifest: Manifest, prefix: str) -> Slice[Source]:
    """The part of the manifest's slice that its inputs are in."""
    offsets: dict[int, list[int]] = {}
    for image in manifest.inputs:
        offsets.setdefault(image.partition, []).append(image.offset)
    start = {partition: min(at) for partition, at in offsets.items()}
    end = {partition: max(at) + 1 for partition, at in offsets.items()}
    topics: tuple[Topic[Source], ...] = (IMAGES, PREPROCESSED)
    for topic in topics:
        if topic.full_name(prefix) == manifest.images.topic:
            return Slice(topic, start, end)
    raise SliceChanged(f"the manifest is of the topic {manifest.images.topic}, which is none of this log's")
