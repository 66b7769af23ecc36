"""`radiolog shortcuts`: what gives the label of a data set away, beside the lungs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from radiolog.cli.output import AsJson, print_json, print_table, say


def shortcuts(
    config: Annotated[Path, typer.Argument(help="A configuration file.", exists=True, dir_okay=False)],
    archive: Annotated[Path, typer.Option(help="Labelled images: zip, folder by classes, .csv or .npz.", exists=True)],
    lungs: Annotated[str, typer.Option(help="The bundle that finds the lungs.")] = "default",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the figures and a picture of what was seen.", file_okay=False)
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Of each network.")] = 6,
    as_json: AsJson = False,
) -> None:
    """Ask what gives the label away: fit small networks, each shown a part of the pictures alone.

    The parts are the border, the corners, the histogram, all but the lungs, the lungs alone, their outline and, to hold
    the others against, everything; of the whole picture and of the lung field. Figures are of validation patients, for
    the configuration's first finding. What the border tells has nothing to do with the lungs: a model may learn it.

    Example: radiolog shortcuts training/configs/chest_pneumonia.py --archive chest.zip --out shortcuts/
    """
    from rich.console import Console

    from models.bundle import load_bundle
    from training.config import load_config
    from training.networks import lungs_of
    from training.probe_data import read
    from training.shortcut_report import SHEET_FILE, document, draw, write
    from training.shortcuts import measure

    settings, console = load_config(config), Console(stderr=True)
    net = lungs_of(lungs, settings)
    data = read(archive, settings, console)
    reached = list(measure(data, net, console, epochs=epochs, seed=settings.seed))
    figures = document(reached, data.finding, {**data.lineage, "lungs": load_bundle(lungs).id, "epochs": epochs})
    if as_json:
        print_json(figures)
    else:
        _print(figures)
    if out is not None:
        write(out, figures, draw(reached, data.finding))
        say(f"{out / SHEET_FILE} shows what was seen")


def _print(figures: Mapping[str, Any]) -> None:
    rows: list[tuple[object, ...]] = [
        (
            each["view"],
            each["probe"],
            f"{each['auroc']:.4f}",
            "{:.3f} to {:.3f}".format(*each["auroc_interval"]),
            f"{each['balanced_accuracy']:.4f}",
        )
        for each in figures["probes"]
    ]
    chance = f"{figures['chance']:.4f}"
    rows.append(("chance", None, chance, None, chance))
    print_table((f"{figures['finding']} in", "seen", "AUROC", "95% interval", "balanced accuracy"), rows)
