"""`radiolog evaluate`: what a model is worth on labelled images, without the log."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radiolog.cli.output import AsJson, print_json, print_table, say

if TYPE_CHECKING:
    from models.bundle import Bundle
    from training.evaluation.run import Evaluation
    from training.evaluation.source import Source

SHOWN = 10
"""How many unreadable files are named one by one."""


def evaluate(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, NAME@VERSION, or `default`.")],
    folder: Annotated[
        Path | None,
        typer.Option(
            help="A folder with one for each class, named after a finding or `normal`, of DICOM, JPEG or PNG files.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(help="A data set from the log, as `radiolog replay` wrote it.", exists=True, dir_okay=False),
    ] = None,
    split: Annotated[str, typer.Option(help="Which part of the manifest: train, validation or test.")] = "test",
    out: Annotated[Path | None, typer.Option(help="Folder for the report, figures by image and the card.")] = None,
    operating_point: Annotated[
        str | None, typer.Option(help="Which of the bundle's thresholds applies; by default the bundle's own choice.")
    ] = None,
    attacks: Annotated[
        bool, typer.Option("--attacks", help="Judge once more with pictures changed in ways that change no finding.")
    ] = False,
    opacities: Annotated[
        bool, typer.Option("--opacities", help="Paint opacities into healthy lungs: do maps point at them?")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Judge a model on labelled images: figures with 95% intervals, by finding and subgroup.

    Images go through the same code as in the service. Headline figures are over all images that can be read, by
    threshold alone, so that no model looks better by refusing; beside them stand those over what it decides. Files that
    cannot be read are counted and listed. The exit code is 1 if nothing could be judged.

    Example: radiolog evaluate default --folder chest/ --out evaluation/
    """
    from rich.console import Console

    from models.bundle import load_bundle
    from models.engine import Engine
    from training.evaluation.findings import Plan
    from training.evaluation.run import REPORT_FILE, evaluate, write

    if attacks and manifest is not None:
        raise typer.BadParameter("pictures of a manifest stay on the log: give a --folder", param_hint="--attacks")
    model = load_bundle(bundle)
    point = model.check_operating_point(operating_point)
    source = _source(model, folder, manifest, split, as_json)
    engine, plan, console = Engine(model), Plan(point), Console(stderr=True)
    evaluation = evaluate(engine, source, plan, console)
    if attacks and folder is not None:
        from training.evaluation.folder import FolderSource
        from training.evaluation.robustness import robustness

        changed = partial(FolderSource, folder, model)
        evaluation.summary["robustness"] = robustness(engine, changed, plan, console)
    if opacities:
        from training.evaluation.healthy import painted

        say(f"painting opacities into {len(evaluation.healthy)} images without a finding")
        evaluation.summary["opacities"] = painted(engine, evaluation.healthy, plan)
    _list_unreadable(evaluation, source)
    if out is not None:
        write(evaluation, source, out)
        say(f"the report is {out / REPORT_FILE}")
    if as_json:
        print_json(evaluation.summary)
    else:
        _print(evaluation)
    if evaluation.is_empty:
        say("nothing could be judged")
        raise typer.Exit(1)


def _source(model: "Bundle", folder: Path | None, manifest: Path | None, split: str, silent: bool) -> "Source":
    from training.split import Split

    if (folder is None) == (manifest is None):
        raise typer.BadParameter("give one of --folder and --manifest", param_hint="--folder")
    if split not in set(Split):
        raise typer.BadParameter(f"{split!r} is none of {', '.join(Split)}", param_hint="--split")
    if folder is not None:
        from training.evaluation.folder import FolderSource

        return FolderSource(folder, model)
    from radiolog.cli.manifest import load_examples
    from training.evaluation.manifest import ManifestSource
    from training.evaluation.source import EvaluationError

    assert manifest is not None  # noqa: S101
    dataset, examples = load_examples(manifest, silent)
    part = Split(split)
    if part not in examples:
        raise EvaluationError(f"{manifest} has no image for {part}")
    return ManifestSource(dataset, examples[part], part, model)


def _list_unreadable(evaluation: "Evaluation", source: "Source") -> None:
    problems = evaluation.judgement.problems
    for problem in problems[:SHOWN]:
        say(f"not readable: {source.whereabouts(problem.name)}: {problem.reason}")
    if len(problems) > SHOWN:
        say(f"and {len(problems) - SHOWN} more; by reason they are in the figures, each one in the files of --out")


def _print(evaluation: "Evaluation") -> None:
    from training.metrics import FIGURES

    document = evaluation.summary
    rows: list[tuple[object, ...]] = []
    for name, finding in document["findings"].items():
        rows.append((name, "images", finding["images"], "", finding["decided"]["images"]))
        rows += [
            ("", figure, _number(finding[figure]), _interval(finding, figure), _number(finding["decided"][figure]))
            for figure in FIGURES
        ]
    print_table(("finding", "figure", "all readable", "95% interval", "decided only"), rows)
    kinds = [
        (name, " or ".join(kinds["kinds"]), kinds["images"], _number(kinds["accuracy"]), _interval(kinds, "accuracy"))
        for name, kinds in document["kinds"].items()
    ]
    if kinds:
        print_table(("finding", "kinds", "images", "accuracy", "95% interval"), kinds)
    for name, changes in document.get("robustness", {}).items():
        columns = ("accuracy", "recall", "specificity", "auroc", "changed", "out_of_scope")
        lines = [(change, *(_number(row[column]) for column in columns)) for change, row in changes.items()]
        print_table((f"{name}, picture changed", *columns), lines)
    for name, test in document.get("opacities", {}).items():
        growth = test["growth"]
        steps = zip(*(growth[key] for key in ("painted", "marked", "called")), strict=True)
        print_table((f"{name}, lungs painted", "lungs marked", "called"), [tuple(map(_number, step)) for step in steps])
        _print_pointing(name, test["pointing"], growth["rank_correlation"])
    counts = [
        ("not judged" if key == "unreadable" else "out of scope", row["reason"], row["images"])
        for key in ("unreadable", "out_of_scope")
        for row in document[key]
    ]
    if counts:
        print_table(("images", "reason", "count"), counts)


def _print_pointing(name: str, pointing: dict[str, float], correlation: float) -> None:
    names = ("images", "hits", "hits_nearby", "chance")
    row = (*(_number(pointing[key]) if key != "images" else pointing[key] for key in names), _number(correlation))
    print_table((f"{name}, opacities in", "maximum inside", "or next to it", "by chance", "rank correlation"), [row])


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _interval(figures: dict[str, dict[str, list[float] | None]], name: str) -> str | None:
    ends = figures["intervals"][name]
    return None if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
