"""Resolve the Java servers anew and rewrite `artifacts.json`: `python -m radiolog.stack.pin`.

Run it after a version below has changed, review the difference, commit it.
"""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import jgo
from jgo.maven import MavenContext

from radiolog.stack.artifacts import Artifact

# Not 4.3.0 or 4.3.1: their transaction coordinator takes a partition without a leader for a deleted one and completes
# the transaction without a marker there (KAFKA-20734). A stop of the only broker could break exactly once.
KAFKA = "org.apache.kafka:kafka_2.13:4.2.1"
# Kafka logs through SLF4J 1.7 but its POM names no provider; its own distribution ships this one, as we do. It is
# pinned apart: resolved together, its POM would pull the Kafka clients to an older version.
KAFKA_LOGGING = ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4")
REGISTRY = ("io.apicurio", "apicurio-registry-app", "3.3.3", "all", "tar.gz")


def _pin(group: str, name: str, version: str, classifier: str = "", extension: str = "jar") -> Artifact:
    component = MavenContext().project(group, name).at_version(version)
    file = Path(component.artifact(classifier, extension).resolve())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Artifact(group, name, version, classifier, extension, digest)


def _kafka() -> list[Artifact]:
    lockfile = jgo.build(KAFKA).lockfile
    if lockfile is None:
        raise RuntimeError("jgo wrote no lock file for Kafka: its cache is from an older jgo, delete it")
    locked = {(d.groupId, d.artifactId, d.version, d.classifier or "") for d in lockfile.dependencies}
    return [_pin(*coordinates) for coordinates in [*sorted(locked), KAFKA_LOGGING]]


def main() -> None:
    """Write `artifacts.json` beside this module."""
    servers = {"kafka": _kafka(), "registry": [_pin(*REGISTRY)]}
    document = {server: [asdict(artifact) for artifact in artifacts] for server, artifacts in servers.items()}
    Path(__file__).with_name("artifacts.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
