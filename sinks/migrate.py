"""Brings a database's tables up to date with dbmate and the SQL files in `sinks/migrations`."""

import re
import subprocess
import sysconfig
from importlib.resources import as_file, files
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit


class MigrationFailed(Exception):
    """dbmate could not apply a migration; the message is its own, without the URL's password."""


def migrate(database_url: str, wait_seconds: int = 10) -> list[str]:
    """Applies what is missing, each file in a transaction of its own; gives the names of those files.

    A database that does not answer yet is waited for.

    Raises:
        MigrationFailed: the database does not answer, or refuses a statement.
    """
    dbmate = Path(sysconfig.get_path("scripts")) / "dbmate"
    with as_file(files("sinks") / "migrations") as folder:
        result = subprocess.run(
            [
                dbmate,
                "--migrations-dir",
                folder,
                "--no-dump-schema",
                "--wait",
                "--wait-timeout",
                f"{wait_seconds}s",
                "migrate",
            ],
            env={"DATABASE_URL": dbmate_url(database_url)},
            capture_output=True,
            text=True,
            check=False,
        )
    if result.returncode != 0:
        raise MigrationFailed((result.stderr or result.stdout).strip())
    return re.findall(r"^Applied: (\S+)", result.stdout, re.MULTILINE)


def dbmate_url(database_url: str) -> str:
    """The URL as dbmate reads it: a socket folder is `socket`, and TLS is asked for only where the URL does so."""
    parts = urlsplit(database_url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if socket := query.pop("host", None):
        query["socket"] = socket
    else:
        query.setdefault("sslmode", "disable")
    return urlunsplit(parts._replace(scheme="postgres", query=urlencode(query)))
