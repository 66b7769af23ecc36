"""`radiolog predict` and `radiolog train`: models without the log."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from radiolog.cli.output import AsJson, print_json, print_table, say

if TYPE_CHECKING:
    from training.config import TrainingConfig
    from training.data import TrainingData


def predict(
    files: Annotated[list[Path], typer.Argument(help="DICOM, JPEG or PNG files.", exists=True, dir_okay=False)],
    bundle: Annotated[str, typer.Option(help="A bundle's folder, or `default`.")] = "default",
    engine: Annotated[
        Literal["jax", "openvino"], typer.Option(envvar="RADIOLOG_ENGINE", help="What computes the network.")
    ] = "jax",
    as_json: AsJson = False,
) -> None:
    """Ask a model about files, with no log and no servers; exit code 1 if one of them can't be read.

    Example: radiolog predict chest.dcm --json
    """
    from models.bundle import load_bundle
    from models.engines import load_engine
    from stream_processors.oneoff import predict_file

    predictor = load_engine(engine, load_bundle(bundle), batch_sizes=(1,))
    answers = [predict_file(predictor, path) for path in files]
    if as_json:
        print_json([answer.to_json() for answer in answers])
    else:
        print_table(("file", "status", "answer"), [row for answer in answers for row in answer.table_rows()])
    if any(answer.failed for answer in answers):
        raise typer.Exit(1)


def train(
    config: Annotated[Path, typer.Argument(help="A configuration file.", exists=True, dir_okay=False)],
    archive: Annotated[
        Path | None, typer.Option(help="Labelled images: zip, folder by classes, .csv or .npz.", exists=True)
    ] = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Or a data set from the log, as `radiolog replay` wrote it.", exists=True)
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder that the bundle is written to.")] = None,
    lung_masks: Annotated[
        Path | None, typer.Option(help="Masks of some of the images (zip): fit the U-Net too.", exists=True)
    ] = None,
    lungs: Annotated[str, typer.Option(help="Without masks: the bundle that finds the lungs.")] = "default",
    run: Annotated[
        Path | None, typer.Option(help="Folder of checkpoints and the record; OUT with `.run` after it by default.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that the folder holds.")] = False,
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Only draw what augmentation makes of some images, as PNG, and train nothing.")
    ] = None,
    coordinator: Annotated[
        str | None,
        typer.Option(envvar="RADIOLOG_TRAIN_COORDINATOR", help="HOST:PORT of host 0, when several hosts train as one."),
    ] = None,
    hosts: Annotated[int, typer.Option(min=1, envvar="RADIOLOG_TRAIN_HOSTS", help="How many hosts there are.")] = 1,
    host: Annotated[int, typer.Option(min=0, envvar="RADIOLOG_TRAIN_HOST", help="Which of them this is, from 0.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train, calibrate and evaluate a model, and write its bundle; a run that was stopped goes on with --resume.

    Example: radiolog train training/configs/chest_pneumonia.py --archive chest.zip --lung-masks masks.zip --out chest
    """
    if (archive is None) == (manifest is None):
        raise typer.BadParameter("give one of --archive and --manifest", param_hint="--archive")
    if contact_sheet is not None and archive is not None:
        from training.preview import draw_preview

        draw_preview(config, archive, contact_sheet)
        say(f"{contact_sheet} shows what training sees")
        return
    if out is None:
        raise typer.BadParameter("say where the bundle goes, or ask for a --contact-sheet alone", param_hint="--out")
    _join(coordinator, hosts, host)
    from training.config import load_config
    from training.run_folder import RunFolder
    from training.train import train as fit_and_write

    settings = load_config(config)
    data = _training_data(settings, archive, manifest, lung_masks, as_json)
    folder = RunFolder(path=run or out.with_name(f"{out.name}.run"), resume=resume)
    bundle = fit_and_write(settings, data, out, run=folder, lungs=lungs)
    if as_json:
        print_json({"bundle": bundle.id, "sha256": bundle.sha256, "metrics": bundle.metrics})


def _training_data(
    config: "TrainingConfig", archive: Path | None, manifest: Path | None, lung_masks: Path | None, silent: bool
) -> "TrainingData":
    from rich.console import Console

    from training.data import from_archive, from_manifest

    if archive is not None:
        return from_archive(archive, lung_masks, config, Console(stderr=True))
    if lung_masks is not None:
        raise typer.BadParameter("masks are of an archive's images, not of the log's", param_hint="--lung-masks")
    from radiolog.cli.manifest import load_examples

    assert manifest is not None  # noqa: S101
    return from_manifest(*load_examples(manifest, silent), config)


def _join(coordinator: str | None, hosts: int, host: int) -> None:
    """Meet the other hosts, before anything else is asked of JAX."""
    if (coordinator is None) != (hosts == 1):
        raise typer.BadParameter("several hosts need --coordinator and --hosts, both", param_hint="--hosts")
    if coordinator is not None:
        from training.parallel import Hosts, join

        join(Hosts(coordinator=coordinator, count=hosts, index=host))
