"""Root does not start servers in a user's folder, whose owner could then not use them any more."""

import os
from pathlib import Path

import pytest

from radiolog.stack.errors import StateFolderError
from radiolog.stack.state import StateFolder


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_root_refuses_a_users_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    with pytest.raises(StateFolderError, match="belongs to user 65534"):
        StateFolder(tmp_path).create()
