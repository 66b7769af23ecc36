"""`radiolog adapter` and `radiolog publish`: what puts images on the log."""

import logging
import threading
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radiolog.cli.output import AsJson, print_json, print_table

if TYPE_CHECKING:
    from producers.files import FileResult
    from producers.intake import Intake
    from radiolog.health import Health
    from radiolog.log.publisher import Publisher
    from radiolog.settings import Settings

app = typer.Typer(help="Device adapters, each a process of its own.", no_args_is_help=True)


def _intake(publisher: "Publisher", settings: "Settings") -> "Intake":
    from producers.intake import Intake
    from producers.pseudonyms import Pseudonyms

    pseudonyms = None if settings.keep_identity else Pseudonyms(settings.require_site_secret())
    return Intake(publisher, pseudonyms, settings)


@app.command(epilog="Example: RADIOLOG_DICOM_PORT=11112 radiolog adapter dicom")
def dicom(
    post: Annotated[str | None, typer.Option(hidden=True, help="What an acceptor inherits from its parent.")] = None,
) -> None:
    """Receive objects over DICOM C-STORE; success is answered only once the log holds the object.

    RADIOLOG_DICOM_ACCEPTORS says how many processes receive, by default one a core. RADIOLOG_DICOM_PEERS names the
    devices that may ask for storage commitment, and where they are told: CR1=127.0.0.1:11113.
    """
    from producers import acceptors
    from producers.allocation import reuse_buffers
    from producers.commitment.service import commitment
    from producers.dicom_scp import DicomAdapter
    from producers.post import Post
    from radiolog.log.publisher import KafkaPublisher
    from radiolog.service import serve
    from radiolog.settings import load_settings
    from schemas.registry import codec

    settings = load_settings()
    if post is None and settings.dicom_acceptors > 1:
        acceptors.run(settings)
        return

    def work(stop: threading.Event, health: "Health") -> None:
        reuse_buffers()
        mine = Post.inherited(post, settings) if post is not None else Post.alone(settings)
        with (
            KafkaPublisher(settings, codec(settings), health=health) as publisher,
            DicomAdapter(settings, _intake(publisher, settings), health.beat, mine),
            commitment(settings, stop) if post is None else nullcontext(),
        ):
            health.ready()
            stop.wait()

    ordinal = None if post is None else int(post.partition(":")[0])
    serve(acceptors.ACCEPTOR_SERVICE, work, settings, ordinal)


@app.command(epilog="Example: RADIOLOG_STOW_PORT=8080 radiolog adapter stow")
def stow() -> None:
    """Receive objects over DICOMweb (STOW-RS); 200 is answered only once the log holds all of a request."""
    from producers.stow.adapter import StowAdapter
    from radiolog.log.publisher import KafkaPublisher
    from radiolog.service import serve
    from radiolog.settings import load_settings
    from schemas.registry import codec

    settings = load_settings()

    def work(stop: threading.Event, health: "Health") -> None:
        with (
            KafkaPublisher(settings, codec(settings), health=health) as publisher,
            StowAdapter(settings, _intake(publisher, settings), health.beat),
        ):
            health.ready()
            stop.wait()

    serve("stow", work, settings)


@app.command(epilog="Example: radiolog adapter folder /srv/inbox")
def folder(
    path: Annotated[Path, typer.Argument(help="The folder to watch.", exists=True, file_okay=False)],
) -> None:
    """Publish files as they appear in a folder, then move them to done/ or rejected/.

    DICOM, zip archives, media with their DICOMDIR, and JPEG, PNG or TIFF with a sidecar NAME.json: see docs/folder.md.
    """
    from producers.folder import FolderWatcher
    from producers.wrapping import WrappingProcess
    from radiolog.log.publisher import KafkaPublisher
    from radiolog.service import serve
    from radiolog.settings import load_settings
    from schemas.registry import codec

    settings = load_settings()

    def work(stop: threading.Event, health: "Health") -> None:
        with (
            KafkaPublisher(settings, codec(settings), health=health) as publisher,
            WrappingProcess(settings.decode_timeout_seconds, settings.decode_memory_bytes) as pictures,
        ):
            intake, seconds = _intake(publisher, settings), settings.folder_poll_seconds
            adapter = FolderWatcher(path, intake, seconds, health.beat, pictures.wrap)
            health.ready()
            adapter.run(stop)

    serve("folder", work, settings)


def publish(
    paths: Annotated[
        list[Path], typer.Argument(help="Files of any kind that `adapter folder` takes, or folders.", exists=True)
    ],
    as_json: AsJson = False,
) -> None:
    """Put files and folders on the log; exit code 1 if any was refused.

    Example: radiolog publish study/ image.dcm
    """
    from rich.progress import track

    from producers.files import publish_paths
    from producers.wrapping import WrappingProcess
    from radiolog.log.publisher import KafkaPublisher
    from radiolog.service import configure_logs
    from radiolog.settings import load_settings
    from schemas.registry import codec

    settings = load_settings()
    configure_logs(logging.WARNING)  # the answers say the rest
    results: list[FileResult] = []
    with (
        KafkaPublisher(settings, codec(settings)) as publisher,
        WrappingProcess(settings.decode_timeout_seconds, settings.decode_memory_bytes) as pictures,
    ):
        found = publish_paths(paths, _intake(publisher, settings), pictures.wrap)
        try:
            results.extend(found if as_json else track(found, "publishing", transient=True))
        finally:  # also where the log went away half-way: what is on it is known
            _print_published(results, as_json)
    if not results or any(result.event_id is None for result in results):
        raise typer.Exit(1)


def _print_published(results: "list[FileResult]", as_json: bool) -> None:
    if as_json:
        print_json([asdict(result) for result in results])
    else:
        print_table(("file", "image", "refused because"), [(r.path, r.event_id, r.reason) for r in results])
