"""A site for the peers of each test file, with the adapter and the stages as processes."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from radiolog.settings import Settings
from tests import sites
from tests.conftest import SITE_SECRET, free_port
from tests.faults.model import save_small_bundle
from tests.faults.servers import OwnServers
from tests.peers import dcmtk as tools
from tests.peers import ward as wards
from tests.peers.orthanc import Orthanc
from tests.peers.orthanc import require as require_orthanc
from tests.peers.ward import Adapter, Ward

MakeAdapter = Callable[..., AbstractContextManager[Adapter]]


@pytest.fixture(scope="session")
def peers_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="radiolog-peers-"))
    folder.chmod(0o755)
    save_small_bundle(folder / "bundle")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def make_site(peers_folder: Path) -> Callable[[Settings], Settings]:
    """Topics, schemas, a database and tables under a new name."""

    def make(servers: Settings) -> Settings:
        return sites.equipped(sites.bare(servers, bundle=str(peers_folder / "bundle")))

    return make


@pytest.fixture(scope="module")
def peers_site(servers: Settings, make_site: Callable[[Settings], Settings]) -> Settings:
    return make_site(servers)


@pytest.fixture(scope="module")
def make_adapter(peers_site: Settings, peers_folder: Path) -> MakeAdapter:
    """Starts an adapter of the site, with settings of its own."""
    return lambda **changes: wards.adapter(peers_site, peers_folder, free_port(), **changes)


@pytest.fixture(scope="module")
def adapter(make_adapter: MakeAdapter) -> Iterator[Adapter]:
    with make_adapter() as adapter:
        yield adapter


@pytest.fixture(scope="module")
def ward(peers_site: Settings, peers_folder: Path) -> Iterator[Ward]:
    ward = Ward(peers_site)
    with ward.stages(peers_folder):
        yield ward


@pytest.fixture(scope="session")
def dcmtk() -> None:
    """Skips without DCMTK."""
    tools.require()


@pytest.fixture
def own_servers(peers_folder: Path) -> Iterator[OwnServers]:
    with OwnServers(peers_folder / "stack") as servers:
        yield servers


@pytest.fixture
def own_site(own_servers: OwnServers, make_site: Callable[[Settings], Settings], tmp_path: Path) -> Settings:
    return make_site(sites.at(own_servers.up(), state_dir=tmp_path / "state", site_secret=SITE_SECRET, partitions=2))


@pytest.fixture(scope="session")
def orthanc() -> None:
    """Skips without Orthanc, before any server is started for it."""
    require_orthanc()


@pytest.fixture
def make_orthanc(orthanc: None, tmp_path: Path) -> Iterator[Callable[..., Orthanc]]:
    """Starts Orthanc, which forwards to an adapter."""
    started: list[Orthanc] = []

    def make(adapter: Adapter, **configuration: object) -> Orthanc:
        started.append(Orthanc(tmp_path / f"orthanc-{len(started)}", adapter.port, free_port(), configuration))
        return started[-1]

    yield make
    for orthanc in started:
        orthanc.close()
