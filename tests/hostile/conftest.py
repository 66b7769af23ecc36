"""A site with its processes, to be attacked."""

from pathlib import Path

import pytest

from radiolog.settings import Settings
from tests.faults.model import save_small_bundle


@pytest.fixture
def attacked_site(site: Settings, tmp_path: Path) -> Settings:
    save_small_bundle(tmp_path / "bundle")
    changes = {"bundle": str(tmp_path / "bundle"), "decode_timeout_seconds": 5.0, "decode_memory_bytes": 1 << 30}
    return site.model_copy(update={"state_dir": tmp_path / "state", **changes})
