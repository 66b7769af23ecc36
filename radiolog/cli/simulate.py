"""`radiolog simulate`: a fleet of devices over real associations."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from radiolog.cli.output import AsJson, print_json, print_table, say

if TYPE_CHECKING:
    import ssl

    from producers.simulator_report import Report, Tally

INTERRUPTED = 130
TITLE_CHARACTERS = 16


def simulate(
    source: Annotated[
        Path, typer.Option(exists=True, help="A folder or a zip of PNG and JPEG pictures, or of DICOM files.")
    ],
    count: Annotated[int | None, typer.Option(min=1, help="Objects to send; by default the archive once.")] = None,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Objects a second; by default as fast as answers come.")
    ] = None,
    steady: Annotated[bool, typer.Option("--steady", help="At even intervals, not random ones (Poisson).")] = False,
    burst: Annotated[int, typer.Option(min=1, help="Objects that come at the same moment.")] = 1,
    devices: Annotated[int, typer.Option(min=1, max=999, help="Devices, each with an AE title of its own.")] = 1,
    duplicates: Annotated[float, typer.Option(min=0, max=1, help="Share that is sent again.")] = 0.0,
    broken: Annotated[float, typer.Option(min=0, max=1, help="Share that is broken.")] = 0.0,
    seed: Annotated[int, typer.Option(help="The same seed plays the same objects at the same moments.")] = 0,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to go on with what is refused with 0xA700.")] = 120.0,
    host: Annotated[str, typer.Option(help="Where the adapter is.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, envvar="RADIOLOG_DICOM_PORT")] = 11112,
    called: Annotated[str, typer.Option(envvar="RADIOLOG_DICOM_AE_TITLE", help="Its AE title.")] = "RADIOLOG",
    title: Annotated[str, typer.Option(help="AE titles of the devices begin with it.")] = "SIM",
    tls_certificate: Annotated[Path | None, typer.Option(help="The devices' certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    tls_ca: Annotated[Path | None, typer.Option(help="The authority of the adapter's certificate, PEM.")] = None,
    as_json: AsJson = False,
) -> None:
    """Play a fleet of devices: each sends over associations of its own, and keeps what is not acknowledged.

    Pictures go as CR and DX objects of made-up patients, DICOM files as they stand. Ctrl-C ends it with the report.
    The exit code is 0 only if every object that was not broken on purpose is acknowledged.

    Example: radiolog simulate --source chest.zip --rate 20 --devices 4 --duplicates 0.05 --broken 0.02 --count 1000
    """
    from producers.device import Device
    from producers.simulator import Simulator
    from producers.simulator_archive import Archive
    from producers.simulator_objects import Objects
    from producers.simulator_plan import Load

    tls = _security(tls_certificate, tls_key, tls_ca)
    archive = Archive(source)
    try:
        load = Load(count or len(archive), devices, rate, not steady, burst, duplicates, broken, seed)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    fleet = [Device(host, port, name, called, tls) for name in _titles(title, devices)]
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _shown(load.count, as_json) as on_progress:
        report = Simulator(fleet, Objects(archive, seed), load, patience).run(on_progress)
    _print_report(report, as_json)
    if report.interrupted:
        raise typer.Exit(INTERRUPTED)
    if not report.is_complete:
        raise typer.Exit(1)


def _security(certificate: Path | None, key: Path | None, authority: Path | None) -> "ssl.SSLContext | None":
    from producers.transport_security import client_context

    if certificate is not None and key is not None and authority is not None:
        return client_context(certificate, key, authority)
    if any((certificate, key, authority)):
        raise typer.BadParameter("TLS needs --tls-certificate, --tls-key and --tls-ca, all three")
    return None


def _titles(prefix: str, devices: int) -> list[str]:
    """AE titles of the fleet: CR and DX in turn, as their pictures."""
    from producers.simulator_objects import MODALITIES

    titles = [f"{prefix}-{MODALITIES[number % len(MODALITIES)]}-{number + 1}" for number in range(devices)]
    if len(titles[-1]) > TITLE_CHARACTERS or not prefix.isascii() or not prefix.isprintable() or "\\" in prefix:
        raise typer.BadParameter(f"AE titles like {titles[-1]!r} are not: at most 16 characters of plain ASCII")
    return titles


@contextmanager
def _shown(count: int, silent: bool) -> "Iterator[Callable[[Tally], None]]":
    """A progress bar on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from producers.simulator_report import Fate

    text = TextColumn("{task.fields[state]}")
    columns = (BarColumn(), MofNCompleteColumn(), text, TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=silent) as bar:
        task = bar.add_task("sending", total=count, state="")

        def show(tally: "Tally") -> None:
            counts = tally.fates[Fate.ACKNOWLEDGED], tally.fates[Fate.REFUSED], tally.repeats
            bar.update(task, completed=tally.settled, state="{} acknowledged, {} refused, {} again".format(*counts))

        yield show


def _print_report(report: "Report", as_json: bool) -> None:
    document = report.to_json()
    if as_json:
        print_json(document)
        return
    rows = [(kind, *counts.values()) for kind, counts in document["kinds"].items() if any(counts.values())]
    rows.append(("all", *document["fates"].values()))
    print_table([name.replace("_", " ") for name in ("object", *document["fates"])], rows)
    print_table(("answer", "requests"), list(document["answers"].items()))
    latency = document["latency_seconds"]
    if latency is not None:
        print_table(("until success", "seconds"), list(latency.items()))
    say(
        f"{document['objects_per_second']} objects/s and {document['megabytes_per_second']} MB/s acknowledged in "
        f"{document['seconds']} s; {document['repeats']} requests repeated one, "
        f"{document['associations_broken_off']} associations could not be made"
    )
    if report.interrupted:
        say("interrupted: what was not sent is in the table")
