"""`radiolog run`: the stages, each a process of its own."""

import sys
import threading
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from radiolog.health import Health

app = typer.Typer(help="The stages of the stream, each a process of its own.", no_args_is_help=True)

Ordinal = Annotated[
    int,
    typer.Option(min=0, envvar="RADIOLOG_ORDINAL", help="Which of the stage's live instances this is, from 0."),
]


@app.command(epilog="Example: radiolog run preprocess --ordinal 1")
def preprocess(ordinal: Ordinal = 0) -> None:
    """DICOM objects to model-ready pixels."""
    from models.bundle import load_bundle
    from radiolog.log.batching import BatchLimits
    from radiolog.log.objects import ObjectStore
    from radiolog.log.runtime import StageRunner
    from radiolog.service import serve
    from radiolog.settings import load_settings
    from radiolog.workers import WorkerPool
    from schemas.registry import codec
    from stream_processors.decoding import run
    from stream_processors.preprocess import PreprocessStage

    settings = load_settings()
    spec = load_bundle(settings.bundle).spec
    objects = ObjectStore.from_settings(settings)

    def work(stop: threading.Event, health: "Health") -> None:
        limits = settings.decode_workers, settings.decode_timeout_seconds, settings.decode_memory_bytes
        shared = settings.inline_max_bytes
        with WorkerPool(run, *limits, more_seconds=lambda job: job.open_seconds, shared_bytes=shared) as pool:
            stage = PreprocessStage(spec, pool.map, objects)
            # Several for each process: a transaction costs about the same however many there are. One that hangs holds
            # up those of its batch, until its deadline.
            batch = BatchLimits(events=16 * settings.decode_workers)
            StageRunner(stage, settings, codec(settings), ordinal=ordinal, limits=batch).run(stop, health)

    serve("preprocess", work, settings, ordinal)


@app.command(epilog="Example: radiolog run infer")
def infer(ordinal: Ordinal = 0) -> None:
    """Model-ready pixels to diagnoses."""
    from models.bundle import load_bundle
    from models.engines import load_engine
    from radiolog.log.batching import BatchLimits
    from radiolog.log.runtime import StageRunner
    from radiolog.service import serve
    from radiolog.settings import load_settings
    from schemas.registry import codec
    from stream_processors.inference import InferenceStage

    settings = load_settings()
    bundle = load_bundle(settings.bundle)
    point = bundle.check_operating_point(settings.operating_point)

    def work(stop: threading.Event, health: "Health") -> None:
        engine = load_engine(settings.engine, bundle, cache=settings.state_dir / "compiled")
        engine.warm_up()
        stage = InferenceStage(bundle, engine, point)
        # One call of the network: no result waits for those of the next.
        limits = BatchLimits(events=engine.largest_batch)
        StageRunner(stage, settings, codec(settings), ordinal=ordinal, limits=limits).run(stop, health)

    serve("inference", work, settings, ordinal)


class Kept(StrEnum):
    """What one of two sinks keeps."""

    FINDINGS = "findings"
    IDENTITIES = "identities"


@app.command(epilog="Example: radiolog run sink")
def sink(
    ordinal: Ordinal = 0,
    only: Annotated[
        Kept | None,
        typer.Option(help="Keep only this, as a database role without rights on the other; then run a sink of each."),
    ] = None,
) -> None:
    """Diagnoses, dead letters and identities into PostgreSQL."""
    from radiolog.log.sink import SinkRunner
    from radiolog.service import serve
    from radiolog.settings import load_settings
    from schemas.registry import codec
    from sinks.postgres import FindingsSink, IdentitiesSink, PostgresSink

    settings = load_settings()
    kind = {Kept.FINDINGS: FindingsSink, Kept.IDENTITIES: IdentitiesSink}[only] if only else PostgresSink

    def work(stop: threading.Event, health: "Health") -> None:
        with kind(settings.database_url.get_secret_value()) as postgres:
            SinkRunner(postgres, settings, codec(settings), ordinal=ordinal).run(stop, health)

    serve("sink" if only is None else f"sink-{only}", work, settings, ordinal)


@app.command("all", epilog="Example: radiolog run all")
def run_all() -> None:
    """The DICOM adapter and one process of each stage, started again when they die."""
    from radiolog.service import serve
    from radiolog.services import alone, services
    from radiolog.settings import load_settings
    from radiolog.supervisor import Supervisor

    settings = load_settings()

    def work(stop: threading.Event, health: "Health") -> None:
        with alone(settings), Supervisor(services(settings), health.beat) as supervisor:
            supervisor.start(stop, patient=True)
            health.ready()
            if settings.keep_identity:
                sys.stderr.write("RADIOLOG_KEEP_IDENTITY is set: objects go onto the log with their identities\n")
            sys.stderr.write(f"listening for DICOM on {settings.dicom_host}:{settings.dicom_port}\n")
            supervisor.watch(stop)

    serve("all", work, settings)
