"""Servers that the tests may stop and kill, and a site of each test's own on them."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests import sites
from tests.events import image
from tests.faults import trial as trials
from tests.faults.model import save_small_bundle
from tests.faults.servers import OwnServers
from tests.faults.table import PROPERTY
from tests.faults.trial import Trial

__all__ = ["image"]

MakeTrial = Callable[..., Trial]


def pytest_collection_modifyitems(items) -> None:
    for item in items:
        if "trial" in item.fixturenames:
            item.add_marker("servers")
            item.add_marker(pytest.mark.timeout(3600 if trials.FULL else 300))


@pytest.fixture(scope="session")
def faults_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="radiolog-faults-"))
    folder.chmod(0o755)  # PostgreSQL runs as `nobody` when the tests run as root
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def small_bundle(faults_folder: Path) -> Path:
    save_small_bundle(faults_folder / "bundle")
    return faults_folder / "bundle"


@pytest.fixture(scope="session")
def own_servers(faults_folder: Path) -> Iterator[OwnServers]:
    with OwnServers(faults_folder / "stack") as servers:
        yield servers


@pytest.fixture
def trial(own_servers: OwnServers, small_bundle: Path, tmp_path: Path, request) -> Iterator[MakeTrial]:
    """Makes the trial of a test, on topics and tables of its own; its row goes with the test's report."""
    made: list[Trial] = []

    def make(entries=None, servers=own_servers, **changes) -> Trial:
        changes = {"decode_workers": trials.full_or(1, 2)} | changes
        values = {"state_dir": small_bundle.parent, "partitions": 4, "bundle": str(small_bundle)}
        settings = sites.equipped(sites.bare(sites.at(servers.up(), **values | changes)))
        made.append(Trial(settings, servers, tmp_path, entries))
        return made[-1]

    yield make
    for one in made:
        request.node.user_properties.extend((PROPERTY, asdict(row)) for row in one.rows)
        one.close()
