"""The examples of a manifest, for the commands that train and evaluate: from its file, or from the log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiolog.cli.progress import counted

if TYPE_CHECKING:
    from training.examples import Examples
    from training.inputs import Decode, Log
    from training.manifest import Manifest
    from training.split import Split


@contextmanager
def log_and_decoders() -> "Iterator[tuple[Log, Decode]]":
    """The log of the settings, and processes that make pixels of its images."""
    from radiolog.log.objects import ObjectStore
    from radiolog.service import configure_logs
    from radiolog.settings import load_settings
    from radiolog.workers import WorkerPool
    from schemas.registry import codec
    from training.inputs import Job, Log, run

    settings = load_settings()
    configure_logs(logging.WARNING)
    limits = settings.decode_workers, settings.decode_timeout_seconds, settings.decode_memory_bytes
    with WorkerPool[Job, Any](run, *limits) as pool:
        yield Log(settings, codec(settings), ObjectStore.from_settings(settings)), pool.map


def load_examples(path: Path, silent: bool) -> "tuple[Manifest, dict[Split, Examples]]":
    """A manifest and its examples; the log is asked only where the file of model inputs is missing or damaged."""
    from training.examples import examples_of
    from training.inputs import run
    from training.manifest import Manifest
    from training.pixel_file import PixelFileError

    manifest = Manifest.load(path)
    try:
        return manifest, examples_of(manifest, path.parent, None, lambda jobs: [run(job) for job in jobs])
    except PixelFileError:
        with log_and_decoders() as (log, decode), counted("reading the log", silent) as progress:
            return manifest, examples_of(manifest, path.parent, log, decode, progress)
