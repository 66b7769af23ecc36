"""`radiolog data`: labelled data sets, fetched and put on the log."""

import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radiolog.cli.output import AsJson, print_json, print_records, say
from radiolog.cli.progress import counted, instant

if TYPE_CHECKING:
    from producers.dataset import DatasetImport, LabelledImage, Summary
    from producers.dataset_labels import Author
    from producers.dataset_object import DatasetImage, DatasetObjects
    from radiolog.log.publisher import Publisher
    from radiolog.settings import Settings
    from schemas.codec import Codec
    from training.archive import Archive, Example

app = typer.Typer(help="Labelled data sets, onto the log.", no_args_is_help=True)

UNKNOWN_TIME = "1970-01-01T00:00:00Z"


@app.command("import", epilog="Example: radiolog data import chest-xray-pneumonia-train-224.zip --modality CR")
def import_(
    archive: Annotated[
        Path, typer.Argument(help="A zip with index.csv, a folder by classes, a CSV, or a .npz.", exists=True)
    ],
    finding: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=CODE]", help="Findings to import; by default all that the archive names."),
    ] = None,
    classes: Annotated[
        list[str] | None, typer.Option("--class", metavar="NAME", help="Labels of a .npz, in their order.")
    ] = None,
    modality: Annotated[str, typer.Option(help="Of pictures; DICOM files say their own.")] = "DX",
    body_part: Annotated[str, typer.Option(help="Of pictures: Body Part Examined.")] = "CHEST",
    labelled_at: Annotated[
        str, typer.Option(metavar="TIME", help="When labels were given (ISO 8601); the last label of an image counts.")
    ] = UNKNOWN_TIME,
    as_json: AsJson = False,
) -> None:
    """Put a labelled archive on the log: an image event each, de-identified as any, and what is said of its findings.

    It sends nothing twice: run it again to go on where it broke off. Exit code 1 if a picture is broken.
    """
    from producers.dataset import Summary
    from radiolog.log.publisher import KafkaPublisher
    from radiolog.service import configure_logs
    from radiolog.settings import load_settings
    from schemas.registry import codec
    from training.archive import open_archive

    settings, at = load_settings(), instant(labelled_at)
    configure_logs(logging.WARNING)  # the counts say the rest
    summary, avro = Summary.empty(), codec(settings)
    with open_archive(archive, classes or ()) as source, KafkaPublisher(settings, avro) as publisher:
        author = _author(source, finding or [], at)
        objects = _objects(archive.name, modality, body_part)
        work = _import(publisher, settings, avro, author, objects, as_json)
        try:
            with counted("importing", as_json) as progress:
                for imported in work.run(_image(source, example) for example in source.examples):
                    summary.add(imported)
                    progress(summary.images, len(source.examples))
        finally:  # also where the log went away half-way, or after Ctrl-C: what is on it is known
            _print_summary(summary, as_json)
    if summary.broken:
        raise typer.Exit(1)


@app.command(epilog="Example: radiolog data fetch pneumoniamnist --size 224 --out data/")
def fetch(
    name: Annotated[str, typer.Argument(help="A set of MedMNIST, e.g. pneumoniamnist or chestmnist.")],
    size: Annotated[int, typer.Option(help="Edge of its images, in pixels: 28, 64, 128 or 224.")] = 224,
    out: Annotated[Path, typer.Option(help="Folder that it goes to.", file_okay=False)] = Path(),
    address: Annotated[
        str | None, typer.Option(help="Where else to fetch it from: https, or http on loopback.")
    ] = None,
    md5: Annotated[str | None, typer.Option(help="Its MD5 in hex, where it is not the published one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Download a published data set and check it; run it again to go on where it broke off.

    This is the one command that leaves the site, and it sends nothing but the name of the set.
    """
    from training import fetch as fetching
    from training.archive.medmnist import ADDRESS

    with counted(f"fetching {name}", as_json, in_bytes=True) as progress:
        path = fetching.fetch(name, size, out, address or ADDRESS, md5, progress)
    if as_json:
        print_json({"file": str(path), "bytes": path.stat().st_size, "md5": fetching.checksum(path)})
    else:
        say(f"{path} is there, {path.stat().st_size} bytes; next: radiolog data import {path}")


def _import(
    publisher: "Publisher",
    settings: "Settings",
    avro: "Codec",
    author: "Author",
    objects: "DatasetObjects",
    silent: bool,
) -> "DatasetImport":
    from producers.dataset import DatasetImport
    from producers.dataset_labels import Known
    from producers.intake import Intake
    from producers.pseudonyms import Pseudonyms

    pseudonyms = None if settings.keep_identity else Pseudonyms(settings.require_site_secret())
    with counted("reading the labels on the log", silent) as progress:
        known = Known.of(settings, avro, progress=progress)
    return DatasetImport(publisher, Intake(publisher, pseudonyms, settings), pseudonyms, objects, author, known)


def _author(archive: "Archive", wanted: Sequence[str], labelled_at: datetime) -> "Author":
    from producers.dataset_labels import Author
    from training.findings import concepts

    named = {name for example in archive.examples for name in example.present | example.absent}
    return Author(f"{archive.path.name} sha256:{archive.sha256()}", labelled_at, concepts(named, wanted))


def _objects(dataset: str, modality: str, body_part: str) -> "DatasetObjects":
    from producers.dataset_object import DatasetObjects

    try:
        return DatasetObjects(dataset, modality, body_part)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _image(archive: "Archive", example: "Example") -> "LabelledImage":
    from producers.dataset import LabelledImage

    findings = dict.fromkeys(example.present, True) | dict.fromkeys(example.absent, False)
    return LabelledImage(example.file, findings, partial(_read, archive, example))


def _read(archive: "Archive", example: "Example") -> "DatasetImage":
    from producers.dataset_object import DatasetImage
    from producers.errors import BrokenObject
    from training.archive import ArchiveError

    try:
        return DatasetImage(example.file, example.patient, archive.content(example))
    except ArchiveError as error:
        raise BrokenObject(str(error)) from None


def _print_summary(summary: "Summary", as_json: bool) -> None:
    document = summary.to_json()
    if as_json:
        print_json(document)
        return
    print_records(summary.broken_files, as_json)
    counts = {name.replace("_", " "): value for name, value in document.items() if isinstance(value, int)}
    say(", ".join(f"{value} {name}" for name, value in counts.items()) + f", {len(summary.broken)} broken")
