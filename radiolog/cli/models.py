"""`radiolog predict` and `radiolog train`: models without the log."""

from pathlib import Path
from typing import Annotated

import typer

from radiolog.cli.output import AsJson, print_json, print_table


def predict(
    files: Annotated[list[Path], typer.Argument(help="DICOM, JPEG or PNG files.", exists=True, dir_okay=False)],
    bundle: Annotated[str, typer.Option(help="A bundle's folder, or `default`.")] = "default",
    as_json: AsJson = False,
) -> None:
    """Ask a model about files, with no log and no servers; exit code 1 if one of them can't be read.

    Example: radiolog predict chest.dcm --json
    """
    from models.bundle import load_bundle
    from models.engine import Engine
    from stream_processors.oneoff import predict_file

    engine = Engine(load_bundle(bundle), batch_sizes=(1,))
    answers = [predict_file(engine, path) for path in files]
    if as_json:
        print_json([answer.to_json() for answer in answers])
    else:
        columns = ("file", "status", "finding", "probability", "decision", "severity", "reason")
        print_table(columns, [row for answer in answers for row in answer.table_rows()])
    if any(answer.failed for answer in answers):
        raise typer.Exit(1)


def train(
    config: Annotated[Path, typer.Argument(help="A configuration file.", exists=True, dir_okay=False)],
    archive: Annotated[Path, typer.Option(help="A labelled archive (zip).", exists=True, dir_okay=False)],
    out: Annotated[Path, typer.Option(help="Folder that the bundle is written to.")],
    as_json: AsJson = False,
) -> None:
    """Train, calibrate and evaluate a model, and write its bundle.

    Example: radiolog train training/configs/chest_pneumonia.py --archive chest.zip --out bundles/chest
    """
    from training.train import main

    bundle = main(config, archive, out)
    if as_json:
        print_json({"bundle": bundle.id, "sha256": bundle.sha256, "metrics": bundle.metrics})
