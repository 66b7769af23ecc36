"""The pinned Maven artefacts: found in the local Maven repository, fetched by jgo where missing, always verified."""

import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jgo.maven import MavenContext

from radiolog.stack.errors import ArtifactError

PINNED = files("radiolog.stack") / "artifacts.json"


@dataclass(frozen=True)
class Artifact:
    """One file of a Maven repository and the SHA-256 it must have."""

    group: str
    name: str
    version: str
    classifier: str
    extension: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Name as Maven gives it."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.name}-{self.version}{classifier}.{self.extension}"

    @property
    def path(self) -> Path:
        """Relative to a Maven repository (the layout of Maven 2 and later)."""
        return Path(*self.group.split("."), self.name, self.version, self.file_name)


@functools.cache
def pinned(server: str) -> tuple[Artifact, ...]:
    """The artefacts of one server (`kafka`, `registry`) in class path order."""
    return tuple(Artifact(**entry) for entry in json.loads(PINNED.read_text())[server])


def local_repository() -> Path:
    """Where Maven artefacts are kept: `M2_REPO`, else `~/.m2/repository`."""
    return MavenContext().repo_cache


def ensure(artifacts: tuple[Artifact, ...], progress: Callable[[str], None]) -> tuple[Path, ...]:
    """Paths of the artefacts, each with the pinned SHA-256; the network is used only for those that are missing.

    Raises:
        ArtifactError: one cannot be fetched, or has another SHA-256.
    """
    repository = local_repository()
    for artifact in artifacts:
        file = repository / artifact.path
        if file.exists():
            verify(file, artifact)
        else:
            progress(f"fetching {artifact.file_name}")
            fetch(artifact, repository)
    return tuple(repository / artifact.path for artifact in artifacts)


def verify(file: Path, artifact: Artifact) -> None:
    """Hold a file against its pin.

    Raises:
        ArtifactError: the SHA-256 differs.
    """
    with file.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != artifact.sha256:
        raise ArtifactError(
            f"{file} has SHA-256 {actual}, not the pinned {artifact.sha256}: it is damaged or was replaced. "
            "It was not used. Delete it and run again to fetch it anew"
        )


def fetch(artifact: Artifact, repository: Path) -> None:
    """Download one artefact; it appears in the repository only once it is whole and verified.

    Raises:
        ArtifactError: it cannot be fetched, or what came has another SHA-256.
    """
    with _staging_repository(repository) as staging:
        component = MavenContext(repo_cache=staging).project(artifact.group, artifact.name).at_version(artifact.version)
        try:
            component.artifact(artifact.classifier, artifact.extension).resolve()
        except (OSError, RuntimeError) as error:
            raise ArtifactError(
                f"{artifact.file_name} is not in {repository} and could not be fetched ({type(error).__name__}). "
                "Connect this machine once, or copy the file there from a machine that has it"
            ) from error
        verify(staging / artifact.path, artifact)
        (repository / artifact.path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / artifact.path, repository / artifact.path)


@contextmanager
def _staging_repository(repository: Path) -> Iterator[Path]:
    """A folder on the same file system, so that the last step is a rename; gone afterwards whatever happens."""
    repository.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".radiolog-", dir=repository) as folder:
        yield Path(folder)
