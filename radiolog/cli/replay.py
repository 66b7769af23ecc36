"""`radiolog replay`: a data set from the log."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radiolog.cli.manifest import log_and_decoders
from radiolog.cli.output import AsJson, print_json, print_table, say
from radiolog.cli.progress import counted, instant

if TYPE_CHECKING:
    from models.spec import PreprocessSpec
    from training.manifest import Manifest
    from training.replay import Plan
    from training.split import Split

    Configured = tuple[dict[str, str], PreprocessSpec, Mapping[Split, float], int]


def replay(
    out: Annotated[
        Path, typer.Option(metavar="MANIFEST", help="File that the manifest is written to.", dir_okay=False)
    ],
    config: Annotated[
        Path | None,
        typer.Option(help="A training configuration: its findings, preprocess spec, shares and seed.", dir_okay=False),
    ] = None,
    bundle: Annotated[str, typer.Option(help="Without one: the bundle whose findings and spec are meant.")] = "default",
    finding: Annotated[
        list[str] | None, typer.Option(metavar="CODE|NAME", help="Findings, in the order of the label columns.")
    ] = None,
    topic: Annotated[str, typer.Option(help="Take `images` and make their pixels, or `preprocessed` ones.")] = "images",
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Images written to the log then or later (ISO 8601).")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--to", metavar="TIME", help="Images and labels written before; by default, until now."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(metavar="A/B/C", help="Shares of training, validation and test; e.g. 0.8/0.1/0.1.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the split.")] = None,
    as_json: AsJson = False,
) -> None:
    """Pin a slice of the log, join images with their last labels, split them by patient, and write a manifest.

    With --to, the same command gives the same manifest on any later day. Duplicates across splits are left out.

    Example: radiolog replay --config training/configs/chest_pneumonia.py --to 2026-01-31T12:00:00Z --out chest.json
    """
    from training.replay import replay as replayed

    plan = _plan(config, bundle, finding or [], topic, since, until, split, seed)
    with log_and_decoders() as (log, decode), counted("replaying", as_json) as progress:
        manifest = replayed(log, plan, decode, progress)
    manifest.save(out)
    _print(manifest, out, as_json)


def _plan(
    config: Path | None,
    bundle: str,
    wanted: Sequence[str],
    topic: str,
    since: str | None,
    until: str | None,
    split: str | None,
    seed: int | None,
) -> "Plan":
    from training.replay import From, Plan

    if topic not in set(From):
        raise typer.BadParameter(f"{topic!r} is neither `images` nor `preprocessed`")
    findings, spec, shares, own_seed = _configured(config) if config is not None else _of_bundle(bundle)
    return Plan(
        findings=_findings(wanted, findings),
        spec=spec,
        shares=_shares(split) if split is not None else shares,
        seed=own_seed if seed is None else seed,
        source=From(topic),
        since=instant(since) if since is not None else None,
        until=_past(until) if until is not None else None,
    )


def _configured(path: Path) -> "Configured":
    from training.config import load_config

    config = load_config(path)
    return {finding.code: finding.name for finding in config.findings}, config.spec, config.shares, config.seed


def _of_bundle(name: str) -> "Configured":
    from models.bundle import load_bundle

    bundle = load_bundle(name)
    return {finding.code: finding.name for finding in bundle.findings}, bundle.spec, _shares("0.7/0.15/0.15"), 0


def _findings(wanted: Sequence[str], configured: Mapping[str, str]) -> dict[str, str]:
    """Name by code of what is asked for, each by one or the other; without any, of what is configured."""
    from training.findings import CODES, spelled

    names = {code: name for name, code in CODES.items()} | dict(configured)
    codes = {name: code for code, name in names.items()} | CODES
    if unknown := [word for word in wanted if not word.isdigit() and spelled(word) not in codes]:
        raise typer.BadParameter(f"no SNOMED CT code is known for {', '.join(unknown)}: give the code instead")
    found = [word if word.isdigit() else codes[spelled(word)] for word in wanted] or list(configured)
    return {code: names.get(code, code) for code in found}


def _shares(text: str) -> "dict[Split, float]":
    from training.split import ORDER

    try:
        shares = [float(share) for share in text.split("/")]
    except ValueError:
        shares = []
    if len(shares) != len(ORDER) or min(shares) < 0 or abs(sum(shares) - 1.0) > 1e-9:
        raise typer.BadParameter(f"{text!r} is no split: three shares that sum to 1, such as 0.8/0.1/0.1")
    return dict(zip(ORDER, shares, strict=True))


def _past(text: str) -> datetime:
    """A time that has passed: what is not yet on the log cannot be pinned."""
    found = instant(text)
    if found > datetime.now(UTC):
        raise typer.BadParameter(f"{text} is still to come: without --to, the slice ends now")
    return found


def _print(manifest: "Manifest", out: Path, as_json: bool) -> None:
    if as_json:
        counts = {part: len(manifest.of(part)) for part in manifest.shares}
        print_json({"manifest": str(out), "sha256": manifest.sha256, "splits": counts, "report": dict(manifest.report)})
        return
    rows = [_row(manifest, part) for part in manifest.shares]
    findings = (f"{name}: yes / no / unknown" for name in manifest.findings.values())
    print_table(("split", "patients", "images", *findings), rows)
    report = manifest.report
    say(", ".join(f"{count} {word}" for word, count in report["images"].items()))
    pairs = ", ".join(f"{count} {word}" for word, count in report["duplicates"]["pairs"].items())
    say(f"duplicates: {pairs}; {len(report['duplicates']['removed'])} left out on the training side")
    say(f"labels of which authors disagree: {report['labels']['conflicts']}; the last one counts")
    say(f"{out} has the SHA-256 {manifest.sha256}")


def _row(manifest: "Manifest", part: "Split") -> tuple[object, ...]:
    """Patients, images, and of each finding how many have it, have it not, or are not known to have it."""
    images = manifest.of(part)
    said = {code: Counter(image.labels.get(code) for image in images) for code in manifest.findings}
    figures = (f"{counts[True]} / {counts[False]} / {counts[None]}" for counts in said.values())
    return (part, len({image.patient for image in images}), len(images), *figures)
